//! The container images that the tests run: packed once from `tests/images/`, kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::command::capture;

/// The images made from nothing but busybox: built in a second, without packages.
pub const SMALL: &[&str] = &["busybox", "web", "checked"];

/// The images made from Debian's packages, bases before what builds on them.
pub const REAL: &[&str] = &["debian", "nginx", "nginx-stdout", "redis", "postgres"];

/// Packs `images` (folders of `tests/images/`, bases first) unless the cache has them; returns
/// the folder that holds one OCI image layout for each, by the image's name.
///
/// `root` is the machine's root file system, which busybox comes from.
pub fn build(cache: &Cache, name: &str, images: &[&str], root: &Path) -> Result<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let mut recipe = read(&sources.join("build"))?;
    for image in images {
        let mut files: Vec<PathBuf> = fs::read_dir(sources.join(image))
            .with_context(|| format!("read the image folder {image}"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        for file in files {
            recipe.push_str(&format!("\n== {}\n{}", file.display(), read(&file)?));
        }
    }
    cache.entry(name, &recipe, |folder| {
        eprintln!("packing the images {} (once)", images.join(", "));
        for image in images {
            let mut command = Command::new(sources.join("build"));
            command.arg(image).arg(folder.join(image));
            command.env("SAMPAN_BASES", folder).env("SAMPAN_ROOT", root);
            capture(&mut command)?;
        }
        Ok(())
    })
}

/// The tags that an image has in the registry: those in its folder's file `tags`, else `latest`.
pub fn tags(image: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images").join(image).join("tags");
    let text = fs::read_to_string(file).unwrap_or_else(|_| "latest".into());
    text.split_whitespace().map(str::to_owned).collect()
}

/// The text of a recipe's file.
fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Packs an OCI image layout as an `oci-archive:`, one tar file.
pub fn archive(layout: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(layout).arg("-cf").arg(to).args(["oci-layout", "index.json", "blobs"]);
    capture(&mut command).map(drop)
}
