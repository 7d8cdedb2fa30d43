//! `sampan system fsck`: what is damaged in the image store, and mends it.

use std::process::ExitCode;

use sampan_image::{Broken, Checked, Depth, Repaired, Store};

use crate::context::Context;
use crate::{output, pull, release, users};

/// `sampan system fsck [options]`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Records, manifests and configurations are read, and the names, sizes, owners, modes, times and \
                        attributes of all files of layers compared with what was noted when they were unpacked. What \
                        nothing refers to is removed. An image that lacks something is removed, or with --repair \
                        fetched again; one that a running container uses is left alone and named. What is whole is \
                        never touched.\n\nThe exit status is 0 if all is well (without --check: now), else 1."
)]
pub(crate) struct Options {
    /// Change nothing, only say what is wrong
    #[arg(long, visible_alias = "dry-run", conflicts_with = "repair")]
    check: bool,
    /// Also read the content of all files
    #[arg(long)]
    full: bool,
    /// Fetch again what images and artifacts lack, from where they came
    #[arg(long, short)]
    repair: bool,
    /// Say nothing when all is well
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    access: pull::Access,
}

/// Checks, and mends.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let depth = if options.full { Depth::Full } else { Depth::Quick };
    let checked = store.check(depth)?;
    let layers = release::left_layers(context)?;
    let left = layers.iter().map(|name| format!("the writable layer of {name}, a container that is gone"));
    output::lines(
        checked.faults.iter().map(ToString::to_string).chain(left).map(|text| format!("found: {text}")),
    )?;
    let is_well = checked.faults.is_empty() && layers.is_empty();
    if options.check || is_well {
        if !(options.quiet && is_well) {
            output::lines(remarks(&checked))?;
        }
        return Ok(ExitCode::from(u8::from(!is_well)));
    }
    for name in &layers {
        release::remove_left_layer(context, name)?;
        output::lines([format!("mended: removed the writable layer of {name}")])?;
    }
    let mut is_well = true;
    let mut tell = |repaired: Repaired| {
        is_well &= repaired.left.is_empty();
        let done = repaired.done.iter().map(|text| format!("mended: {text}"));
        let left = repaired.left.iter().map(|text| format!("left: {text}"));
        output::lines(done.chain(left))
    };
    // Starts wait while these are held; a fetch may take long and holds nothing.
    let removal = store.removal()?;
    tell(removal.repair(&checked, &users::images(context)?)?)?;
    drop(removal);
    for broken in &checked.broken {
        if options.repair && restore(options, context, &store, broken)? {
            tell(Repaired {
                done: vec![format!("fetched what {} lacked", broken.shown())],
                ..Default::default()
            })?;
            continue;
        }
        let removal = store.removal()?;
        tell(removal.give_up(broken, &users::images(context)?)?)?;
    }
    let collected = store.collect_garbage()?;
    if collected.layers > 0 {
        let size = output::human::size(collected.bytes);
        output::lines([format!("mended: removed {} layers that no image has, {size}", collected.layers)])?;
    }
    if !options.quiet {
        output::lines(remarks(&checked))?;
    }
    Ok(ExitCode::from(u8::from(!is_well)))
}

/// Whether a registry had it.
fn restore(options: &Options, context: &Context, store: &Store, broken: &Broken) -> anyhow::Result<bool> {
    if !broken.is_artifact && broken.repo_digests.is_empty() {
        return Ok(false);
    }
    let registries = context.registries()?;
    let outcome =
        pull::with_options(&registries, &options.access, None, |fetch| Ok(store.restore(broken, fetch)?));
    if let Err(error) = &outcome {
        eprintln!("{} could not be fetched: {error:#}", broken.shown());
    }
    Ok(outcome.is_ok())
}

fn remarks(checked: &Checked) -> Vec<String> {
    let counted =
        |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let looked =
        format!("looked at {} and {}", counted(checked.images, "image"), counted(checked.layers, "layer"));
    let mut remarks = vec![match checked.faults.len() {
        0 => format!("{looked}: all is well"),
        faults => format!("{looked}: found {}", counted(faults, "fault")),
    }];
    if checked.unsurveyed > 0 {
        remarks.push(format!(
            "{} came before their files were noted: that they are there is all that can be said",
            counted(checked.unsurveyed, "layer")
        ));
    }
    if checked.busy {
        remarks.push("an image is being fetched: leftovers were not looked for".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_sentences() {
        let checked = Checked { images: 1, layers: 2, unsurveyed: 1, busy: true, ..Checked::default() };
        assert_eq!(
            remarks(&checked),
            [
                "looked at 1 image and 2 layers: all is well",
                "1 layer came before their files were noted: that they are there is all that can be said",
                "an image is being fetched: leftovers were not looked for",
            ]
        );
    }
}
