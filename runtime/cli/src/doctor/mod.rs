//! `sampan doctor`: what on this host stands in the way of containers, in words.
//!
//! It asks and changes nothing. Each subject is a file that turns what it sees into
//! [`Finding`]s:
//!
//! - [`kernel`]: what the kernel has and how it is set;
//! - [`table`]: our own firewall table, and the networks' subnets;
//! - [`forward`]: other firewalls that drop what containers send or get, over
//!   [`ruleset`], which reads and follows their rules;
//! - [`firewalld`]: whether it knows our bridges;
//! - [`names`]: the name server;
//! - [`ports`]: programs that wait for what containers get;
//! - [`settings`]: keys of containers.conf that have no effect;
//! - [`leftovers`]: what containers that are gone have left;
//! - [`units`]: the unit files, by the rules of `sampan check --host`.
//!
//! [`report`] prints what was found.

mod firewalld;
mod forward;
mod kernel;
mod leftovers;
mod names;
mod ports;
mod report;
mod ruleset;
mod settings;
mod table;
mod units;

use std::process::ExitCode;

use sampan_network::{Lease, Network, Networks};
use serde::Serialize;

use crate::context::Context;
use crate::output;

/// What the manual says behind the options.
const MANUAL: &str = "\
Exit status: 0 if nothing is broken, 1 if there are errors. Warnings and notes tell of what may be in the way.

JSON is an array of objects: rule, severity (error, warning or note), subject (what it is about), reason and help \
(what to do, or null). Rules keep their names.

Root sees everything; others are told what they can't see.";

/// `sampan doctor [--format FORMAT]`
#[derive(Debug, clap::Args)]
#[command(after_long_help = MANUAL)]
pub(crate) struct Options {
    /// How findings are told
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "human")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Sentences
    Human,
    /// One array
    Json,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Good to know.
    Note,
    /// It may be in the way.
    Warning,
    /// Containers, or some of them, can't work.
    Error,
}

/// One thing that is in the way.
#[derive(Debug, Serialize)]
struct Finding {
    /// What kind of thing, such as `foreign-forward`.
    rule: &'static str,
    severity: Severity,
    /// What it is about: a file, a chain, a network.
    subject: String,
    /// What is wrong.
    reason: String,
    /// What to do.
    help: Option<String>,
}

impl Finding {
    fn new(
        rule: &'static str,
        severity: Severity,
        subject: impl Into<String>,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        Self { rule, severity, subject: subject.into(), reason: reason.into(), help }
    }
}

/// What all subjects look at.
struct Host<'a> {
    context: &'a Context,
    networks: Networks,
    leases: Vec<Lease>,
}

impl Host<'_> {
    /// The networks that containers are on, each once.
    fn used(&self) -> Vec<&Network> {
        let mut used: Vec<&Network> =
            self.leases.iter().flat_map(|lease| &lease.attachments).map(|at| &at.network).collect();
        used.sort_by(|a, b| a.name.cmp(&b.name));
        used.dedup_by(|a, b| a.name == b.name);
        used
    }
}

/// A subject: what it finds.
type Subject = fn(&Host<'_>) -> anyhow::Result<Vec<Finding>>;

/// In the order of the report; the name is for what can't be looked at.
const SUBJECTS: [(&str, Subject); 9] = [
    ("the kernel", kernel::examine),
    ("the firewall's table", table::examine),
    ("other firewalls", forward::examine),
    ("firewalld", firewalld::examine),
    ("the name server", names::examine),
    ("published ports", ports::examine),
    ("containers.conf", settings::examine),
    ("what is left over", leftovers::examine),
    ("unit files", units::examine),
];

/// Looks at everything, and tells by the exit status whether anything is broken.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let leases = networks.leases()?;
    let host = Host { context, networks, leases };
    let mut findings = Vec::new();
    for (name, examine) in SUBJECTS {
        match examine(&host) {
            Ok(found) => findings.extend(found),
            // One that can't be looked at says nothing about the others.
            Err(error) => findings.push(Finding::new(
                "not-examined",
                Severity::Warning,
                name,
                format!("{error:#}"),
                "Run it as root.",
            )),
        }
    }
    match options.format {
        Format::Human => output::emit(&report::human(&findings))?,
        Format::Json => output::json(&findings)?,
    }
    let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(ExitCode::from(u8::from(broken)))
}
