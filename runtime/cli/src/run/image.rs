//! The root file system: an image from the store, fetched if it is missing, or a directory.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use oci_spec::image::Config;
use sampan_container::mount::{self, Layers};
use sampan_image::{Hold, Image};

use super::options::Options;
use super::unit::Unit;
use super::user_namespace::Mappings;
use crate::blame::Blamed as _;
use crate::context::Context;
use crate::progress::Shown;
use crate::pull;

/// What the container starts from.
#[derive(Debug)]
pub(crate) enum Base {
    /// Layers below, a writable layer on top. The image is held until the container's own record keeps it.
    Image(Box<Image>, RefCell<Option<Hold>>),
    /// A directory of the host, used as it is.
    Directory(PathBuf),
}

/// Finds or fetches it. Progress goes to `systemctl status`, or in a shell to standard error.
///
/// # Errors
/// No such image or directory, or a failed fetch.
pub(crate) fn find(options: &Options, context: &Context, unit: Option<&Unit>) -> anyhow::Result<Base> {
    let name = options.arguments[0].as_str();
    if options.rootfs {
        let path = std::path::absolute(name)?;
        if !path.is_dir() {
            return Err(anyhow!("{}: no such directory on this host", path.display())).blame("Rootfs", name);
        }
        return Ok(Base::Directory(path));
    }
    let access = pull::Access {
        authfile: options.authfile.clone(),
        retry: options.retry,
        retry_delay: options.retry_delay.clone(),
        tls_verify: options.tls_verify,
        ..pull::Access::default()
    };
    let platform = options.machine.platform()?;
    let request =
        pull::Request { name, policy: &options.pull, platform, access: &access, signature_policy: None };
    let shown = Shown::new(options.quiet, unit);
    loop {
        let image = pull::find_or_fetch(context, &request, &shown);
        shown.finish();
        let image = image.blame("Image", name)?;
        let store = context.store()?;
        let hold = store.hold()?;
        if store.has(&image) {
            return Ok(Base::Image(Box::new(image), RefCell::new(Some(hold))));
        }
        // Somebody removed it in between: it is looked for again.
    }
}

impl Base {
    /// What the image says about its program; nothing for a directory.
    pub(crate) fn config(&self) -> Option<&Config> {
        match self {
            Self::Image(image, _) => image.config.config().as_ref(),
            Self::Directory(_) => None,
        }
    }

    /// How the image wants its health to be found out.
    pub(crate) fn healthcheck(&self) -> Option<&sampan_image::Healthcheck> {
        match self {
            Self::Image(image, _) => image.healthcheck.as_ref(),
            Self::Directory(_) => None,
        }
    }

    /// Whether the programs open their output by name.
    pub(crate) fn links_to_output(&self) -> bool {
        matches!(self, Self::Image(image, _) if image.links_to_output)
    }

    /// The detached mount that becomes the container's root. The writable layer is `layer`/upper. That the container
    /// uses the image is written down by now: nothing else keeps it from being removed afterwards.
    ///
    /// # Errors
    /// mkdir(2)'s and fsmount(2)'s; a directory can't be mapped.
    pub(crate) fn mount(
        &self,
        layer: &Path,
        volatile: bool,
        context: Option<&str>,
        mappings: Option<&Mappings>,
    ) -> anyhow::Result<OwnedFd> {
        let image = match self {
            // Its files keep their owners: whoever prepared the directory has given it to the mapped users.
            Self::Directory(path) => return Ok(mount::bind(path)?),
            Self::Image(image, hold) => {
                hold.take();
                image
            }
        };
        let (upper, work) = (layer.join("upper"), layer.join("work"));
        for directory in [&upper, &work] {
            std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        let layers = Layers { lower: &image.layers, upper: &upper, work: &work, volatile, context };
        match mappings {
            None => Ok(mount::overlay(&layers)?),
            Some(mappings) => Ok(mount::overlay_mapped(&layers, &mappings.linux()?)?),
        }
    }
}
