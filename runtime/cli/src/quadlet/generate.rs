//! `sampan generate`: the units that a file becomes, without touching anything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sampan_generator::keys::UnitType;
use sampan_generator::{Diagnostic, Overlay, Root, Severity};

use super::{find, place};
use crate::output;

/// `sampan generate [--engine ENGINE] [--user] NAME|FILE…`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The links that [Install] asks for follow each unit as comments. What is wrong with the \
                        files goes to standard error; the exit status is 1 if one has an error."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: place::Chosen,
    /// Unit files: installed ones by name (web, web.container, web.service), others by path
    #[arg(value_name = "NAME|FILE", required = true)]
    names: Vec<String>,
}

/// Prints the units.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let place = options.place.place();
    let checked = place.check(Overlay::new());
    let mut wanted = Vec::new();
    // Files that aren't installed are read together with those beside them.
    let mut beside: Vec<PathBuf> = Vec::new();
    for name in &options.names {
        let path = match find::find(&checked.units, name) {
            Ok(unit) => unit.file.clone(),
            Err(error) if !Path::new(name).is_file() => return Err(error),
            Err(_) => {
                let path = unit_file(name)?;
                beside.extend(path.parent().map(Path::to_owned));
                path
            }
        };
        wanted.push(path);
    }
    beside.dedup();
    let beside: Vec<Root> = beside.into_iter().map(Root::flat).collect();
    let generation = place.generation(beside.clone());
    let mut text = String::new();
    let mut made = HashSet::new();
    let outcome = sampan_generator::generate(&generation, &mut |unit| {
        if wanted.iter().any(|path| path == unit.source) {
            made.insert(unit.source.to_owned());
            let gap = if text.is_empty() { "" } else { "\n" };
            text.extend([gap, "# ", unit.name, "\n", unit.text]);
            for link in unit.links {
                text.extend(["# link: ", &link.path, " -> ", &link.target, "\n"]);
            }
        }
    });
    let read = place.check_with(beside, Overlay::new());
    let of_wanted = read.units.iter().filter(|unit| wanted.contains(&unit.file));
    let files: HashSet<&Path> =
        of_wanted.flat_map(|unit| unit.dropins.iter().chain([&unit.file])).map(PathBuf::as_path).collect();
    let findings: Vec<&Diagnostic> =
        outcome.diagnostics.iter().filter(|finding| files.contains(finding.file.as_path())).collect();
    super::tell(findings.iter().copied());
    output::emit(&text)?;
    if let Some(path) = wanted.iter().find(|path| !made.contains(*path)) {
        bail!("no unit comes of {}", path.display());
    }
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The absolute path of a unit file, its folder's links resolved, as the generator names it.
fn unit_file(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(name).with_context(|| format!("find {name}"))?;
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default().to_owned();
    if UnitType::of(&file).is_none() {
        let known: Vec<_> = UnitType::ALL.iter().map(|kind| format!(".{}", kind.extension())).collect();
        bail!("{name} is no unit file: its name must end in {}", known.join(", "));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = folder.canonicalize().with_context(|| format!("find the folder of {name}"))?;
    Ok(folder.join(file))
}
