//! `sampan schema`: the keys of unit files, for programs.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use sampan_generator::keys::{self, UnitType};

use crate::output;

/// `sampan schema [TYPE]`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The schema (JSON Schema, draft 2020-12) describes what a parser makes of a unit file: an object \
                        of sections, each an object of keys, each a string or an array of strings. It lies in \
                        /usr/share/sampan/quadlet.schema.json as well."
)]
pub(crate) struct Options {
    /// Only this kind of unit file
    #[arg(value_name = "TYPE", value_parser = PossibleValuesParser::new(UnitType::ALL.map(UnitType::extension)))]
    kind: Option<String>,
}

/// Prints the schema.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let kind = UnitType::ALL.into_iter().find(|kind| options.kind.as_deref() == Some(kind.extension()));
    output::json(&keys::schema(kind))?;
    Ok(ExitCode::SUCCESS)
}
