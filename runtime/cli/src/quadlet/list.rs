//! `sampan list`: one row for each unit file, with Podman's field names.

use std::process::ExitCode;

use sampan_generator::Overlay;
use sampan_generator::check::CheckedUnit;
use serde::Serialize;

use super::applications::Applications;
use super::place::{self, States};
use crate::output::filter::{Filters, matches};
use crate::output::{self, Format};

/// What a unit that systemd has not read has for a status, as in podman-quadlet-list(1).
const NOT_LOADED: &str = "Not loaded";

/// `sampan list [options]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: place::Chosen,
    /// Only some: name=, status=
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a Go template for each file
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
}

/// A unit file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    unit_name: String,
    path: String,
    status: String,
    app: String,
}

/// Prints the list.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["name", "status"])?;
    let columns = "{{.Name}}\t{{.UnitName}}\t{{.Path}}\t{{.Status}}\t{{.App}}";
    let format = Format::of(options.format.as_deref(), columns)?;
    let place = options.place.place();
    let units = place.check(Overlay::new()).units;
    let services: Vec<String> = units.iter().map(|unit| unit.service.clone()).collect();
    // Without systemd the files are there all the same.
    let states = place.states(&services).ok();
    let applications = Applications::read(&place.roots);
    let rows = units.iter().map(|unit| row(unit, states.as_ref(), &applications));
    let rows = rows.filter(|row| {
        filters.any("name", |name| fits(&row.name, name))
            && filters.any("status", |status| fits(&row.status, status))
    });
    match format {
        Format::Json => output::json(&rows.collect::<Vec<_>>())?,
        Format::Listing(listing) => {
            let rows = rows.map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
            let headings = [
                ("Name", "NAME"),
                ("UnitName", "UNIT NAME"),
                ("Path", "PATH ON DISK"),
                ("Status", "STATUS"),
                ("App", "APPLICATION"),
            ];
            listing.print(rows, !options.noheading, &headings)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(unit: &CheckedUnit, states: Option<&States>, applications: &Applications) -> Row {
    Row {
        name: unit.name.clone(),
        unit_name: unit.service.clone(),
        path: unit.file.display().to_string(),
        status: states.map_or_else(|| "unknown".to_owned(), |states| status(&unit.service, states)),
        app: applications.of(&unit.file).map(|app| app.name.clone()).unwrap_or_default(),
    }
}

/// `active/running`; for a template how many instances run.
fn status(service: &str, states: &States) -> String {
    if service.contains("@.") {
        return format!("template, {} active", states.running(service).len());
    }
    let unit = states.of(service).find(|unit| unit.load_state != "not-found");
    unit.map_or_else(|| NOT_LOADED.to_owned(), |unit| format!("{}/{}", unit.active_state, unit.sub_state))
}

/// Whether a value fits a filter: a part of it, or with `*` all of it.
fn fits(value: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return matches(value, pattern) };
    let Some(mut value) = value.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return value.ends_with(part);
        }
        match value.find(part) {
            Some(at) => value = &value[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_parts_or_patterns() {
        for (pattern, is) in [
            ("we", true),
            ("^eb", false),
            ("web*", true),
            ("*.container", true),
            ("w*b*er", true),
            ("b*", false),
            ("*.network", false),
            ("*", true),
        ] {
            assert_eq!(fits("web.container", pattern), is, "{pattern}");
        }
    }
}
