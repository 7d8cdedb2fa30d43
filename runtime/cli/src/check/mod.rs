//! `sampan check`: what is wrong with Quadlet files, before anything is started.
//!
//! The rules are the generator's ([`sampan_generator::check`]); here is what surrounds them: which
//! files are meant ([`select`]), how findings are told ([`human`], [`json`], [`sarif`]), and what is
//! mended ([`fix`]).

mod fix;
mod human;
mod json;
mod sarif;
mod select;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use sampan_generator::check::host::{Host, Image};
use sampan_generator::check::{self, Checked};
use sampan_generator::diagnostic::{Rule, rules};
use sampan_generator::{Diagnostic, Engine, Severity, settings};

use crate::Coded;
use crate::context::Context;
use select::Selection;

/// What the manual says behind the options.
const MANUAL: &str = "\
Without PATH the directories are checked that the generator reads. A directory is checked with everything \
below it; of a single file only its own findings are told, but the files beside it are read, because it may \
refer to them. A PATH of - is standard input, named by --stdin-name.

Exit status: 0 if nothing is wrong, 1 if there are errors (with --strict: or warnings), 2 if the command line \
is wrong or a path can't be read.

A comment \"# sampan: ignore=RULE[,RULE]\" directly above a line silences rules there, before the first section \
in the whole file. --list-rules lists the rules, --explain tells about one.

JSON is an array of objects: rule, severity (error, warning or note), file, line and column (from 1, counted in \
characters; 0 for a finding about the whole file), length (in characters), text (the line), reason, help (or \
null) and fix (what to put in place of the marked characters, or null). SARIF is version 2.1.0.";

/// How findings are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// With the line and a mark below the place
    Human,
    /// One array
    Json,
    /// For code review and editors, version 2.1.0
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    /// On a terminal
    Auto,
    Always,
    Never,
}

/// `sampan check [OPTIONS] [PATH…]`
#[derive(Debug, clap::Args)]
#[command(after_long_help = MANUAL)]
pub(crate) struct Options {
    /// Directories or files; - for standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Check as a user's systemd would run the units
    #[arg(long)]
    user: bool,
    /// Who runs the units: sampan or podman; the default is the setting of sampan.toml(5)
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Also look at this machine: files, ports, routes, users, images
    #[arg(long)]
    host: bool,
    /// How findings are told
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "human")]
    format: Format,
    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Warnings count as errors
    #[arg(long)]
    strict: bool,
    /// Mend what has a certain fix, then tell what is left
    #[arg(long)]
    fix: bool,
    /// What the file on standard input is called: its type matters, and its directory
    #[arg(long, value_name = "NAME", default_value = "stdin.container")]
    stdin_name: PathBuf,
    /// Tell about a rule
    #[arg(long, value_name = "RULE", exclusive = true)]
    explain: Option<String>,
    /// List all rules
    #[arg(long, exclusive = true)]
    list_rules: bool,
}

/// Checks, and tells by the exit status whether anything is wrong.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let outcome = match (&options.explain, options.list_rules) {
        (Some(id), _) => explain(id),
        (None, true) => list(),
        (None, false) => examine(&options, context),
    };
    // What can't be checked is no finding: scripts tell the two apart.
    outcome.map_err(|error| Coded { code: 2, message: format!("{error:#}") }.into())
}

/// What `sampan check --host` finds in the directories that the generator reads.
///
/// # Errors
/// A directory can't be read.
pub(crate) fn of_this_host(context: &Context) -> anyhow::Result<Vec<Diagnostic>> {
    let (engine, mistake) = settings::engine(Path::new(settings::DEFAULT_PATH));
    let mut selection = Selection::new(&[], Path::new("-"), engine, false)?;
    selection.notes.extend(mistake);
    Ok(checked(&selection, engine, false, Some(this_machine(context))).diagnostics)
}

