//! The command line: systemd's three directories, and the option spellings of Podman's Quadlet.

use sampan_generator::Engine;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Turns Quadlet files into systemd units.

Usage: sampan-generator [OPTIONS] NORMAL-DIR [EARLY-DIR LATE-DIR]
       sampan-generator --dry-run [OPTIONS]

Units are written into NORMAL-DIR, see systemd.generator(7). Options may start with one or two dashes.

  --engine=ENGINE  write units for sampan or podman (default: engine in /etc/sampan/sampan.toml, else sampan)
  --user           write units for a user's systemd; so does a program name with \"user\" in it
  --dry-run        print the units and everything that is wrong, write nothing
  --no-kmsg-log    say what is wrong on standard error, not in the kernel log
  -v               say what is done
  --version        print the version
  --help           print this

Environment:
  QUADLET_UNIT_DIRS  directories, separated by colons, that are read instead of the usual ones
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Generate(Arguments),
}

/// How units are generated.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) engine: Option<Engine>,
    pub(crate) user: bool,
    pub(crate) dry_run: bool,
    pub(crate) verbose: bool,
    /// Whether the kernel log is written to, where boots leave their messages.
    pub(crate) kernel_log: bool,
    /// Where units go.
    pub(crate) directory: Option<PathBuf>,
}

/// Why a command line can't be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ArgumentError {
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("the option --engine needs a value: sampan or podman")]
    MissingEngine,
    #[error("{0}")]
    Engine(String),
    #[error("the output directory is missing")]
    MissingDirectory,
}

impl Arguments {
    /// Reads the command line; the first word is the program's own name.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, ArgumentError> {
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let mut arguments = Self { user: is_user(&program), kernel_log: true, ..Self::default() };
        while let Some(word) = words.next() {
            let text = word.to_string_lossy();
            let Some(option) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
                arguments.directory = arguments.directory.or(Some(word.into()));
                continue;
            };
            let (option, value) =
                option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value.to_owned())));
            let on = !matches!(value.as_deref(), Some("false" | "0"));
            match option {
                "help" | "h" => return Ok(Command::Help),
                "version" => return Ok(Command::Version),
                "dry-run" | "dryrun" => arguments.dry_run = on,
                "user" => arguments.user = on,
                "v" | "verbose" => arguments.verbose = on,
                "no-kmsg-log" => arguments.kernel_log = !on,
                "engine" => {
                    let name = value.or_else(|| words.next().and_then(|word| word.into_string().ok()));
                    let name = name.ok_or(ArgumentError::MissingEngine)?;
                    let engine = name.parse().map_err(|error: sampan_generator::UnknownEngine| {
                        ArgumentError::Engine(error.to_string())
                    })?;
                    arguments.engine = Some(engine);
                }
                _ => return Err(ArgumentError::UnknownOption(text.into_owned())),
            }
        }
        if arguments.directory.is_none() && !arguments.dry_run {
            return Err(ArgumentError::MissingDirectory);
        }
        Ok(Command::Generate(arguments))
    }
}

/// systemd runs the same program from its user-generators directory under a name with "user" in it.
fn is_user(program: &OsStr) -> bool {
    Path::new(program).file_name().is_some_and(|name| name.to_string_lossy().contains("user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, ArgumentError> {
        Arguments::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn systemds_three_directories() {
        let Ok(Command::Generate(arguments)) = parse("/x/sampan-generator /n /e /l") else { panic!() };
        assert_eq!(arguments.directory.as_deref(), Some(Path::new("/n")));
        assert!(arguments.kernel_log && !arguments.user && !arguments.dry_run);
    }

    #[test]
    fn both_spellings() {
        let Ok(Command::Generate(arguments)) =
            parse("/u/sampan-user-generator -dryrun --no-kmsg-log --engine podman")
        else {
            panic!()
        };
        assert!(arguments.user && arguments.dry_run && !arguments.kernel_log);
        assert_eq!(arguments.engine, Some(Engine::Podman));
        assert_eq!(parse("g -version"), Ok(Command::Version));
    }

    #[test]
    fn mistakes() {
        assert_eq!(parse("g"), Err(ArgumentError::MissingDirectory));
        assert_eq!(parse("g --nonsense /n"), Err(ArgumentError::UnknownOption("--nonsense".to_owned())));
        assert!(matches!(parse("g --engine=docker /n"), Err(ArgumentError::Engine(_))));
    }
}
