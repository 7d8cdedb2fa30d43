//! `sampan inspect`: all that is known of a container, an image, a volume or a network.
//!
//! Without `--type` a name is looked for in that order, as Podman does it. What is shown of each
//! kind is in `container` (with `host`), and beside the commands for the other three.

pub(crate) mod container;
mod host;

use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use serde_json::Value;

use crate::context::Context;
use crate::{images, network, output, volume};

/// `sampan inspect [options] NAME…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// json, or a Go template for each object
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// The kind of object
    #[arg(long = "type", short = 't', value_name = "KIND", default_value = "all")]
    kind: Kind,
    /// The container that was made last
    #[arg(long, short, conflicts_with = "names")]
    latest: bool,
    /// Names or ids
    #[arg(value_name = "NAME", required_unless_present = "latest")]
    names: Vec<String>,
}

/// `sampan image inspect [options] IMAGE…`
#[derive(Debug, clap::Args)]
pub(crate) struct ImageOptions {
    /// json, or a Go template for each image
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    names: Vec<String>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    All,
    Container,
    Image,
    Volume,
    Network,
}

/// Shows objects.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let names = if options.latest { vec![latest(context)?] } else { options.names };
    let kind = if options.latest { Kind::Container } else { options.kind };
    show(&names, kind, options.format.as_deref(), context)
}

/// Shows images.
pub(crate) fn images(options: &ImageOptions, context: &Context) -> anyhow::Result<ExitCode> {
    show(&options.names, Kind::Image, options.format.as_deref(), context)
}

/// Prints what is found, and then the errors about what is not.
fn show(names: &[String], kind: Kind, format: Option<&str>, context: &Context) -> anyhow::Result<ExitCode> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match find(name, kind, context) {
            Ok(value) => found.push(value),
            Err(error) => errors.push(error),
        }
    }
    match output::template_or_json(format) {
        None => output::json(&found)?,
        Some(format) => output::Listing::parse(format)?.print(found, false, &[])?,
    }
    let Some(last) = errors.pop() else { return Ok(ExitCode::SUCCESS) };
    for error in errors {
        eprintln!("Error: {error:#}");
    }
    Err(last)
}

/// The one object of this name.
fn find(name: &str, kind: Kind, context: &Context) -> anyhow::Result<Value> {
    let kinds: &[Kind] = match kind {
        Kind::All => &[Kind::Container, Kind::Image, Kind::Volume, Kind::Network],
        _ => &[kind],
    };
    for candidate in kinds {
        let found = match candidate {
            Kind::Container => container(name, context)?,
            Kind::Image => image(name, context)?,
            Kind::Volume => context.volumes().find(name)?.map(|found| volume::shown(&found)).transpose()?,
            _ => network(name, context)?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    match kind {
        Kind::All => bail!("no such object: {name:?}"),
        Kind::Container => bail!("no such container {name:?}"),
        Kind::Image => bail!("{name}: image not known"),
        Kind::Volume => bail!("no such volume {name}"),
        Kind::Network => {
            bail!("network {name}: unable to find network with name or ID {name}: network not found")
        }
    }
}

fn container(name: &str, context: &Context) -> anyhow::Result<Option<Value>> {
    let directory = match context.containers()?.get(name) {
        Ok(directory) => directory,
        Err(sampan_container::Error::NoSuchContainer(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let state = directory.read()?;
    // The Spec comes after the state: a container that is being made has none yet.
    let spec = directory.read_spec().unwrap_or_default();
    let image = match &state.image {
        Some(image) => context.store()?.find(&image.id, &context.registries()?)?,
        None => None,
    };
    Ok(Some(container::shown(&directory, &state, &spec, image.as_ref())))
}

fn image(name: &str, context: &Context) -> anyhow::Result<Option<Value>> {
    // A name that can't be an image's, or a short one that no registry resolves, may be a volume's.
    match context.store()?.find(name, &context.registries()?) {
        Ok(image) => image.map(|image| images::shown(&image)).transpose(),
        Err(sampan_image::Error::InvalidReference { .. } | sampan_image::Error::ShortName { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn network(name: &str, context: &Context) -> anyhow::Result<Option<Value>> {
    let networks = context.networks()?;
    match network::find(&networks, name) {
        Ok(found) => network::shown(&networks, &found).map(Some),
        Err(sampan_network::Error::NoNetwork(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The name of the container that was made last.
fn latest(context: &Context) -> anyhow::Result<String> {
    let containers = context.containers()?.list()?.into_iter();
    let made = containers.filter_map(|container| Some((container.read().ok()?.created, container)));
    match made.max_by(|(a, _), (b, _)| a.cmp(b)) {
        Some((_, container)) => Ok(container.name().to_owned()),
        None => bail!("no containers: there is no latest one"),
    }
}
