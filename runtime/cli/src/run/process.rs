//! Which program runs, with which arguments, limits and working directory.

use anyhow::{Context, bail};
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

use super::options::Options;
use crate::blame::Blamed as _;

/// What the image says about its program; empty for `Rootfs=`.
#[derive(Debug, Default)]
pub(crate) struct ImageProgram<'a> {
    /// Its entry point, before the command.
    pub(crate) entrypoint: &'a [String],
    /// Its command, which the user's replaces.
    pub(crate) command: &'a [String],
}

/// The argument vector: entry point and command, each from the user, else from the image.
///
/// A user's entry point drops the image's command, as in podman-run(1); an empty one drops the image's entry point.
///
/// # Errors
/// Neither the user nor the image names a program.
pub(crate) fn arguments(options: &Options, image: &ImageProgram<'_>) -> anyhow::Result<Vec<String>> {
    let command = &options.arguments[1..];
    let arguments: Vec<String> = match &options.entrypoint {
        Some(entrypoint) => words(entrypoint)
            .blame("Entrypoint", entrypoint)?
            .into_iter()
            .chain(command.iter().cloned())
            .collect(),
        None if command.is_empty() => image.entrypoint.iter().chain(image.command).cloned().collect(),
        None => image.entrypoint.iter().chain(command).cloned().collect(),
    };
    if arguments.is_empty() {
        bail!(
            "{} names no program to run, and neither does the unit: add Exec= (or a command after the image)",
            options.arguments[0]
        );
    }
    if arguments[0].is_empty() {
        bail!("the program's name is empty: check Exec= and Entrypoint=");
    }
    Ok(arguments)
}

fn words(entrypoint: &str) -> anyhow::Result<Vec<String>> {
    match entrypoint {
        "" => Ok(Vec::new()),
        json if json.starts_with('[') => {
            serde_json::from_str(json).context("it begins like a JSON array and isn't one of strings")
        }
        word => Ok(vec![word.to_owned()]),
    }
}

/// Resource limits of the process, `--ulimit` over containers.conf; `host` alone means none of ours.
///
/// # Errors
/// An unknown name, or a soft limit over the hard one.
pub(crate) fn limits(asked: &[String], defaults: &[String]) -> anyhow::Result<Vec<PosixRlimit>> {
    if asked.iter().any(|limit| limit == "host") {
        return Ok(Vec::new());
    }
    let mut limits: Vec<PosixRlimit> = Vec::new();
    for text in defaults.iter().chain(asked) {
        let limit = limit(text).blame("Ulimit", text)?;
        limits.retain(|earlier| earlier.typ() != limit.typ());
        limits.push(limit);
    }
    Ok(limits)
}

fn limit(text: &str) -> anyhow::Result<PosixRlimit> {
    let usage = || "write NAME=SOFT[:HARD], as in nofile=1024:4096 (-1 for no limit)".to_string();
    let (name, values) = text.split_once('=').with_context(usage)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let value = |v: &str| if v == "-1" { Ok(u64::MAX) } else { v.parse::<u64>().with_context(usage) };
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        bail!("the soft limit is over the hard limit");
    }
    let typ: PosixRlimitType =
        format!("RLIMIT_{}", name.trim_start_matches("RLIMIT_").to_ascii_uppercase()).parse().with_context(
            || format!("there is no limit \"{name}\" (see setrlimit(2): nofile, nproc, core, …)"),
        )?;
    Ok(PosixRlimitBuilder::default().typ(typ).soft(soft).hard(hard).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Line::parse_from(["run"].iter().chain(arguments)).options
    }

    #[test]
    fn the_users_words_replace_the_images() {
        let (entrypoint, command) = (["/e".to_owned()], ["c".to_owned()]);
        let image = ImageProgram { entrypoint: &entrypoint, command: &command };
        for (line, expected) in [
            (&["i"][..], &["/e", "c"][..]),
            (&["i", "x", "-y"], &["/e", "x", "-y"]),
            (&["--entrypoint", "/z", "i"], &["/z"]),
            (&["--entrypoint", "/z", "i", "a"], &["/z", "a"]),
            (&["--entrypoint", r#"["/z","-q"]"#, "i", "a"], &["/z", "-q", "a"]),
            (&["--entrypoint=", "i", "a", "--", "b"], &["a", "--", "b"]),
        ] {
            assert_eq!(arguments(&options(line), &image).unwrap(), expected, "{line:?}");
        }
        assert!(arguments(&options(&["i"]), &ImageProgram::default()).is_err());
    }

    #[test]
    fn a_later_limit_replaces_an_earlier_one() {
        let limits = limits(&["nofile=10:20".into()], &["nofile=1:2".into(), "core=0".into()]).unwrap();
        let shown: Vec<_> = limits.iter().map(|l| (l.typ().to_string(), l.soft(), l.hard())).collect();
        assert_eq!(shown, [("RLIMIT_CORE".into(), 0, 0), ("RLIMIT_NOFILE".into(), 10, 20)]);
        for wrong in ["nofile", "nofile=x", "nofile=3:2", "nosuch=1"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