fn examine(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let (configured, mistake) = settings::engine(Path::new(settings::DEFAULT_PATH));
    let engine = options.engine.unwrap_or(configured);
    let mut selection = Selection::new(&options.paths, &options.stdin_name, engine, options.user)?;
    selection.notes.extend(mistake.filter(|_| options.engine.is_none()));
    let host = options.host.then(|| this_machine(context));
    let mut found = checked(&selection, engine, options.user, host.clone());
    if options.fix {
        if selection.is_stdin() {
            bail!("--fix can't change standard input");
        }
        found = mend(&selection, found, || checked(&selection, engine, options.user, host.clone()))?;
    }
    tell(options, &found.diagnostics, found.files)?;
    let worst = if options.strict { Severity::Warning } else { Severity::Error };
    let fails = found.diagnostics.iter().any(|diagnostic| diagnostic.severity >= worst);
    Ok(ExitCode::from(u8::from(fails)))
}

/// How often files are mended and checked again, at most: what a mended section holds is found out by the
/// next check.
const MOST_ROUNDS: usize = 10;

/// Mends what can be, until nothing is left to mend; the findings that stay.
fn mend(selection: &Selection, mut found: Checked, again: impl Fn() -> Checked) -> anyhow::Result<Checked> {
    let mut mended = 0;
    for _ in 0..MOST_ROUNDS {
        match fix::apply(&found.diagnostics, |file| selection.may_change(file))? {
            0 => break,
            count => mended += count,
        }
        found = again();
    }
    if mended > 0 {
        eprintln!("{mended} {} mended", if mended == 1 { "finding" } else { "findings" });
    }
    for file in fix::by_file(&found.diagnostics).keys().filter(|file| !selection.may_change(file)) {
        eprintln!("{} is left as it is: it is reached through a link; name it to mend it", file.display());
    }
    Ok(found)
}

/// All findings about what was selected.
fn checked(selection: &Selection, engine: Engine, user: bool, host: Option<Host>) -> Checked {
    let mut found = Checked::default();
    for roots in &selection.groups {
        let options = check::Options {
            roots: roots.clone(),
            engine,
            user,
            overlay: selection.overlay.clone(),
            host: host.clone(),
        };
        let one = check::check(&options);
        found.files += selection.count(&one);
        found.diagnostics.extend(one.diagnostics.into_iter().filter(|finding| selection.tells(finding)));
    }
    found.diagnostics.splice(0..0, selection.notes.iter().cloned());
    found.diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    found.diagnostics.dedup();
    found
}

/// This machine, with the images of our store.
fn this_machine(context: &Context) -> Host {
    // Opening a store makes it, and a check changes nothing.
    let store = if context.root().exists() { context.store().ok() } else { None };
    let (Some(store), Ok(registries)) = (store, context.registries()) else { return Host::new("/") };
    let exposed = |image: sampan_image::Image| {
        let config = image.config.config().as_ref();
        config.and_then(|config| config.exposed_ports().clone()).unwrap_or_default()
    };
    Host::new("/").with_images(Rc::new(move |name: &str| {
        let image = store.find(name, &registries).ok().flatten()?;
        Some(Image { exposed_ports: exposed(image) })
    }))
}

fn tell(options: &Options, findings: &[Diagnostic], files: usize) -> anyhow::Result<()> {
    let stdout = std::io::stdout();
    let colours = match options.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let text = match options.format {
        Format::Human => human::text(findings, files, colours),
        Format::Json => json::text(findings)?,
        Format::Sarif => sarif::text(findings)?,
    };
    print(&text)
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Nobody reads any more, as with `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

fn explain(id: &str) -> anyhow::Result<ExitCode> {
    let rule = rules::find(id).with_context(|| format!("there is no rule \"{id}\"; see --list-rules"))?;
    print(&human::explanation(rule))?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<ExitCode> {
    let width = rules::ALL.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let line =
        |rule: &&Rule| format!("{:width$}  {:7}  {}\n", rule.id, rule.severity.to_string(), rule.title);
    print(&rules::ALL.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}
