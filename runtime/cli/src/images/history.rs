//! `sampan image history`: the steps that an image was built in.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use oci_spec::image::History;
use sampan_image::Image;
use serde_json::{Value, json};

use super::find;
use crate::context::Context;
use crate::output::{self, Format, human};

/// `sampan image history [options] IMAGE`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// json, or a Go template for each step
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Times and sizes as people read them
    #[arg(long, short = 'H', num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    human: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// The ids alone
    #[arg(long, short)]
    quiet: bool,
    /// The image
    image: String,
}

/// A step; the last has the image's id, the others have none.
#[derive(Debug)]
struct Step<'a> {
    id: &'a str,
    created: Timestamp,
    created_by: &'a str,
    comment: &'a str,
    size: u64,
    empty: bool,
    tags: &'a [String],
}

/// Lists the steps, the last first.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let image = find(&context.store()?, &options.image, &context.registries()?)?;
    let empty = Vec::new();
    let steps = steps(&image, image.config.history().as_ref().unwrap_or(&empty));
    let columns = "{{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
    match Format::of(options.format.as_deref(), columns)? {
        _ if options.quiet => {
            output::lines(steps.iter().map(|step| output::short_id(step.id, options.no_trunc)))?
        }
        Format::Json => output::json(&steps.iter().map(shown).collect::<Vec<_>>())?,
        Format::Listing(listing) => {
            listing.print(steps.iter().map(|step| fields(step, options)).collect(), true, &[])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn steps<'a>(image: &'a Image, history: &'a [History]) -> Vec<Step<'a>> {
    let filled = history.iter().filter(|step| step.empty_layer() != Some(true)).count();
    // An image may hold a layer twice or have no history of some: then which is which is not known.
    let known = filled == image.layers.len();
    let mut layers = image.layers.iter();
    let steps = history.iter().rev().enumerate().map(|(place, step)| {
        let empty = step.empty_layer() == Some(true);
        let layer = if known && !empty { layers.next() } else { None };
        Step {
            id: if place == 0 { &image.id } else { "<missing>" },
            created: step.created().as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
            created_by: step.created_by().as_deref().unwrap_or_default(),
            comment: step.comment().as_deref().unwrap_or_default(),
            size: layer.map(|layer| size(layer)).unwrap_or_default(),
            empty,
            tags: if place == 0 { &image.names } else { &[] },
        }
    });
    steps.collect()
}

/// The bytes in the regular files below a layer's directory; what can't be read counts nothing.
fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.size(),
        _ => 0,
    });
    sizes.sum()
}

fn shown(step: &Step<'_>) -> Value {
    json!({
        "id": step.id,
        "created": step.created.to_string(),
        "Created": step.created.to_string(),
        "CreatedBy": step.created_by,
        "size": step.size,
        "comment": step.comment,
        "tags": step.tags,
        "emptyLayer": step.empty,
    })
}

fn fields(step: &Step<'_>, options: &Options) -> Value {
    let since = format!("{} ago", human::since(step.created));
    let by = match step.created_by.char_indices().nth(42) {
        Some((end, _)) if !options.no_trunc && step.created_by.chars().count() > 45 => {
            format!("{}...", &step.created_by[..end])
        }
        _ => step.created_by.to_owned(),
    };
    json!({
        "ID": output::short_id(step.id, options.no_trunc),
        "Created": if options.human { since.clone() } else { step.created.to_string() },
        "CreatedAt": step.created.to_string(),
        "CreatedSince": since,
        "CreatedBy": by,
        "Size": if options.human { human::size(step.size) } else { step.size.to_string() },
        "Comment": step.comment,
        "Tags": step.tags,
    })
}
