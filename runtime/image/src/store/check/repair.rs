//! Mending what was found wrong.

use std::collections::HashSet;
use std::path::Path;

use super::{Broken, Checked, Depth, Kind, Of};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::pull::{PullOptions, pull};
use crate::reference::Reference;
use crate::source::Source;
use crate::store::garbage::LAYER_FILES;
use crate::store::images::names_of;
use crate::store::record::read;
use crate::store::{ImageRecord, NameRecord, Removal, Store, trash};

/// What was mended, and what could not be; each a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was done.
    pub done: Vec<String>,
    /// What is still wrong, and what to do about it.
    pub left: Vec<String>,
}

impl Removal<'_> {
    /// Mends records and takes away what is damaged, so that a pull brings it again. `in_use` are the ids of images
    /// that containers use: their layers stay, whatever is wrong with them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn repair(&self, checked: &Checked, in_use: &HashSet<String>) -> Result<Repaired> {
        let store = self.store;
        let mut repaired = Repaired::default();
        let lock = store.lock_records()?;
        let used_layers = store.layers_in_use(in_use);
        for fault in &checked.faults {
            match &fault.0 {
                Kind::Record { of: Of::Name, path, .. } => repaired.done.push(store.restore_name(path)?),
                Kind::Record { of: Of::Artifact, path, .. } => {
                    remove(path)?;
                    repaired.done.push(format!("removed {}: pull the artifact again", path.display()));
                }
                Kind::Name { name } => {
                    store.remove_name(name)?;
                    repaired.done.push(format!("removed the name {name}, which led nowhere"));
                }
                Kind::Blob { what, digest, .. } if store.blob_path(digest).exists() => {
                    remove(&store.blob_path(digest))?;
                    repaired.done.push(format!("removed the damaged {what} {digest}"));
                }
                Kind::Layer { diff_id, of, .. } if used_layers.contains(diff_id) => repaired.left.push(format!(
                    "the layer {diff_id} is damaged and in use: stop the containers of {}, and check again",
                    of.join(", ")
                )),
                Kind::Layer { diff_id, .. } => {
                    let path = store.layer_path(diff_id);
                    store.throw_away(&path)?;
                    for extension in LAYER_FILES {
                        remove(&path.with_extension(extension))?;
                    }
                    repaired.done.push(format!("removed the damaged layer {diff_id}"));
                }
                Kind::Record { of: Of::Image, .. }
                | Kind::Blob { .. }
                | Kind::Names { .. }
                | Kind::Garbage { .. }
                | Kind::Stranger { .. } => {}
            }
        }
        for image in store.relist_names()? {
            repaired.done.push(format!("listed the names of image {} anew", &image.hex()[..12]));
        }
        drop(lock);
        Ok(repaired)
    }

    /// Gives up an image or artifact that is still broken: its record, its names, and what only it has. One that is in
    /// use stays, and so does one that runs.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn give_up(&self, broken: &Broken, in_use: &HashSet<String>) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        let shown = broken.shown();
        if broken.is_artifact {
            remove(&self.store.artifact_record_path(&broken.id))?;
            repaired.done.push(format!(
                "removed artifact {shown}, which lacks something: `sampan artifact pull {shown}` brings it again"
            ));
        } else if !broken.is_unusable {
            repaired.left.push(format!(
                "image {shown} runs, but lacks its manifest: `sampan pull {shown}` or --repair brings it again"
            ));
        } else if in_use.contains(&broken.id) {
            repaired.left.push(format!(
                "image {shown} lacks something and is in use: `sampan system fsck --repair` fetches what it lacks"
            ));
        } else {
            let Some(config) = Digest::from_hex(&broken.id) else {
                let path = self.store.root().join("images").join(format!("{}.json", broken.id));
                remove(&path)?;
                repaired.done.push(format!("removed {}, which is no record", path.display()));
                return Ok(repaired);
            };
            let lock = self.store.lock_records()?;
            self.forget(&config, &names_of(&self.store.readable_names()?, &config))?;
            drop(lock);
            let how = match broken.repo_digests.is_empty() {
                true => "load or build it again".to_owned(),
                false => format!("`sampan pull {shown}` brings it again"),
            };
            repaired.done.push(format!("removed image {shown}, which lacks something: {how}"));
        }
        Ok(repaired)
    }
}

