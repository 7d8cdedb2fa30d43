//! Units that wait for each other: systemd breaks such a cycle by not starting one of them.

use super::Findings;
use super::scene::{Generated, Scene};
use crate::diagnostic::{Severity, rules};
use crate::syntax::scanner::{Fold, scan};
use crate::syntax::words::{self, Escapes};
use std::collections::{BTreeMap, BTreeSet, HashSet};

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

    /// The shortest way from a unit through those that it waits for back to it.
    fn cycle(&self, start: &str) -> Option<Vec<&str>> {
        let mut ways: Vec<Vec<&str>> = vec![vec![self.0.get_key_value(start)?.0]];
        let mut seen = HashSet::new();
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                for next in way.last().and_then(|last| self.0.get(*last)).into_iter().flatten() {
                    if next == start {
                        return Some(way);
                    }
                    if seen.insert(next.as_str()) {
                        longer.push(way.iter().copied().chain([next.as_str()]).collect());
                    }
                }
            }
            ways = longer;
        }
        None
    }
}

/// Each cycle is told once, at its first unit of ours.
pub(super) fn cycles(scene: &Scene<'_>, findings: &mut Findings) {
    let mut order = Order::default();
    scene.services.iter().for_each(|unit| order.read(unit));
    order.add("basic.target", "sysinit.target");
    let mut told: HashSet<&str> = HashSet::new();
    for unit in &scene.services {
        if told.contains(unit.name.as_str()) {
            continue;
        }
        let Some(cycle) = order.cycle(&unit.name) else { continue };
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
