//! `sampan cat`: unit files as they are read, with their drop-ins.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use sampan_generator::Overlay;

use super::{find, place};
use crate::output;

/// `sampan cat NAME…`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each file is headed by a comment with its path, as systemctl cat does; the drop-ins follow \
                        in the order in which they are read. The service: systemctl cat web, or sampan generate web."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: place::Chosen,
    /// Unit files by name (web, web.container, web.service) or path
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Prints each file.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let checked = options.place.place().check(Overlay::new());
    let mut text = String::new();
    for name in &options.names {
        let unit = find::find(&checked.units, name)?;
        for file in std::iter::once(&unit.file).chain(&unit.dropins) {
            append(&mut text, file)?;
        }
    }
    output::emit(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Adds a file under its head, an empty line above it.
fn append(text: &mut String, file: &Path) -> anyhow::Result<()> {
    let bytes = sampan_generator::regular::read(file).with_context(|| format!("read {}", file.display()))?;
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    text.extend(["# ", &file.display().to_string(), "\n"]);
    text.push_str(&String::from_utf8_lossy(&bytes));
    Ok(())
}
