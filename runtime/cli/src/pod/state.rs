//! What is known about each pod: one directory per pod, as for containers, and no database.
//!
//! `<runroot>/pods/<name>/` holds `pod.json` ([`Pod`]), `lock`, the files about names that its containers share, and
//! the places where namespaces and memory are kept ([`sampan_container::shared`]). The directory's existence is the
//! pod's existence: it is made exclusively and removed last.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType};
use sampan_container::state::{Attachment, Port, check_name};
use serde::{Deserialize, Serialize};

use crate::Coded;

/// podman-pod-rm(1) and its neighbours, "Exit Status": there is no such pod.
pub(crate) const MISSING: u8 = 1;

/// What happens when the last container of a pod has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExitPolicy {
    /// The pod stays.
    #[default]
    Continue,
    /// The pod's service is stopped.
    Stop,
}

/// A pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pod {
    /// 64 hexadecimal digits; also the holder of its networks' lease.
    pub(crate) id: String,
    /// Its name, also of the directory.
    pub(crate) name: String,
    /// Whether containers can be started in it: false while it is made or removed.
    pub(crate) is_complete: bool,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
    /// The service that has made it.
    pub(crate) unit: Option<String>,
    /// The host name of its containers.
    pub(crate) hostname: String,
    /// The namespaces that its containers share.
    pub(crate) shared: Vec<LinuxNamespaceType>,
    /// Its containers are in the host's network.
    pub(crate) host_network: bool,
    /// User mappings; empty: the host's users.
    pub(crate) uid_mappings: Vec<LinuxIdMapping>,
    /// Group mappings, as many as the others.
    pub(crate) gid_mappings: Vec<LinuxIdMapping>,
    /// Bytes of the `/dev/shm` that is shared.
    pub(crate) shm_size: u64,
    /// Networks by name.
    pub(crate) networks: BTreeMap<String, Attachment>,
    /// Published ports.
    pub(crate) ports: Vec<Port>,
    /// `--volume` of each of its containers.
    pub(crate) volumes: Vec<String>,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// What happens when the last container has ended.
    pub(crate) exit_policy: ExitPolicy,
    /// How it was made.
    pub(crate) command: Vec<String>,
}

impl Pod {
    /// Whether its containers share this namespace.
    pub(crate) fn shares(&self, kind: LinuxNamespaceType) -> bool {
        self.shared.contains(&kind)
    }
}

/// All pods below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Pods {
    root: PathBuf,
}

/// One pod's directory.
#[derive(Debug, Clone)]
pub(crate) struct PodDir {
    name: String,
    path: PathBuf,
}

/// Holds a pod's lock until dropped (flock(2)).
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Pods {
    /// The pods below `root`, which need not exist.
    pub(crate) fn open(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes the directory of a new pod; `None` if there is one of this name.
    ///
    /// # Errors
    /// A bad name; mkdir(2)'s.
    pub(crate) fn create(&self, name: &str) -> anyhow::Result<Option<PodDir>> {
        check_name(name).context("the name of the pod")?;
        let directory = PodDir { name: name.to_owned(), path: self.root.join(name) };
        let make = |path: &Path, all| DirBuilder::new().recursive(all).mode(0o700).create(path);
        make(&self.root, true).with_context(|| format!("making {}", self.root.display()))?;
        match make(&directory.path, false) {
            Ok(()) => Ok(Some(directory)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error).with_context(|| format!("making {}", directory.path.display())),
        }
    }

    /// All pods, by name.
    ///
    /// # Errors
    /// readdir(3)'s.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<PodDir>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("listing {}", self.root.display()))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", self.root.display()))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| check_name(name).is_ok()) {
                all.push(PodDir { name: name.to_owned(), path: entry.path() });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The pod with this name, or the only one whose identifier begins so.
    ///
    /// # Errors
    /// [`Coded`] with [`MISSING`] if there is none; more than one.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<PodDir> {
        let mut found = Vec::new();
        for directory in self.list()? {
            if directory.name == name {
                return Ok(directory);
            }
            if directory.read().is_ok_and(|pod| pod.id.starts_with(name)) {
                found.push(directory);
            }
        }
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => {
                let message = format!("no pod with name or ID \"{name}\" found: no such pod");
                Err(Coded { code: MISSING, message }.into())
            }
            _ => bail!("pod ID \"{name}\" is ambiguous: write more of it"),
        }
    }
}

impl PodDir {
    /// The pod's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the pod's lock and takes it; `None` if the pod is gone by then.
    ///
    /// # Errors
    /// open(2)'s and flock(2)'s.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<Lock>> {
        let path = self.path.join("lock");
        let Some(file) = self.open_lock()? else { return Ok(None) };
        file.lock().with_context(|| format!("locking {}", path.display()))?;
        // Whoever had it may have removed the pod, and another may be there now.
        let is_same =
            fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
        Ok(is_same.then_some(Lock { _file: file }))
    }

    /// Whether nobody makes or removes the pod at this moment.
    ///
    /// # Errors
    /// open(2)'s and flock(2)'s.
    pub(crate) fn is_at_rest(&self) -> anyhow::Result<bool> {
        let Some(file) = self.open_lock()? else { return Ok(true) };
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", self.path.join("lock").display()))
            }
        }
    }

    /// The file of the lock; none if the pod is gone.
    fn open_lock(&self) -> anyhow::Result<Option<File>> {
        let path = self.path.join("lock");
        match File::options().write(true).create(true).truncate(false).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => file.map(Some).with_context(|| format!("opening {}", path.display())),
        }
    }

    /// Reads what is known.
    ///
    /// # Errors
    /// There is nothing, because the pod is being made or removed; or the file is damaged.
    pub(crate) fn read(&self) -> anyhow::Result<Pod> {
        let path = self.path.join("pod.json");
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Replaces what is known, by rename: a reader sees the old or the new.
    ///
    /// # Errors
    /// write(2)'s and rename(2)'s.
    pub(crate) fn write(&self, pod: &Pod) -> anyhow::Result<()> {
        let (path, new) = (self.path.join("pod.json"), self.path.join(".pod.json.new"));
        fs::write(&new, serde_json::to_vec(pod)?).with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// Removes the directory and what is in it. It is no error if it is gone.
    ///
    /// # Errors
    /// unlink(2)'s and rmdir(2)'s.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_found_by_name_and_by_the_beginning_of_their_identifier() {
        let root = tempfile::tempdir().unwrap();
        let pods = Pods::open(root.path().join("pods"));
        assert!(pods.list().unwrap().is_empty());
        let app = pods.create("app").unwrap().unwrap();
        assert!(pods.create("app").unwrap().is_none());
        app.write(&Pod { id: "ab12".into(), name: "app".into(), ..Pod::default() }).unwrap();
        assert_eq!(pods.get("ab").unwrap().name(), "app");
        assert!(pods.get("b").unwrap_err().is::<Coded>());
        for wrong in ["", "../x", "a/b", ".app"] {
            assert!(pods.create(wrong).is_err(), "{wrong}");
        }
        let lock = app.lock().unwrap();
        app.remove().unwrap();
        drop(lock);
        assert!(app.lock().unwrap().is_none());
    }
}
