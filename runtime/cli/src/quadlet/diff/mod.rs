//! `sampan diff`: what `systemctl daemon-reload` would change.
//!
//! [`current`] reads the units that the generator wrote at the last reload, the generator's library says what it
//! would write now, [`compare`] finds the directives that differ, and [`print`] tells people. A unit that runs
//! keeps running as it was started, so that most changes only take effect at its next start.

mod command;
mod compare;
mod current;
mod print;

use std::collections::BTreeMap;
use std::process::ExitCode;

use sampan_generator::Severity;
use serde::Serialize;

use self::command::Flags;
use self::compare::Directive;
use self::current::Units;
use super::place::{self, Place, States};
use crate::{Coded, output};

/// Exit code when something would change, as diff(1) has it.
const DIFFERENT: u8 = 1;
/// Exit code when that can't be found out.
const TROUBLE: u8 = 2;

/// `sampan diff [NAME…]`
#[derive(Debug, clap::Args)]
#[command(after_help = "The exit status is 0 if nothing would change, 1 if something would, 2 on an error.")]
pub(crate) struct Options {
    #[command(flatten)]
    place: place::Chosen,
    /// text, or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Only these: unit files or units (web, web.container, web.service)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// What a reload would do to a unit or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Added,
    Removed,
    Changed,
}

/// What a reload would do to a unit.
#[derive(Debug, Serialize)]
struct UnitChange {
    unit: String,
    change: Change,
    /// The unit file; the old one's if there is no new one.
    source: Option<String>,
    /// What differs, empty unless `change` is `changed`.
    directives: Vec<Directive>,
    /// Which units run: the unit itself, or instances; null if systemd can't be asked.
    running: Option<Vec<String>>,
    /// Whether those have to be restarted for the change to take effect; null as above.
    restart: Option<bool>,
}

/// What a reload would do to a link of an `[Install]` section.
#[derive(Debug, Serialize)]
struct LinkChange {
    link: String,
    change: Change,
    target: String,
}

/// What a reload would do.
#[derive(Debug, Serialize)]
struct Report {
    units: Vec<UnitChange>,
    links: Vec<LinkChange>,
}

/// Prints what a reload would change.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    difference(options).map_err(|error| Coded { code: TROUBLE, message: format!("{error:#}") }.into())
}

fn difference(options: Options) -> anyhow::Result<ExitCode> {
    let place = options.place.place();
    let mut new = Units::default();
    let outcome = sampan_generator::generate(&place.generation(Vec::new()), &mut |unit| new.take(&unit));
    let mut old = Units::read(&place.generated()?)?;
    if !options.names.is_empty() {
        Units::choose(&options.names, &mut old, &mut new)?;
    }
    let report = report(&old, &new, &place);
    match options.format.as_str() {
        "json" => output::json(&report)?,
        _ => {
            output::emit(&print::text(&report, &place))?;
            let errors =
                outcome.diagnostics.iter().filter(|finding| finding.severity == Severity::Error).count();
            if errors > 0 {
                let plural = if errors == 1 { "" } else { "s" };
                eprintln!("{errors} error{plural} in unit files: see sampan check");
            }
        }
    }
    let same = report.units.is_empty() && report.links.is_empty();
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn report(old: &Units, new: &Units, place: &Place) -> Report {
    let flags = Flags::of_sampan();
    let mut units = Vec::new();
    let names: std::collections::BTreeSet<&String> = old.units.keys().chain(new.units.keys()).collect();
    for name in names {
        let (before, after) = (old.units.get(name), new.units.get(name));
        let (change, directives) = match (before, after) {
            (Some(before), Some(after)) => {
                let directives = compare::directives(&before.text, &after.text, &flags);
                if directives.is_empty() {
                    continue;
                }
                (Change::Changed, directives)
            }
            (None, _) => (Change::Added, Vec::new()),
            (_, None) => (Change::Removed, Vec::new()),
        };
        let source = after.or(before).and_then(|unit| unit.source.clone());
        units.push(UnitChange {
            unit: name.clone(),
            change,
            source,
            directives,
            running: None,
            restart: None,
        });
    }
    let asked: Vec<_> = units.iter().map(|unit| unit.unit.clone()).collect();
    if let Ok(states) = place.states(&asked) {
        units.iter_mut().for_each(|unit| unit.ask(&states));
    }
    Report { units, links: links(&old.links, &new.links) }
}

impl UnitChange {
    fn ask(&mut self, states: &States) {
        let running = states.running(&self.unit);
        let matters = self.directives.iter().any(Directive::waits_for_restart);
        self.restart = Some(!running.is_empty() && matters);
        self.running = Some(running);
    }
}

fn links(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<LinkChange> {
    let change = |link: &String, target: &String, change| LinkChange {
        link: link.clone(),
        change,
        target: target.clone(),
    };
    let gone = old.iter().filter(|(link, _)| !new.contains_key(*link));
    let mut changes: Vec<_> = gone.map(|(link, target)| change(link, target, Change::Removed)).collect();
    for (link, target) in new {
        match old.get(link) {
            None => changes.push(change(link, target, Change::Added)),
            Some(before) if before != target => changes.push(change(link, target, Change::Changed)),
            Some(_) => {}
        }
    }
    changes.sort_by(|a, b| a.link.cmp(&b.link));
    changes
}
