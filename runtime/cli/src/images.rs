//! `sampan images`, `sampan rmi` and `sampan image`: what is in the store.

mod history;
mod list;
mod mount;
pub(crate) mod prune;
mod save;
mod tag;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use sampan_image::{Error, Image, Registries, Store};
use serde_json::{Value, json};

use crate::Coded;
use crate::context::Context;
use crate::{inspect, output, pull, users};

pub(crate) use history::{Options as HistoryOptions, run as history};
pub(crate) use list::{Options, run};
pub(crate) use save::{LoadOptions, Options as SaveOptions, read as load, run as save};
pub(crate) use tag::{Options as TagOptions, UntagOptions, remove as untag, run as tag};

/// podman-rmi(1), "Exit Status": there is no such image.
const MISSING: u8 = 1;
/// The same: a container uses it.
const IN_USE: u8 = 2;

/// `sampan image ls|pull|inspect|history|tree|rm|exists|tag|untag|save|load|mount|unmount|prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List images
    #[command(visible_alias = "list")]
    Ls(Options),
    /// Fetch an image
    Pull(Box<pull::Options>),
    /// Show all that is known of images
    Inspect(inspect::ImageOptions),
    /// Show how an image was made, the last step first
    History(history::Options),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(RemoveOptions),
    /// Show the layers of an image
    Tree(tree::Options),
    /// Give an image further names
    Tag(TagOptions),
    /// Take names away from an image
    Untag(UntagOptions),
    /// Write images into an archive or directory
    Save(SaveOptions),
    /// Read images from an archive or directory
    Load(LoadOptions),
    /// Mount images read-only, or list what is mounted
    Mount(mount::Options),
    /// Unmount images
    #[command(visible_alias = "umount")]
    Unmount(mount::UnmountOptions),
    /// Exit with 0 if there is such an image, with 1 if not
    Exists {
        /// The image
        name: String,
    },
    /// Remove images that nothing needs
    Prune(prune::Options),
}

/// `sampan rmi [options] IMAGE…`
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveOptions {
    /// All images
    #[arg(long, short)]
    all: bool,
    /// Also stop and remove the containers that use them; one that doesn't exist is no error
    #[arg(long, short)]
    force: bool,
    /// An image that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required_unless_present = "all", conflicts_with = "all")]
    images: Vec<String>,
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Ls(options) => run(options, context),
        Verb::Pull(options) => pull::run(*options, context, modules),
        Verb::Inspect(options) => inspect::images(&options, context),
        Verb::History(options) => history::run(&options, context),
        Verb::Rm(options) => remove(options, context),
        Verb::Tree(options) => tree::run(&options, context),
        Verb::Tag(options) => tag(&options, context),
        Verb::Untag(options) => untag(&options, context),
        Verb::Save(options) => save(&options, context),
        Verb::Load(options) => load(&options, context),
        Verb::Mount(options) => mount::run(&options, context),
        Verb::Unmount(options) => mount::remove(&options, context),
        Verb::Exists { name } => {
            let found = context.store()?.find(&name, &context.registries()?)?;
            Ok(ExitCode::from(u8::from(found.is_none())))
        }
        Verb::Prune(options) => prune::run(&options, context),
    }
}

/// The image of this name, in Podman's words if there is none.
fn find(store: &Store, name: &str, registries: &Registries) -> anyhow::Result<Image> {
    let image = store.find(name, registries)?;
    image.ok_or_else(|| anyhow::anyhow!("{name}: image not known"))
}

/// The ids of the images that are mounted by `image mount`.
///
/// # Errors
/// mountinfo(5) can't be read.
pub(crate) fn mounted(context: &Context) -> anyhow::Result<impl Iterator<Item = String>> {
    Ok(mount::mounted(context)?.into_iter().map(|(id, _)| id))
}

/// Removes names, and images that have none left.
pub(crate) fn remove(options: RemoveOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let registries = context.registries()?;
    let names = match options.all {
        true => store.images()?.into_iter().map(|image| image.id).collect(),
        false => options.images.clone(),
    };
    let ignore = options.ignore || options.force;
    output::each(&names, |name| {
        let image = match find(&store, name, &registries) {
            Ok(image) => image,
            Err(_) if ignore => return Ok(()),
            Err(error) => return Err(Coded { code: MISSING, message: format!("{error:#}") }.into()),
        };
        remove_one(name, &image, options.force, &store, &registries, context)
    })
}

fn remove_one(
    name: &str,
    image: &Image,
    force: bool,
    store: &Store,
    registries: &Registries,
    context: &Context,
) -> anyhow::Result<()> {
    // Before asking who uses it: what starts from it afterwards waits, and then finds it gone.
    let removal = store.removal()?;
    let uses =
        |state: &sampan_container::state::State| state.image.as_ref().is_some_and(|used| used.id == image.id);
    let mut users = users::of(context, uses)?;
    let mut mount = mount::path_of(&image.id, context)?;
    // With other names left the image stays, whoever uses it.
    if force && (image.names.len() <= 1 || image.id.starts_with(name)) {
        users::remove(context, std::mem::take(&mut users), None)?;
        if mount.take().is_some() {
            mount::unmount_image(&image.id, true, context)?;
        }
    }
    let mut in_use = users::ids(&users);
    in_use.extend(mount.map(|path| format!("its mount {} (sampan image unmount)", path.display())));
    match removal.remove(name, registries, &in_use, force) {
        Ok(removed) => {
            let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}"));
            let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}"));
            output::lines(untagged.chain(deleted))
        }
        Err(error @ Error::InUse { .. }) => Err(Coded { code: IN_USE, message: error.to_string() }.into()),
        Err(error) => Err(error.into()),
    }
}

/// An image as `inspect` shows it, with Podman's field names.
pub(crate) fn shown(image: &Image) -> anyhow::Result<Value> {
    let configuration = serde_json::to_value(&image.config)?;
    let config = configuration.get("config").cloned().unwrap_or_else(|| json!({}));
    ensure!(config.is_object(), "the configuration of image {} is no object", image.id);
    let field = |name: &str| configuration.get(name).cloned().unwrap_or_else(|| json!(""));
    let labels = config.get("Labels").cloned().unwrap_or_else(|| json!({}));
    let user = config.get("User").cloned().unwrap_or_else(|| json!(""));
    Ok(json!({
        "Id": image.id,
        "Digest": image.digest.to_string(),
        "RepoTags": image.names,
        "RepoDigests": image.repo_digests,
        "Parent": "",
        "Comment": "",
        "Created": image.created,
        "Config": config,
        "Version": "",
        "Author": field("author"),
        "Architecture": field("architecture"),
        "Os": field("os"),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": image.layers}},
        "RootFS": {"Type": "layers", "Layers": image.config.rootfs().diff_ids()},
        "Labels": labels,
        "Annotations": {},
        "ManifestType": "application/vnd.oci.image.manifest.v1+json",
        "User": user,
        "History": configuration.get("history").cloned().unwrap_or_else(|| json!([])),
        "NamesHistory": image.names,
    }))
}
