//! What was made of which pod: enough to take it down again, whatever has become of its YAML.
//!
//! `<runroot>/kube/<pod>/record.json`, written before anything else is made, so that nothing can be left behind that
//! isn't in it. The directory also holds the files of ConfigMaps and Secrets: it is closed to everybody but root.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::options::Propagation;
use super::volumes::Places;
use crate::context::Context;

/// A pod that was made of YAML.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    /// The pod.
    pub(crate) pod: String,
    /// The unit that it belongs to; none if it was made in a shell.
    pub(crate) unit: Option<String>,
    /// The services of its containers, also of those that run before the others.
    pub(crate) services: Vec<String>,
    /// Of these, the services of the containers that the pod is about.
    pub(crate) main: Vec<String>,
    /// The volumes that it claims.
    pub(crate) claims: Vec<String>,
    /// Which failed containers make the unit fail.
    pub(crate) propagation: Propagation,
    /// The containers whose failure makes the unit fail, once all have ended.
    pub(crate) failed: Vec<String>,
}

/// Where things of a pod are.
pub(crate) fn places(pod: &str, context: &Context) -> Places {
    Places { memory: root(context).join(pod), disk: context.kube_directories().join(pod) }
}

fn root(context: &Context) -> PathBuf {
    context.runroot().join("kube")
}

fn file(pod: &str, context: &Context) -> PathBuf {
    root(context).join(pod).join("record.json")
}

impl Record {
    /// Writes the record of a new pod.
    ///
    /// # Errors
    /// There is such a pod; mkdir(2)'s and write(2)'s.
    pub(crate) fn create(&self, context: &Context) -> anyhow::Result<()> {
        let make = |path: &Path, all| DirBuilder::new().recursive(all).mode(0o700).create(path);
        let (root, path) = (root(context), root(context).join(&self.pod));
        // What containers write there may be set-user-ID programs (CVE-2021-41091).
        for root in [&root, &context.kube_directories()] {
            make(root, true).with_context(|| format!("making {}", root.display()))?;
        }
        match make(&path, false) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
                "the pod {} is there already: take it down first (`sampan kube down`), or use --replace",
                self.pod
            ),
            made => made.with_context(|| format!("making {}", path.display()))?,
        }
        self.write(context)
    }

    /// Replaces the record, by rename.
    ///
    /// # Errors
    /// write(2)'s and rename(2)'s.
    pub(crate) fn write(&self, context: &Context) -> anyhow::Result<()> {
        let path = file(&self.pod, context);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?).with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// The record of a pod; one that was never finished is empty but for the name. `None` if there is no such pod.
    ///
    /// # Errors
    /// The record is damaged.
    pub(crate) fn find(pod: &str, context: &Context) -> anyhow::Result<Option<Self>> {
        let path = file(pod, context);
        match fs::read(&path) {
            Ok(text) => {
                let record = serde_json::from_slice(&text);
                record.with_context(|| format!("reading {}", path.display())).map(Some)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let is_begun = root(context).join(pod).is_dir();
                Ok(is_begun.then(|| Self { pod: pod.to_owned(), ..Self::default() }))
            }
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// The records of all pods that belong to a unit.
    ///
    /// # Errors
    /// A record is damaged; readdir(3)'s.
    pub(crate) fn of_unit(unit: &str, context: &Context) -> anyhow::Result<Vec<Self>> {
        let root = root(context);
        let entries = match fs::read_dir(&root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("listing {}", root.display()))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", root.display()))?;
            if let Some(pod) = entry.file_name().to_str()
                && let Some(record) = Self::find(pod, context)?
                && record.unit.as_deref() == Some(unit)
            {
                records.push(record);
            }
        }
        records.sort_by(|a, b| a.pod.cmp(&b.pod));
        Ok(records)
    }

    /// Removes what the pod's volumes were made of, and last the record. It is no error if it is gone.
    ///
    /// # Errors
    /// unlink(2)'s.
    pub(crate) fn remove(&self, context: &Context) -> anyhow::Result<()> {
        let places = places(&self.pod, context);
        for path in [&places.disk, &places.memory] {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