impl Store {
    /// Fetches what a broken image or artifact lacks.
    ///
    /// # Errors
    /// Those of [`pull`]; [`Error::NoSuchImage`] when no registry is known to have it.
    pub fn restore(&self, broken: &Broken, options: &PullOptions<'_>) -> Result<()> {
        if broken.is_artifact {
            let source = Source::Registry { candidates: vec![Reference::parse(&broken.id)?] };
            // What is named by a tag that has moved since becomes what the registry has now.
            return crate::artifact::pull_artifact(self, &source, options).map(drop);
        }
        let mut outcome = Err(Error::NoSuchImage(broken.id.clone()));
        for name in &broken.repo_digests {
            let was_there = self.name_record(name).ok().flatten().is_some();
            let source = Source::Registry { candidates: vec![Reference::parse(name)?] };
            outcome = pull(self, &source, options);
            if !was_there {
                self.forget_name(name)?;
            }
            match &outcome {
                Ok(image) if image.id == broken.id => break,
                Ok(_) => outcome = Err(Error::NoSuchImage(broken.id.clone())),
                Err(_) => {}
            }
        }
        outcome?;
        let _lock = self.lock_records()?;
        self.relist_names().map(drop)
    }

    /// Whether what was broken is whole now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_mended(&self, broken: &Broken) -> Result<bool> {
        let is_still = |other: &Broken| other.id == broken.id && other.is_artifact == broken.is_artifact;
        Ok(!self.check(Depth::Quick)?.broken.iter().any(is_still))
    }

    /// The name under which an image was fetched by its digest, if nobody asked for that.
    fn forget_name(&self, name: &str) -> Result<()> {
        let _lock = self.lock_records()?;
        if self.name_record(name)?.is_some() {
            self.remove_name(name)?;
        }
        self.relist_names().map(drop)
    }

    /// Makes the lists in the images' records those of the names; returns the images that had others.
    fn relist_names(&self) -> Result<Vec<Digest>> {
        let names = self.readable_names()?;
        let mut changed = Vec::new();
        for path in self.entries("images")? {
            let Ok(Some(mut record)) = read::<ImageRecord>(&path) else {
                continue;
            };
            let own = names_of(&names, &record.config);
            if own != record.names {
                record.names = own;
                self.write_image_record(&record)?;
                changed.push(record.config);
            }
        }
        Ok(changed)
    }

    fn readable_names(&self) -> Result<Vec<NameRecord>> {
        let records = self.entries("names")?.into_iter();
        let mut names: Vec<NameRecord> = records.filter_map(|path| read(&path).ok().flatten()).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// Writes a damaged record of a name anew, if one image says that it had the name; else removes it.
    fn restore_name(&self, path: &Path) -> Result<String> {
        let is_named = |name: &&String| self.name_record_path(name) == path;
        let mut found = Vec::new();
        for image in self.entries("images")? {
            let record = read::<ImageRecord>(&image).ok().flatten();
            let name = record.as_ref().and_then(|record| record.names.iter().find(is_named).cloned());
            found.extend(record.map(|record| record.config).zip(name));
        }
        remove(path)?;
        match &found[..] {
            [(image, name)] => {
                // Without the registry's digest: the next pull asks what it is.
                self.write_name_record(&NameRecord::new(name.clone(), *image, None))?;
                Ok(format!("wrote the record of the name {name} anew"))
            }
            _ => Ok(format!("removed {}: nobody knows whose name that was", path.display())),
        }
    }

    fn layers_in_use(&self, in_use: &HashSet<String>) -> HashSet<Digest> {
        let records = in_use.iter().filter_map(|id| self.image_record(&Digest::from_hex(id)?).ok()?);
        records.flat_map(|record| record.layers).collect()
    }
}

fn remove(path: &Path) -> Result<()> {
    trash::remove_all(path)
}
