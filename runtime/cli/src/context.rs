//! Where the rooms keep their things: one value that every command gets.
//!
//! The directories are fixed by the package; `--root` and `--runroot` (Podman's names) move them for
//! tests and for people who keep images on another disk.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sampan_container::state::Containers;
use sampan_image::{Policy, Registries, Store};
use sampan_network::Networks;

use crate::containers_conf;
use crate::holders;
use crate::pod::Pods;
use crate::settings;
use crate::volumes::Volumes;

/// Images, layers, writable layers, volumes and network configurations; survives a reboot.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/sampan";
/// State of running containers; a tmpfs, gone after a reboot.
pub(crate) const DEFAULT_RUNROOT: &str = "/run/sampan";
/// What can be made again at any time: compiled seccomp filters.
pub(crate) const DEFAULT_CACHE: &str = "/var/cache/sampan";

/// The directories a command works on, and the doors to the rooms behind them.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    root: PathBuf,
    runroot: PathBuf,
}

impl Context {
    /// A context on these two directories.
    pub(crate) fn new(root: PathBuf, runroot: PathBuf) -> Self {
        Self { root, runroot }
    }

    /// Compiled seccomp filters.
    pub(crate) fn seccomp_cache(&self) -> PathBuf {
        Path::new(DEFAULT_CACHE).join("seccomp")
    }

    /// State of all containers.
    pub(crate) fn containers(&self) -> anyhow::Result<Containers> {
        let path = self.runroot.join("containers");
        Containers::open(&path).with_context(|| format!("opening {} (are you root?)", path.display()))
    }

    /// State of all pods.
    pub(crate) fn pods(&self) -> Pods {
        Pods::open(self.runroot.join("pods"))
    }

    /// What survives a reboot, normally [`DEFAULT_ROOT`].
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// State of what runs, normally [`DEFAULT_RUNROOT`].
    pub(crate) fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// Makes the directories of writable layers and volumes, closed to everyone but root: what containers write there
    /// may be set-user-ID programs, and no user of the host shall reach them (CVE-2021-41091).
    ///
    /// # Errors
    /// mkdir(2)'s and chmod(2)'s.
    pub(crate) fn close_containers_files(&self) -> anyhow::Result<()> {
        for name in ["containers", "volumes"] {
            let path = self.root.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
                .with_context(|| format!("closing {}", path.display()))?;
        }
        Ok(())
    }

    /// The options that lead another process of ours to the same directories.
    pub(crate) fn as_options(&self) -> [String; 4] {
        let text = |path: &Path| path.display().to_string();
        ["--root".into(), text(&self.root), "--runroot".into(), text(&self.runroot)]
    }

    /// Where this container's writable layer and anonymous volumes are.
    pub(crate) fn writable_layer(&self, name: &str) -> PathBuf {
        self.root.join("containers").join(name)
    }

    /// Where the `emptyDir` volumes of pods are that were made of Kubernetes YAML.
    pub(crate) fn kube_directories(&self) -> PathBuf {
        self.root.join("kube")
    }

    /// The image store; made if it does not exist yet.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Store::open(&self.root).with_context(|| format!("opening the image store {}", self.root.display()))
    }

    /// The machine's `policy.json`, or the user's.
    ///
    /// # Errors
    /// It can't be read or understood.
    pub(crate) fn policy() -> anyhow::Result<Policy> {
        Policy::load(Path::new("/")).context("reading policy.json")
    }

    /// The host's registry configuration, `registries.conf(5)`.
    pub(crate) fn registries(&self) -> anyhow::Result<Registries> {
        Registries::load(Path::new("/")).context("reading registries.conf")
    }

    /// The networks and their leases.
    pub(crate) fn networks(&self) -> anyhow::Result<Networks> {
        let (configs, leases) = (self.root.join("networks"), self.runroot.join("network"));
        let networks = Networks::open(&configs, &leases)
            .with_context(|| format!("opening the networks in {}", configs.display()))?;
        let networks = networks.with_defaults(containers_conf::network_defaults);
        let context = self.clone();
        let networks = networks.with_obituaries(move |holder| holders::gone(&context, holder));
        Ok(networks.with_names_on_host(settings::load().network.host_names))
    }

    /// The named volumes.
    pub(crate) fn volumes(&self) -> Volumes {
        Volumes::open(&self.root.join("volumes"))
    }
}
