//! Units that wait for each other: systemd breaks such a cycle by not starting one of them.

use super::Findings;
use super::scene::{Generated, Scene};
use crate::diagnostic::{Severity, rules};
use crate::syntax::scanner::{Fold, scan};
use crate::syntax::words::{self, Escapes};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// How many cycles are told at most.
const MOST: usize = 100;

/// What waits for what, by unit name: the key is started after each of the set.
#[derive(Default)]
struct Order(BTreeMap<String, BTreeSet<String>>);

impl Order {
    fn add(&mut self, later: &str, earlier: &str) {
        self.0.entry(later.to_owned()).or_default().insert(earlier.to_owned());
    }

    /// What a generated unit adds.
    fn read(&mut self, unit: &Generated) {
        let scan = scan(&unit.text, Fold::Blank);
        let list = |section: &str, key: &str| -> Vec<String> {
            let sections = scan.sections.iter().filter(|found| found.name == section);
            let entries = sections.flat_map(|found| &found.entries).filter(|entry| entry.key == key);
            entries
                .flat_map(|entry| words::split(&entry.value, Escapes::Kept).words)
                .map(|word| word.text.into_owned())
                .collect()
        };
        for earlier in list("Unit", "After") {
            self.add(&unit.name, &earlier);
        }
        for later in list("Unit", "Before") {
            self.add(&later, &unit.name);
        }
        let defaults =
            !list("Unit", "DefaultDependencies").iter().any(|value| value == "no" || value == "false");
        if defaults && unit.name.ends_with(".service") {
            // systemd.service(5), "Default Dependencies".
            for target in ["basic.target", "sysinit.target"] {
                self.add(&unit.name, target);
            }
        }
        // A target is reached after all that it pulls in, systemd.target(5).
        for key in ["WantedBy", "RequiredBy"] {
            for target in list("Install", key).iter().filter(|name| name.ends_with(".target")) {
                self.add(target, &unit.name);
            }
        }
    }
}

/// The same by numbers, those of the names in their order.
#[derive(Debug)]
struct Graph<'a> {
    names: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
    /// What each waits for.
    earlier: Vec<Vec<usize>>,
    /// Units of one number here wait for each other; a unit alone waits for itself at most.
    knots: Vec<usize>,
}

impl<'a> Graph<'a> {
    fn new(order: &'a Order) -> Self {
        let all = order.0.iter().flat_map(|(later, earlier)| earlier.iter().chain([later]));
        let names: Vec<_> = all.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
        let numbers: HashMap<_, _> = names.iter().copied().zip(0..).collect();
        let of = |name: &str| {
            order.0.get(name).into_iter().flatten().map(|earlier| numbers[earlier.as_str()]).collect()
        };
        let earlier: Vec<_> = names.iter().map(|name| of(name)).collect();
        let knots = knots(&earlier);
        Self { names, numbers, earlier, knots }
    }

    /// The shortest way from a unit through those that it waits for back to it.
    fn cycle(&self, start: &str) -> Option<Vec<&'a str>> {
        let start = *self.numbers.get(start)?;
        let mut came_from = HashMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(at) = waiting.pop_front() {
            for &next in self.earlier[at].iter().filter(|next| self.knots[**next] == self.knots[start]) {
                if next == start {
                    let back = std::iter::successors(Some(at), |at| came_from.get(at).copied());
                    let mut way: Vec<_> = back.map(|at| self.names[at]).collect();
                    way.reverse();
                    return Some(way);
                }
                came_from.entry(next).or_insert_with(|| {
                    waiting.push_back(next);
                    at
                });
            }
        }
        None
    }
}

