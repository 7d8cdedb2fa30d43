//! `sampan tag` and `sampan untag`: names of images.

use std::process::ExitCode;

use anyhow::bail;
use sampan_image::Reference;

use super::find;
use crate::context::Context;

/// `sampan tag IMAGE NAME…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The image
    image: String,
    /// Its further names; without a registry they are below localhost/
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// `sampan untag IMAGE [NAME…]`
#[derive(Debug, clap::Args)]
pub(crate) struct UntagOptions {
    /// The image
    image: String,
    /// Names that it shall no longer have; else all of them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Gives an image names, all of them or, if one is wrong, none.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let image = find(&store, &options.image, &context.registries()?)?;
    let names = options.names.iter().map(|name| Reference::parse_local(name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
        bail!("{name}: a name that is given here cannot have a digest");
    }
    names.iter().try_for_each(|name| store.tag(&image, name))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes names away; the image stays, also without any.
pub(crate) fn remove(options: &UntagOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let registries = context.registries()?;
    let image = find(&store, &options.image, &registries)?;
    let mut names = Vec::new();
    for name in &options.names {
        let found = store.find_named(name, &registries)?;
        match found.and_then(|(found, name)| name.filter(|_| found.id == image.id)) {
            Some(name) => names.push(name),
            None => bail!("{name}: tag not known: {} has {}", options.image, image.names.join(", ")),
        }
    }
    if options.names.is_empty() {
        names.clone_from(&image.names);
    }
    for name in names {
        store.untag(&image, &Reference::parse(&name)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
