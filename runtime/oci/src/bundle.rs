//! Bundles: a directory with `config.json` and usually the root file system.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::Spec;
use sampan_container::document;

/// A bundle, read.
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    pub(crate) spec: Spec,
    pub(crate) rootfs: PathBuf,
}

/// Reads a bundle, with its `config.json` or `config` instead. Relative paths in its `Spec` become absolute: they
/// are meant relative to the bundle.
pub(crate) fn read(directory: &Path, config: Option<&Path>) -> Result<Bundle> {
    let path = fs::canonicalize(directory).with_context(|| format!("bundle {}", directory.display()))?;
    let config = config.map_or_else(|| path.join("config.json"), Path::to_owned);
    let text = document::read(&config).map_err(|error| match error.errno() {
        Some(libc::ENOENT) => anyhow::anyhow!(
            "{}: No such file or directory; name the bundle by --bundle, or write a configuration with sampan-runtime spec",
            config.display()
        ),
        _ => error.into(),
    })?;
    let mut spec: Spec =
        sampan_container::config::spec(&text).with_context(|| format!("{}", config.display()))?;
    check_version(spec.version())?;
    let Some(root) = spec.root().as_ref() else {
        bail!("{}: a Linux container needs \"root\"", config.display());
    };
    // Without one it would be the bundle itself, with all that is in it.
    if root.path().as_os_str().is_empty() {
        bail!("{}: missing field \"path\" of \"root\"", config.display());
    }
    let rootfs = path.join(root.path());
    let bound = |m: &oci_spec::runtime::Mount| {
        let options = m.options().as_deref().unwrap_or_default();
        m.typ().as_deref() == Some("bind") || options.iter().any(|o| o == "bind" || o == "rbind")
    };
    if let Some(mut mounts) = spec.mounts().clone() {
        for mount in mounts.iter_mut().filter(|m| bound(m)) {
            let absolute = mount.source().as_ref().map(|source| path.join(source));
            mount.set_source(absolute);
        }
        spec.set_mounts(Some(mounts));
    }
    Ok(Bundle { path, spec, rootfs })
}

fn check_version(version: &str) -> Result<()> {
    if version.split('.').next() != Some("1") || version.split('.').count() < 3 {
        bail!("ociVersion {version:?} is not supported: this runtime follows 1.x.y");
    }
    Ok(())
}
