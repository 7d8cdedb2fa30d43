//! The systemd generator (systemd.generator(7)), for the system and, by its name or an option, for
//! users. `main` reads the command line and the settings, the library does the work, and
//! [`report`] tells what is wrong.

#![forbid(unsafe_code)]

mod arguments;
mod report;

use arguments::{Arguments, Command};
use report::Report;
use sampan_generator::{Environment, Options, generate, output, search, settings};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args_os()) {
        Ok(Command::Help) => print(arguments::HELP),
        Ok(Command::Version) => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Generate(arguments)) => run(&arguments),
        Err(error) => {
            eprintln!("sampan-generator: {error}; see sampan-generator --help");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Generates: the settings name the engine, the engine the directories, the directories the units.
fn run(arguments: &Arguments) -> ExitCode {
    let report =
        Report::open(arguments.kernel_log && !arguments.dry_run, arguments.verbose || arguments.dry_run);
    let (configured, mistake) = settings::engine(Path::new(settings::DEFAULT_PATH));
    let engine = arguments.engine.unwrap_or(configured);
    let (roots, notes) = search::roots(engine, arguments.user, &Environment::of_process());
    mistake.iter().chain(&notes).for_each(|diagnostic| report.diagnostic(diagnostic));

    let outcome = generate(&Options { engine, user: arguments.user, roots: roots.clone() });
    outcome.diagnostics.iter().for_each(|diagnostic| report.diagnostic(diagnostic));
    if outcome.units.is_empty() && outcome.diagnostics.is_empty() {
        let paths: Vec<_> = roots.iter().map(|root| root.path.display().to_string()).collect();
        log::debug!("No files parsed from [{}]", paths.join(" "));
    }
    let mut failed = outcome.has_errors();
    match &arguments.directory {
        Some(directory) if !arguments.dry_run => {
            let findings = output::write(&outcome, directory);
            findings.iter().for_each(|diagnostic| report.diagnostic(diagnostic));
            // sampan's stub services tell of what could not be translated; only what is lost
            // altogether is a failure of the generator.
            failed = !findings.is_empty() || outcome.lost;
        }
        _ => {
            let units = outcome.units.iter().map(|unit| format!("---{}---\n{}\n", unit.name, unit.text));
            if print(&units.collect::<String>()) != ExitCode::SUCCESS {
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
