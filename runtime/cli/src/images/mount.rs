//! `sampan image mount` and `unmount`: the files of an image, to look at.
//!
//! Nothing is written down: what is mounted stands in `/proc/self/mountinfo`, below
//! `/run/sampan/images/ID`, and is gone after a reboot. Only root gets there: an image may hold
//! set-user-ID programs (CVE-2021-41091).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use rustix::mount::{MountFlags, MoveMountFlags, UnmountFlags, mount_remount, move_mount, unmount};
use sampan_container::mount::{Layers, overlay};
use sampan_image::Image;
use serde_json::{Value, json};

use super::find;
use crate::context::Context;
use crate::output::{self, Format};

/// `sampan image mount [options] [IMAGE…]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Mount all images
    #[arg(long, short, conflicts_with = "images")]
    all: bool,
    /// json, or a Go template for each mount
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The images; without any, what is mounted is listed
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// `sampan image unmount [options] IMAGE…`
#[derive(Debug, clap::Args)]
pub(crate) struct UnmountOptions {
    /// Unmount all images
    #[arg(long, short, conflicts_with = "images")]
    all: bool,
    /// Also while files are in use
    #[arg(long, short)]
    force: bool,
    /// The images
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    images: Vec<String>,
}

/// Mounts images, read-only, and prints where.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    // What is found here isn't removed before it is mounted.
    let _hold = store.hold()?;
    let images = if options.all {
        store.images()?
    } else {
        let registries = context.registries()?;
        options.images.iter().map(|name| find(&store, name, &registries)).collect::<Result<_, _>>()?
    };
    if images.is_empty() && !options.all {
        return list(options, context);
    }
    let mut rows = Vec::new();
    for image in &images {
        rows.push(row(&image.id, &image.names, &mount(image, context)?));
    }
    // Of one image the path alone, for scripts.
    let columns = if images.len() == 1 { "{{.Path}}" } else { "{{.ID}}\t{{.Path}}" };
    show(options, rows, columns)
}

fn list(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let images = context.store()?.images()?;
    let mounted = mounted(context)?.into_iter();
    let rows = mounted.map(|(id, path)| {
        let names = images.iter().find(|image| image.id == id).map(|image| image.names.clone());
        row(&id, &names.unwrap_or_default(), &path)
    });
    show(options, rows.collect(), "{{.Name}}\t{{.Path}}")
}

fn row(id: &str, names: &[String], path: &Path) -> Value {
    let name = names.first().map_or(output::short_id(id, false), String::as_str);
    json!({"ID": id, "Name": name, "Repositories": names, "Path": path, "mountpoint": path})
}

fn show(options: &Options, rows: Vec<Value>, columns: &str) -> anyhow::Result<ExitCode> {
    match Format::of(options.format.as_deref(), columns)? {
        Format::Json => output::json(&rows)?,
        Format::Listing(listing) => listing.print(rows, false, &[])?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Unmounts images, and prints their ids.
pub(crate) fn remove(options: &UnmountOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let mounted = mounted(context)?;
    if options.all {
        let ids: Vec<String> = mounted.into_iter().map(|(id, _)| id).collect();
        return output::each(&ids, |id| take_down(id, options.force, context));
    }
    let store = context.store()?;
    let registries = context.registries()?;
    output::each(&options.images, |name| {
        let id = find(&store, name, &registries)?.id;
        if !mounted.iter().any(|(other, _)| *other == id) {
            bail!("image {name} is not mounted");
        }
        take_down(&id, options.force, context)
    })
}

fn take_down(id: &str, force: bool, context: &Context) -> anyhow::Result<()> {
    unmount_image(id, force, context)?;
    output::lines([id])
}

/// Where an image's directories for mounting are.
fn place(id: &str, context: &Context) -> PathBuf {
    context.runroot().join("images").join(id)
}

/// Where an image is mounted, if it is.
pub(super) fn path_of(id: &str, context: &Context) -> anyhow::Result<Option<PathBuf>> {
    Ok(mounted(context)?.into_iter().find(|(other, _)| other == id).map(|(_, path)| path))
}

/// All mounted images, by mountinfo(5).
pub(super) fn mounted(context: &Context) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    Ok(mounts_below(&table, &context.runroot().join("images")))
}

fn mounts_below(table: &str, directory: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescaped(path)))
        .filter_map(|path| {
            let (id, last) = path.strip_prefix(directory).ok()?.to_str()?.split_once('/')?;
            (last == "merged").then(|| (id.to_owned(), path.clone()))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// mountinfo(5) writes spaces, tabs, newlines and backslashes as octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, character)| path.replace(code, character))
}

/// Mounts an image unless it is mounted, and tells where.
fn mount(image: &Image, context: &Context) -> anyhow::Result<PathBuf> {
    let place = place(&image.id, context);
    let merged = place.join("merged");
    if path_of(&image.id, context)?.is_some() {
        return Ok(merged);
    }
    let (upper, work) = (place.join("upper"), place.join("work"));
    let images = context.runroot().join("images");
    for directory in [&images, &place, &upper, &work, &merged] {
        std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&images, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {}", images.display()))?;
    // Never written, since the mount is read-only before anybody knows of it.
    let layers = Layers { lower: &image.layers, upper: &upper, work: &work, volatile: true, context: None };
    let detached = overlay(&layers).with_context(|| format!("mounting the layers of image {}", image.id))?;
    let attach = || -> rustix::io::Result<()> {
        move_mount(&detached, "", rustix::fs::CWD, &merged, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(&merged, flags, "")
    };
    attach().with_context(|| format!("mounting image {} at {}", image.id, merged.display()))?;
    Ok(merged)
}

/// Unmounts an image and removes what was made for its mount.
pub(super) fn unmount_image(id: &str, force: bool, context: &Context) -> anyhow::Result<()> {
    let place = place(id, context);
    let flags = if force { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    unmount(place.join("merged"), flags).with_context(|| {
        format!("unmounting image {id}; somebody is in it (--force unmounts it nonetheless)")
    })?;
    std::fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_images_are_told_from_others() {
        let table = "25 1 0:22 / / rw - ext4 /dev/sda rw\n\
            40 25 0:50 / /run/a\\040b/images/abc/merged ro,nosuid - overlay overlay ro\n\
            41 25 0:51 / /run/a\\040b/images/abc/work rw - tmpfs tmpfs rw\n\
            42 25 0:52 / /run/other/images/def/merged ro - overlay overlay ro\n";
        let found = mounts_below(table, Path::new("/run/a b/images"));
        assert_eq!(found, [("abc".to_owned(), PathBuf::from("/run/a b/images/abc/merged"))]);
    }
}
