//! The difference for people.

use super::{Change, Place, Report, UnitChange};

/// The whole report; empty if nothing differs.
pub(super) fn text(report: &Report, place: &Place) -> String {
    let mut text = String::new();
    for unit in &report.units {
        unit_text(unit, &mut text);
    }
    for link in &report.links {
        text.push_str(&format!("{} link {} -> {}\n", sign(link.change), link.link, link.target));
    }
    let restart: Vec<&str> = report
        .units
        .iter()
        .filter(|unit| unit.restart == Some(true))
        .flat_map(|unit| unit.running.iter().flatten())
        .map(String::as_str)
        .collect();
    let gone: Vec<&str> = report
        .units
        .iter()
        .filter(|unit| unit.change == Change::Removed)
        .flat_map(|unit| unit.running.iter().flatten())
        .map(String::as_str)
        .collect();
    if !text.is_empty() {
        text.push_str(&format!("\nTo apply: {} daemon-reload", place.systemctl()));
        for (verb, units) in [("restart", restart), ("stop", gone)] {
            if !units.is_empty() {
                text.push_str(&format!(" && {} {verb} {}", place.systemctl(), units.join(" ")));
            }
        }
        text.push('\n');
    }
    text
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    }
}

fn unit_text(unit: &UnitChange, text: &mut String) {
    text.push_str(&format!("{} {}", sign(unit.change), unit.unit));
    if let Some(source) = &unit.source {
        text.push_str(&format!(" ({source})"));
    }
    text.push_str(&state(unit));
    text.push('\n');
    let mut section = "";
    for directive in &unit.directives {
        if section != directive.section {
            section = &directive.section;
            text.push_str(&format!("    [{section}]\n"));
        }
        let (indent, name) = match directive.words {
            true => ("        ", String::new()),
            false => ("    ", format!("{}=", directive.key)),
        };
        if directive.words {
            text.push_str(&format!("    {}=\n", directive.key));
        }
        for (sign, values) in [('-', &directive.removed), ('+', &directive.added)] {
            for value in values {
                text.push_str(&format!("{indent}{sign} {name}{value}\n"));
            }
        }
    }
}

/// What the change means for what runs.
fn state(unit: &UnitChange) -> String {
    let running = match &unit.running {
        None if unit.change == Change::Added => return String::new(),
        None => return ": whether it runs is unknown".to_owned(),
        Some(running) if running.is_empty() => return String::new(),
        Some(running) if *running == [unit.unit.clone()] => "it runs".to_owned(),
        Some(running) => format!("{} run", running.join(", ")),
    };
    match (unit.change, unit.restart) {
        (Change::Removed, _) => format!(": {running}, until stopped"),
        (_, Some(true)) => format!(": {running}, restart needed"),
        _ => format!(": {running}, no restart needed"),
    }
}
