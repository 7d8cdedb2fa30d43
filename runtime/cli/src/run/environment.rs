//! The environment of the container's first process, put together in Podman's order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, bail};
use sampan_container::activation::{self, Sockets};

use super::options::Options;
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PROXY: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

/// What stays this process's own business, even with `--env-host`.
const OURS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "CREDENTIALS_DIRECTORY",
    "WATCHDOG_PID",
];

/// Variables by name; the order of an environment means nothing.
pub(crate) type Environment = BTreeMap<String, String>;

/// Defaults, then the image's, then the host's where asked, then files, then options; the later wins.
///
/// # Errors
/// An unreadable file, or an entry that is no assignment.
pub(crate) fn assemble(
    options: &Options,
    conf: &ContainersConf,
    image: &[String],
) -> anyhow::Result<Environment> {
    let mut environment = Environment::new();
    if !options.unsetenv_all {
        environment.insert("PATH".into(), DEFAULT_PATH.into());
        environment.insert("container".into(), "oci".into());
        let term = if options.tty { std::env::var("TERM").ok() } else { None };
        environment.insert("TERM".into(), term.unwrap_or_else(|| "xterm".into()));
        for entry in &conf.containers.env {
            add(&mut environment, entry, "containers.conf")?;
        }
        for entry in image {
            add(&mut environment, entry, "the image's configuration")?;
        }
    }
    if options.env_host.unwrap_or(conf.containers.env_host.unwrap_or(false)) {
        environment.extend(host().filter(|(name, _)| !is_ours(name)));
    }
    if options.http_proxy.unwrap_or(conf.containers.http_proxy.unwrap_or(true)) {
        environment.extend(host().filter(|(name, _)| PROXY.contains(&name.to_ascii_lowercase().as_str())));
    }
    for name in &options.unsetenv {
        environment.remove(name);
    }
    for file in &options.env_file {
        read_file(&mut environment, file).blame("EnvironmentFile", file.display().to_string())?;
    }
    if let Some(file) = &options.env_nul {
        read_exact(&mut environment, file)?;
    }
    for entry in &options.env {
        add_or_look_up(&mut environment, entry);
    }
    Ok(environment)
}

fn is_ours(name: &str) -> bool {
    OURS.contains(&name) || activation::VARIABLES.contains(&name)
}

/// Says what the program needs to know of the sockets that it gets.
pub(crate) fn describe(environment: &mut Environment, sockets: &Sockets) {
    let entries = sockets.variables().iter().filter_map(|entry| entry.split_once('='));
    environment.extend(entries.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// `NAME=VALUE` entries for execve(2).
pub(crate) fn entries(environment: &Environment) -> Vec<String> {
    environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// An image's or a configuration's entry is an assignment and nothing else: a bare name must never be looked up
/// on the host (CVE-2026-57231).
fn add(environment: &mut Environment, entry: &str, origin: &str) -> anyhow::Result<()> {
    match entry.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            environment.insert(name.into(), value.into());
            Ok(())
        }
        _ => bail!("{origin} has the environment entry \"{entry}\", which is not NAME=VALUE"),
    }
}

/// An option's or a file's entry may name a variable of this process, or with `*` all that begin so.
fn add_or_look_up(environment: &mut Environment, entry: &str) {
    if let Some((name, value)) = entry.split_once('=') {
        environment.insert(name.into(), value.into());
    } else if let Some(prefix) = entry.strip_suffix('*') {
        environment.extend(host().filter(|(name, _)| name.starts_with(prefix)));
    } else if let Ok(value) = std::env::var(entry) {
        environment.insert(entry.into(), value);
    }
}

fn read_file(environment: &mut Environment, path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the environment file {}", path.display()))?;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('=') {
            bail!("{}:{}: \"{line}\" has no name before the =", path.display(), number + 1);
        }
        add_or_look_up(environment, line);
    }
    Ok(())
}

/// Assignments as `/proc/PID/environ` has them, proc_pid_environ(5). A value may have any characters, also line breaks,
/// and no entry of it is looked up in this process.
fn read_exact(environment: &mut Environment, path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the environment file {}", path.display()))?;
    let origin = path.display().to_string();
    text.split_terminator('\0').try_for_each(|entry| add(environment, entry, &origin))
}

fn host() -> impl Iterator<Item = (String, String)> {
    let text = |s: OsString| s.into_string().ok();
    std::env::vars_os().filter_map(move |(name, value)| Some((text(name)?, text(value)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_entry_is_never_looked_up_on_the_host() {
        let mut environment = Environment::new();
        for entry in ["HOME", "*", "PATH*", "=x"] {
            assert!(add(&mut environment, entry, "the image").is_err(), "{entry}");
        }
        assert!(environment.is_empty());
    }

    #[test]
    fn values_between_nul_bytes_are_taken_as_they_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entries_in = ["A= two\nlines\r\n", "B=\"q\" $HOME \\ #", "C=", "LD_PRELOAD=/x.so"];
        std::fs::write(file.path(), entries_in.map(|entry| format!("{entry}\0")).concat()).unwrap();
        let mut environment = Environment::new();
        read_exact(&mut environment, file.path()).unwrap();
        assert_eq!(entries(&environment), entries_in);
        std::fs::write(file.path(), "PATH\0").unwrap();
        assert!(read_exact(&mut environment, file.path()).is_err());
    }

    #[test]
    fn a_file_gives_assignments_and_skips_comments() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# comment\n\nA=1\n  B=two words \nC=a=b\n").unwrap();
        let mut environment = Environment::new();
        read_file(&mut environment, file.path()).unwrap();
        assert_eq!(entries(&environment), ["A=1", "B=two words ", "C=a=b"]);
    }
}
