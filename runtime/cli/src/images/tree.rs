//! `sampan image tree`: the layers of an image, and which images end with them.

use std::process::ExitCode;

use sampan_image::{Image, Store};

use super::find;
use crate::context::Context;
use crate::output::{self, human};

/// `sampan image tree [options] IMAGE`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show the images that are built on this one
    #[arg(long)]
    whatrequires: bool,
    /// The image
    image: String,
}

/// Shows an image from its lowest layer to the topmost.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let image = find(&store, &options.image, &context.registries()?)?;
    let all = store.images()?;
    let mut lines = vec![
        format!("Image ID: {}", output::short_id(&image.id, false)),
        format!("Tags:     [{}]", image.names.join(" ")),
        format!("Size:     {}", human::size(image.size)),
    ];
    if options.whatrequires {
        lines.push(format!("Image ID: {} is the base of", output::short_id(&image.id, false)));
        lines.extend(branches(&store, &all, above(&image, &all).as_slice(), image.layers.len())?);
    } else {
        lines.push("Image Layers".to_owned());
        lines.extend(branches(&store, &all, &[&image], 0)?);
    }
    output::lines(lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Images whose lowest layers are all of this one's.
fn above<'a>(image: &Image, all: &'a [Image]) -> Vec<&'a Image> {
    let is_above =
        |other: &&Image| other.layers.len() > image.layers.len() && other.layers.ends_with(&image.layers);
    all.iter().filter(is_above).collect()
}

/// The layers of images beyond the first `skipped`, a line each.
fn branches(store: &Store, all: &[Image], images: &[&Image], skipped: usize) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for image in images {
        let layers = store.layers_of(image)?;
        let last = layers.len();
        // The paths are sorted from the topmost on.
        for (place, (digest, size)) in layers.iter().enumerate().skip(skipped) {
            let path = &image.layers[last - 1 - place];
            let ends = all.iter().filter(|other| other.layers.first() == Some(path));
            let names: Vec<_> = ends.flat_map(shown_names).collect();
            let top = if names.is_empty() {
                String::new()
            } else {
                format!(" Top Layer of: [{}]", names.join(" "))
            };
            let branch = if place + 1 == last { "└──" } else { "├──" };
            let id = output::short_id(digest.trim_start_matches("sha256:"), false);
            lines.push(format!("{branch}  ID: {id} Size: {}{top}", human::size(*size)));
        }
    }
    Ok(lines)
}

fn shown_names(image: &Image) -> Vec<String> {
    match &image.names[..] {
        [] => vec![output::short_id(&image.id, false).to_owned()],
        names => names.to_vec(),
    }
}
