//! `sampan system df`: how much space images, containers and volumes take.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sampan_container::state::Status;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::output::{self, Format, human};
use crate::users;

/// `sampan system df [--format FORMAT]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// json, or a Go template for each row
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// A row, with Podman's field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "Type")]
    kind: &'static str,
    total: usize,
    active: usize,
    raw_size: u64,
    raw_reclaimable: u64,
    total_count: usize,
    size: String,
    reclaimable: String,
}

impl Row {
    fn new(kind: &'static str, total: usize, active: usize, size: u64, reclaimable: u64) -> Self {
        let part = (reclaimable * 100).checked_div(size).unwrap_or(0);
        Self {
            kind,
            total,
            active,
            raw_size: size,
            raw_reclaimable: reclaimable,
            total_count: total,
            size: human::size(size),
            reclaimable: format!("{} ({part}%)", human::size(reclaimable)),
        }
    }
}

/// Adds up and prints.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let rows = [images(context)?, containers(context)?, volumes(context)?];
    match Format::of(
        options.format.as_deref(),
        "{{.Type}}\t{{.Total}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    )? {
        Format::Json => output::json(&rows)?,
        Format::Listing(listing) => {
            let rows = rows.iter().map(|row| json!(row)).collect();
            listing.print(rows, true, &[])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn images(context: &Context) -> anyhow::Result<Row> {
    let store = context.store()?;
    let used = users::images(context)?;
    let images = store.images()?;
    let active = images.iter().filter(|image| used.contains(&image.id)).count();
    let usage = store.usage(&used)?;
    Ok(Row::new("Images", images.len(), active, usage.layers, usage.reclaimable))
}

fn containers(context: &Context) -> anyhow::Result<Row> {
    let all = users::of(context, |_| true)?;
    let (mut active, mut size, mut reclaimable) = (0, 0, 0);
    for (container, state) in &all {
        let bytes = below(&context.writable_layer(container.name()));
        size += bytes;
        match state.live_status() {
            Status::Stopped => reclaimable += bytes,
            _ => active += 1,
        }
    }
    Ok(Row::new("Containers", all.len(), active, size, reclaimable))
}

fn volumes(context: &Context) -> anyhow::Result<Row> {
    let containers = users::of(context, |_| true)?;
    let used: HashSet<_> = containers
        .iter()
        .flat_map(|(_, state)| &state.mounts)
        .filter_map(|mount| mount.name.clone())
        .collect();
    let volumes = context.volumes().list()?;
    let (mut active, mut size, mut reclaimable) = (0, 0, 0);
    for volume in &volumes {
        let bytes = below(&volume.data());
        size += bytes;
        match used.contains(volume.name()) {
            true => active += 1,
            false => reclaimable += bytes,
        }
    }
    Ok(Row::new("Local Volumes", volumes.len(), active, size, reclaimable))
}

/// Bytes on disk below a directory, each file once, without following links. What goes away meanwhile counts nothing.
fn below(directory: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut pending: Vec<PathBuf> = vec![directory.to_owned()];
    let mut bytes = 0;
    while let Some(path) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_podmans_fields() {
        let row = json!(Row::new("Images", 3, 1, 2_000_000, 500_000));
        assert_eq!(row["Type"], "Images");
        assert_eq!((&row["Total"], &row["Active"]), (&json!(3), &json!(1)));
        assert_eq!((&row["RawSize"], &row["RawReclaimable"]), (&json!(2_000_000), &json!(500_000)));
        assert_eq!((&row["Size"], &row["Reclaimable"]), (&json!("2 MB"), &json!("500 kB (25%)")));
        assert_eq!(Row::new("Images", 0, 0, 0, 0).reclaimable, "0 B (0%)");
    }

    #[test]
    fn second_names_of_a_file_count_nothing_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/file"), vec![1; 100_000]).unwrap();
        let once = below(directory.path());
        assert!(once >= 100_000, "{once}");
        std::fs::hard_link(path("d/file"), path("d/second")).unwrap();
        std::os::unix::fs::symlink("/", path("d/up")).unwrap();
        assert!(below(directory.path()) < once + 8192);
    }
}
