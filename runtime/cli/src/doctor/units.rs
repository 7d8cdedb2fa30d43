//! The unit files, by the rules of `sampan check --host`.

use sampan_generator::Severity as Grade;

use super::{Finding, Host, Severity};
use crate::check;

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let diagnostics = check::of_this_host(host.context)?.into_iter();
    // What is worth a thought, the command itself tells with its line.
    let errors = diagnostics.filter(|diagnostic| diagnostic.severity == Grade::Error);
    Ok(errors
        .map(|diagnostic| {
            let place = match diagnostic.line {
                0 => diagnostic.file.display().to_string(),
                line => format!("{}:{line}", diagnostic.file.display()),
            };
            let help = diagnostic.help.map(|help| format!("{help}\n")).unwrap_or_default();
            let help = format!("{help}With the line, and what else there is: sampan check --host");
            Finding::new(diagnostic.rule, Severity::Error, place, diagnostic.reason, help)
        })
        .collect())
}
