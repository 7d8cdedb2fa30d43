//! Networks follow the units that make them.
//!
//! A `.network` file becomes a unit that makes the network and then stays active: who
//! edits the file, reloads systemd and restarts a container doesn't run that unit
//! again. So the unit's command line is noted when it has made the network, below
//! `<runroot>/networks/`, and each container that joins the network compares the note
//! with the unit as it is now. That costs two small files, and no process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use sampan_generator::syntax::words::{self, Escapes};
use systemd_journal_logger::JournalLog;

use super::{Verb, create};
use crate::context::Context;
use crate::run::unit;
use crate::{Command, CommandLine};

/// Where systemd keeps the units of its generators (systemd.generator(7)).
const GENERATED: &str = "/run/systemd/generator";

/// Notes the unit of which this process is a command, and its command line.
///
/// # Errors
/// The note can't be written.
pub(super) fn note(network: &str, context: &Context) -> anyhow::Result<()> {
    let Some(unit) = unit::own_unit() else { return Ok(()) };
    let Some(command) = command(&unit) else { return Ok(()) };
    // A unit of somebody else's that happens to make a network is no definition.
    if !command.contains(" network create ") {
        return Ok(());
    }
    let place = place(network, context);
    let written = || {
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
        let scratch = place.with_extension("new");
        fs::write(&scratch, format!("{unit}\n{command}\n"))?;
        fs::rename(&scratch, &place)
    };
    written().with_context(|| format!("writing {}", place.display()))
}

/// Forgets where a network comes from. It is no error if nothing is known.
///
/// # Errors
/// unlink(2)'s.
pub(super) fn forget(network: &str, context: &Context) -> anyhow::Result<()> {
    let place = place(network, context);
    match fs::remove_file(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", place.display()))
        }
        _ => Ok(()),
    }
}

/// Brings the network to what its unit says by now, if that is something else than
/// when the network was made. A container starts with the network as it is rather
/// than not at all: what is wrong is told in its journal and in the unit's.
pub(crate) fn follow(network: &str, context: &Context) {
    let Ok(note) = fs::read_to_string(place(network, context)) else { return };
    let Some((unit, noted)) = note.split_once('\n') else { return };
    let Some(command) = command(unit).filter(|command| command != noted.trim_end()) else { return };
    match converge(network, &command, context) {
        Ok(words) => {
            if !words.is_empty() {
                tell(unit, log::Level::Info, &words);
                log::warn!("{words}");
            }
        }
        Err(error) => {
            let words = format!(
                "network {network:?} is not yet what its file says: {error:#}; see `systemctl restart {unit}`"
            );
            tell(unit, log::Level::Warn, &words);
            log::warn!("{words}");
        }
    }
}

fn converge(network: &str, command: &str, context: &Context) -> anyhow::Result<String> {
    let arguments = CommandLine::try_parse_from(arguments(command)?)?;
    let Command::Network(super::Command { verb: Verb::Create(options) }) = arguments.command else {
        anyhow::bail!("its unit makes no network");
    };
    let networks = context.networks()?;
    let config = create::config(&options, &networks)?;
    ensure!(config.name == network, "its unit makes the network {:?} now", config.name);
    let converged =
        create::converge(&config, &networks, context).map_err(|error| create::blame(error, &options))?;
    // The same line the next container sees, which has nothing to do then.
    let place = place(network, context);
    let unit = fs::read_to_string(&place).unwrap_or_default();
    let unit = unit.lines().next().unwrap_or_default();
    let scratch = place.with_extension(std::process::id().to_string());
    fs::write(&scratch, format!("{unit}\n{command}\n")).and_then(|()| fs::rename(&scratch, &place))?;
    Ok(converged.to_string())
}

/// The words of a command line that is the same wherever it is run.
fn arguments(command: &str) -> anyhow::Result<Vec<String>> {
    let words = words::split(command, Escapes::Resolved).words;
    let plain = |text: &str| {
        let text = text.replace("%%", "\0").replace("$$", "\u{1}");
        ensure!(!text.contains(['%', '$']), "{text:?} is only known to systemd");
        Ok(text.replace('\0', "%").replace('\u{1}', "$"))
    };
    words.iter().map(|word| plain(&word.text)).collect()
}

/// The command line of a generated unit.
fn command(unit: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(GENERATED).join(unit)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("ExecStart=")).map(str::to_owned)
}

fn place(network: &str, context: &Context) -> PathBuf {
    context.runroot().join("networks").join(format!("{network}.unit"))
}

/// A message that `systemctl status` of the unit shows, although another one's process sends it.
fn tell(unit: &str, level: log::Level, words: &str) {
    // Without a journal there is nobody to tell.
    let Ok(journal) = JournalLog::new() else { return };
    let journal = journal.with_extra_fields([("OBJECT_SYSTEMD_UNIT", unit)]);
    let _ = journal.journal_send(
        &log::Record::builder().level(level).target("network").args(format_args!("{words}")).build(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read_as_systemd_reads_it() {
        let line = r#"/usr/bin/sampan network create --ignore --label "a=b c" --label x=100%% app"#;
        let words = arguments(line).unwrap();
        assert_eq!(words[4..], ["--label", "a=b c", "--label", "x=100%", "app"]);
        assert!(arguments("sampan network create %i").is_err());
    }
}
