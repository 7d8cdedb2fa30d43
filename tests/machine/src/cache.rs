//! What is expensive to build and the same for every run: built once, kept below one folder.
//!
//! An entry is a folder named after what it holds and a hash of its recipe, so a changed recipe
//! is a new entry. It is built under a temporary name and renamed when complete; a lock per name
//! makes concurrent runs wait for each other's work instead of repeating it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where entries are kept unless `SAMPAN_CACHE` names another folder.
pub const DEFAULT_DIR: &str = "/var/cache/sampan-test";

/// A folder of things built once.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache in `$SAMPAN_CACHE`, else in [`DEFAULT_DIR`]; made if it is missing.
    pub fn open() -> Result<Cache> {
        let dir = std::env::var_os("SAMPAN_CACHE").map_or_else(|| DEFAULT_DIR.into(), PathBuf::from);
        fs::create_dir_all(&dir).with_context(|| format!("make the cache folder {}", dir.display()))?;
        Ok(Cache { dir })
    }

    /// The entry `name` for this `recipe`; `build` fills its folder if it doesn't exist yet.
    ///
    /// `recipe` is any text that changes whenever the result would.
    pub fn entry(
        &self,
        name: &str,
        recipe: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        recipe.hash(&mut hasher);
        let path = self.dir.join(format!("{name}-{:016x}", hasher.finish()));
        if path.exists() {
            return Ok(path);
        }
        let lock = self.dir.join(format!("{name}.lock"));
        let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
        lock.lock().with_context(|| format!("wait for the lock of {name}"))?;
        if path.exists() {
            return Ok(path);
        }
        let part = path.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        fs::create_dir(&part).with_context(|| format!("create {}", part.display()))?;
        build(&part).with_context(|| format!("build {}", path.display()))?;
        fs::rename(&part, &path).with_context(|| format!("rename {} into place", part.display()))?;
        Ok(path)
    }
}