/// The strongly connected components (Tarjan's algorithm): of each node the number of its component.
fn knots(earlier: &[Vec<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let (mut seen, mut low) = (vec![NONE; earlier.len()], vec![NONE; earlier.len()]);
    let mut knots = vec![NONE; earlier.len()];
    let (mut count, mut found) = (0, 0);
    let mut open = Vec::new();
    for root in 0..earlier.len() {
        let mut way = if seen[root] == NONE { vec![(root, 0)] } else { Vec::new() };
        while let Some((node, edge)) = way.last_mut() {
            let node = *node;
            if *edge == 0 {
                (seen[node], low[node]) = (count, count);
                count += 1;
                open.push(node);
            }
            if let Some(&next) = earlier[node].get(*edge) {
                *edge += 1;
                if seen[next] == NONE {
                    way.push((next, 0));
                } else if knots[next] == NONE {
                    low[node] = low[node].min(seen[next]);
                }
                continue;
            }
            way.pop();
            if let Some((parent, _)) = way.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
            if low[node] == seen[node] {
                let first = open.iter().rposition(|member| *member == node).unwrap_or(0);
                open.drain(first..).for_each(|member| knots[member] = found);
                found += 1;
            }
        }
    }
    knots
}

/// Each cycle is told once, at its first unit of ours.
pub(super) fn cycles(scene: &Scene<'_>, findings: &mut Findings) {
    let mut order = Order::default();
    scene.services.iter().for_each(|unit| order.read(unit));
    order.add("basic.target", "sysinit.target");
    let graph = Graph::new(&order);
    let mut told: HashSet<&str> = HashSet::new();
    let mut count = 0;
    for unit in &scene.services {
        if told.contains(unit.name.as_str()) {
            continue;
        }
        let Some(cycle) = graph.cycle(&unit.name) else { continue };
        count += 1;
        if count > MOST {
            break;
        }
        told.extend(cycle.iter().copied());
        let Some(view) = scene.views().find(|view| view.unit.path == unit.source) else { continue };
        let reason = match cycle[..] {
            [_] => format!("{} is to be started after itself", unit.name),
            _ => format!("these wait for each other: {} → {}", cycle.join(" → "), unit.name),
        };
        let place = ["After", "Before", "Requires", "WantedBy"].iter().find_map(|key| {
            let section = if *key == "WantedBy" { "Install" } else { "Unit" };
            let next = *cycle.get(1).unwrap_or(&cycle[0]);
            let last = *cycle.last()?;
            let stands_for = |word: &str| {
                [next, last].contains(&word)
                    || scene.book.get(word).is_some_and(|card| [next, last].contains(&card.unit().as_str()))
            };
            view.words(section, key).into_iter().find(|word| stands_for(&word.text)).map(|word| word.place)
        });
        let diagnostic = match place {
            Some(place) => place.diagnose(&rules::DEPENDENCY_CYCLE, Severity::Error, reason),
            None => view.unit.diagnose(&rules::DEPENDENCY_CYCLE, Severity::Error, reason),
        };
        findings.push(
            diagnostic.help("take one of the dependencies away; systemd would leave one of the units out"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn the_shortest_cycle_through_a_unit() {
        let mut order = Order::default();
        for (later, earlier) in
            [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("d", "d"), ("e", "a"), ("a", "f")]
        {
            order.add(later, earlier);
        }
        let graph = Graph::new(&order);
        assert_eq!(graph.cycle("a").as_deref(), Some(&["a", "b", "c"][..]));
        assert_eq!(graph.cycle("b").as_deref(), Some(&["b", "c"][..]));
        assert_eq!(graph.cycle("d").as_deref(), Some(&["d"][..]));
        for none in ["e", "f", "x"] {
            assert_eq!(graph.cycle(none), None, "{none}");
        }
    }

    /// A way was once looked for from every unit through all others.
    #[test]
    fn a_long_row_takes_no_time() {
        let mut order = Order::default();
        for n in 0..30_000 {
            order.add(&n.to_string(), &(n + 1).to_string());
        }
        let begun = Instant::now();
        let graph = Graph::new(&order);
        assert!((0..30_000).all(|n: u32| graph.cycle(&n.to_string()).is_none()));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}
