//! The product under test: the files of the packages that are shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::capture;

/// Names the folder with the RPMs under test.
pub const RPMS: &str = "SAMPAN_RPMS";

/// Names a folder with installed files (as by `make install DESTDIR=`) to test instead of RPMs.
pub const FILES: &str = "SAMPAN_FILES";

/// Puts the product's files into `layer`, a folder that becomes a layer of machines' roots.
///
/// They come out of the packages in `$SAMPAN_RPMS`, or, while working on something that no
/// package is needed for, from the tree `$SAMPAN_FILES`.
pub fn install(layer: &Path) -> Result<()> {
    if let Some(tree) = std::env::var_os(FILES) {
        return capture(Command::new("cp").arg("-a").arg(Path::new(&tree).join(".")).arg(layer)).map(drop);
    }
    let Some(folder) = std::env::var_os(RPMS) else {
        bail!("nothing to test: {RPMS} must name the folder with the packages that `make rpm` wrote");
    };
    let packages = packages(Path::new(&folder))?;
    if packages.is_empty() {
        bail!("no package in {}: run `make rpm`", Path::new(&folder).display());
    }
    for package in packages {
        unpack(&package, layer)?;
    }
    Ok(())
}

/// The binary packages below `folder`, but not `sampan-quadlet`: it masks the generators of a
/// Podman that the machines don't have.
fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(packages(&path)?);
        } else if name.ends_with(".rpm")
            && !["src.rpm", "debuginfo", "debugsource", "sampan-quadlet"]
                .iter()
                .any(|part| name.contains(part))
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Unpacks one package's files into `layer`, with their owners and modes.
fn unpack(package: &Path, layer: &Path) -> Result<()> {
    let archive = tempfile::NamedTempFile::new()?;
    let output = Command::new("rpm2archive")
        .arg("-")
        .stdin(fs::File::open(package)?)
        .stdout(archive.as_file().try_clone()?)
        .status()
        .context("run rpm2archive (package rpm)")?;
    if !output.success() {
        bail!("rpm2archive of {}: {output}", package.display());
    }
    capture(Command::new("tar").arg("-C").arg(layer).arg("-xzpf").arg(archive.path())).map(drop)
}
