//! The systemd generator (systemd.generator(7)), for the system and, by its name or an option, for
//! users. `main` reads the command line and the settings, the library does the work, and
//! [`report`] tells what is wrong.

#![forbid(unsafe_code)]

mod arguments;
mod report;

use arguments::{Arguments, Command};
use report::Report;
use sampan_generator::background::Background;
use sampan_generator::{Environment, Options, Overlay, generate, search, settings};
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

    let options = Options { engine, user: arguments.user, roots, overlay: Overlay::new() };
    let failed = match &arguments.directory {
        Some(directory) if !arguments.dry_run => {
            let mut output = Background::new(directory);
            let outcome = generate(&options, &mut |unit| output.write(&unit));
            let unwritten = output.finish();
            outcome.diagnostics.iter().chain(&unwritten).for_each(|diagnostic| report.diagnostic(diagnostic));
            // sampan's stub services tell of what could not be translated; only what is lost
            // altogether is a failure of the generator.
            outcome.lost || !unwritten.is_empty()
        }
        _ => {
            let mut units = String::new();
            let outcome =
                generate(&options, &mut |unit| units.extend(["---", unit.name, "---\n", unit.text, "\n"]));
            outcome.diagnostics.iter().for_each(|diagnostic| report.diagnostic(diagnostic));
            if units.is_empty() && outcome.diagnostics.is_empty() {
                let paths: Vec<_> =
                    options.roots.iter().map(|root| root.path.display().to_string()).collect();
                log::debug!("No files parsed from [{}]", paths.join(" "));
            }
            // What can be translated is printed, also beside what can't.
            print(&units) == ExitCode::FAILURE || outcome.has_errors()
        }
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
