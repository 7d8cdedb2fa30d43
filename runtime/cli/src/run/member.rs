//! `--pod`: a container that is in a pod. It has the pod's network, `/dev/shm`, host name and users instead of its
//! own, and all that belongs to them (ports, addresses, `/etc/hosts`) is the pod's to say.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, MountBuilder};
use sampan_container::{shared, state};

use super::network::{Network, Plan};
use super::options::Options;
use super::user_namespace::Mappings;
use crate::blame::Blamed as _;
use crate::context::Context;
use crate::pod::{self, Pod, PodDir};

/// The pod that the container is in.
#[derive(Debug)]
pub(crate) struct Membership {
    directory: PodDir,
    pod: Pod,
}

impl Membership {
    /// Finds the pod that the options name; `None` if they name none.
    ///
    /// # Errors
    /// There is no such pod, or another option wants what the pod decides.
    pub(crate) fn find(options: &Options, context: &Context) -> anyhow::Result<Option<Self>> {
        let name = match (&options.pod, &options.pod_id_file) {
            (Some(name), _) => name.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)
                .with_context(|| format!("reading {} (--pod-id-file)", file.display()))?
                .trim()
                .to_owned(),
            (None, None) => return Ok(None),
        };
        ensure!(!name.starts_with("new:"), "--pod={name}: make the pod first, with `sampan pod create`");
        let find = || {
            let directory = context.pods().get(&name)?;
            let pod = directory.read()?;
            ensure!(pod.is_complete, "the pod {name} is being made or removed: is its service running?");
            Ok(Self { directory, pod })
        };
        let found: Self = find().blame("Pod", "")?;
        found.check(options)?;
        Ok(Some(found))
    }

    /// What can't be said for one container of a pod alone.
    fn check(&self, options: &Options) -> anyhow::Result<()> {
        use LinuxNamespaceType::{Ipc, Network, User, Uts};
        let (net, names, users) = (&options.net, &options.names, &options.users);
        let network = [
            ("PublishPort", net.publish.first()),
            ("Network", net.network.first()),
            ("NetworkAlias", net.network_alias.first()),
            ("IP", net.ip.as_ref()),
            ("IP6", net.ip6.as_ref()),
            ("PodmanArgs", net.mac_address.as_ref()),
            ("AddHost", names.add_host.first()),
            ("DNS", names.dns.first()),
            ("DNSOption", names.dns_option.first()),
            ("DNSSearch", names.dns_search.first()),
        ];
        let identity = [
            ("UserNS", users.userns.as_ref()),
            ("UIDMap", users.uidmap.first()),
            ("GIDMap", users.gidmap.first()),
            ("SubUIDMap", users.subuidname.as_ref()),
            ("SubGIDMap", users.subgidname.as_ref()),
        ];
        ensure!(
            !options.publish_all || !self.pod.shares(Network),
            "--publish-all: the containers of the pod {} share its network; write PublishPort= into the .pod file",
            self.name()
        );
        // Without namespaces of its own the pod is the host's network, which a container can't leave either.
        let shares_network = self.pod.shares(Network) || self.pod.host_network;
        let refused = [
            (shares_network, "network", &network[..]),
            (self.pod.shares(Uts), "host name", &[("HostName", options.hostname.as_ref())]),
            (self.pod.shares(Ipc), "/dev/shm", &[("ShmSize", options.shm_size.as_ref())]),
            // The namespaces that are shared belong to the pod's users.
            (true, "users", &identity[..]),
        ];
        for (shared, what, given) in refused {
            for (key, value) in given.iter().filter_map(|(key, value)| Some((*key, (*value)?))) {
                if shared {
                    let reason =
                        format!("{key}={value}: the containers of the pod {} share its {what}", self.name());
                    let help = format!("write {key}= into the .pod file");
                    return Err(anyhow!("{reason}; {help}")).blame(key, value);
                }
            }
        }
        for (option, mode, kind) in [("--ipc", &options.ipc, Ipc), ("--uts", &options.uts, Uts)] {
            if let Some(mode) = mode.as_deref().filter(|mode| *mode != "pod" && self.pod.shares(kind)) {
                bail!("{option}={mode}: the containers of the pod {} share this namespace", self.name());
            }
        }
        ensure!(
            !options.service_user,
            "User= and DynamicUser= in [Service]: the containers of the pod {} share its users; write UserNS= or UIDMap= \
             into the .pod file",
            self.name()
        );
        ensure!(
            !self.pod.shares(User) || options.privileged != Some(true),
            "--privileged has no effect in the users of the pod {}: drop it, or UserNS= of the pod",
            self.name()
        );
        Ok(())
    }

    /// The pod's name.
    pub(crate) fn name(&self) -> &str {
        &self.pod.name
    }

    /// The pod's name and identifier, for the container's state.
    pub(crate) fn reference(&self) -> state::Pod {
        state::Pod { name: self.pod.name.clone(), id: self.pod.id.clone() }
    }

    /// What the pod has.
    pub(crate) fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The directory with the pod's files.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The network to be in; ports are the pod's. `None` if the container has one of its own.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let path = shared::path(self.path(), LinuxNamespaceType::Network);
        let network = match path.filter(|_| self.pod.shares(LinuxNamespaceType::Network)) {
            Some(path) => Network::Path(path.display().to_string()),
            None if self.pod.host_network => Network::Host,
            None => return None,
        };
        Some(Plan { network, ports: Vec::new(), names: Vec::new() })
    }

    /// The pod's users; `None` is the host's.
    pub(crate) fn mappings(&self) -> Option<Mappings> {
        let (uids, gids) = (self.pod.uid_mappings.clone(), self.pod.gid_mappings.clone());
        (!uids.is_empty()).then_some(Mappings { uids, gids })
    }

    /// The host name, if the pod's is shared.
    pub(crate) fn hostname(&self) -> Option<&str> {
        self.pod.shares(LinuxNamespaceType::Uts).then_some(self.pod.hostname.as_str())
    }

    /// The pod's memory at `/dev/shm`, if it is shared.
    ///
    /// # Errors
    /// oci-spec's, never for a mount made here.
    pub(crate) fn shm(&self) -> anyhow::Result<Option<Mount>> {
        if !self.pod.shares(LinuxNamespaceType::Ipc) {
            return Ok(None);
        }
        let options = ["bind", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
        let mount = MountBuilder::default().destination("/dev/shm").typ("bind");
        Ok(Some(mount.source(shared::shm(self.path())).options(options).build()?))
    }

    /// Makes the container's name known in the pod and in its networks.
    ///
    /// # Errors
    /// The pod is gone; the network's.
    pub(crate) fn announce(&self, context: &Context, state: &state::State) -> anyhow::Result<()> {
        pod::join(context, &self.directory, &self.pod.id, state)
    }

    /// The namespaces with the pod's in place of the container's own.
    ///
    /// # Errors
    /// oci-spec's, never for namespaces made here.
    pub(crate) fn share(&self, namespaces: &mut Vec<LinuxNamespace>) -> anyhow::Result<()> {
        for kind in &self.pod.shared {
            let path: Option<PathBuf> = shared::path(self.path(), *kind);
            namespaces.retain(|namespace| namespace.typ() != *kind);
            if let Some(path) = path {
                namespaces.push(LinuxNamespaceBuilder::default().typ(*kind).path(path).build()?);
            }
        }
        Ok(())
    }
}
