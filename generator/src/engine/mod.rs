//! The two engines that units can be written for, and all in which they differ.
//!
//! Translation asks an [`Engine`] the few questions below; only what a container's service looks
//! like differs in more than a word, and there each engine has a small writer: `podman` writes what
//! Podman's own Quadlet writes, `sampan` what a container needs that is systemd's own child.

mod activation;
mod companion;
mod kube;
mod pod;
mod podman;
mod sampan;

use crate::command::CommandLine;
use crate::diagnostic::Severity;
use crate::keys::{Key, Since, UnitType};
use crate::service::Service;
use crate::syntax::scanner::Fold;
use crate::syntax::words;
use std::fmt;
use std::str::FromStr;

/// Who runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Engine {
    /// sampan itself.
    #[default]
    Sampan,
    /// Podman: the units are those that Podman's own Quadlet writes.
    Podman,
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sampan" => Ok(Self::Sampan),
            "podman" => Ok(Self::Podman),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}

/// The name of an engine that doesn't exist.
#[derive(Debug, thiserror::Error)]
#[error("unknown engine \"{0}\": write \"sampan\" or \"podman\"")]
pub struct UnknownEngine(String);

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sampan => "sampan",
            Self::Podman => "podman",
        })
    }
}

impl Engine {
    /// The program of the `Exec…=` lines.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Sampan => "/usr/bin/sampan",
            Self::Podman => "/usr/bin/podman",
        }
    }

    /// Whether the name of what such a file makes is known before the file is translated. Under
    /// sampan it always is, so that a file may refer to one that turns out to be broken: that one's
    /// service fails and says why. Podman's Quadlet learns most names only from the translation.
    pub(crate) fn knows_resource_early(self, kind: UnitType) -> bool {
        self == Self::Sampan || matches!(kind, UnitType::Container | UnitType::Build | UnitType::Pod)
    }

    /// How continued lines are joined.
    pub(crate) fn fold(self) -> Fold {
        match self {
            Self::Sampan => Fold::Blank,
            Self::Podman => Fold::Nothing,
        }
    }

    /// Whether the engine's Quadlet knows the key.
    pub(crate) fn reads(self, key: &Key) -> bool {
        self == Self::Sampan || key.since != Since::Sampan
    }

    /// What an unknown key means: Podman's Quadlet refuses the file.
    pub(crate) fn unknown_key(self) -> Severity {
        match self {
            Self::Sampan => Severity::Warning,
            Self::Podman => Severity::Error,
        }
    }

    /// What a value of the wrong form means: Podman's Quadlet doesn't look.
    pub(crate) fn wrong_value(self) -> Severity {
        match self {
            Self::Sampan => Severity::Error,
            Self::Podman => Severity::Warning,
        }
    }

    /// The unit that says that the network is up, if there is one.
    pub(crate) fn network_online(self, user: bool) -> Option<&'static str> {
        match (self, user) {
            (_, false) => Some("network-online.target"),
            (Self::Podman, true) => Some("podman-user-wait-network-online.service"),
            (Self::Sampan, true) => None,
        }
    }

    /// The directories that must be mounted before the engine can work.
    pub(crate) fn storage(self) -> &'static str {
        match self {
            Self::Sampan => "%S/sampan %t/sampan",
            Self::Podman => "%t/containers",
        }
    }

    /// A path as a word of `RequiresMountsFor=`, in which systemd resolves quotes but no escapes.
    /// Podman's Quadlet writes escapes there.
    pub(crate) fn mount_path(self, path: &str) -> String {
        match self {
            Self::Sampan if path.contains('"') => format!("'{path}'"),
            Self::Sampan if path.contains([' ', '\t', '\'']) => format!("\"{path}\""),
            Self::Sampan => path.to_owned(),
            Self::Podman => words::quote(path).replace(' ', "\\x20"),
        }
    }

    /// Whether making a network again brings it to what its file says by now, under its
    /// containers' feet.
    pub(crate) fn reloads_networks(self) -> bool {
        self == Self::Sampan
    }

    /// Whether a container of the engine's own holds what a pod's containers share.
    pub(crate) fn has_infra_container(self) -> bool {
        self == Self::Podman
    }

    /// Writes what the service of an image or artifact needs to say how far it is.
    pub(crate) fn fetch(self, service: &mut Service) {
        if self == Engine::Sampan {
            service.set_default("Service", "NotifyAccess", "main");
        }
    }

    /// Writes what makes the unit a pod's service, and returns the units that go with it.
    pub(crate) fn pod(self, service: &mut Service, plan: &PodPlan) -> Vec<Service> {
        match self {
            Self::Sampan => pod::service(service, plan),
            Self::Podman => {
                podman::pod(service, plan);
                Vec::new()
            }
        }
    }

    /// Lets the service be started as often as a pod that is started on demand.
    pub(crate) fn starts_often(self, service: &mut Service) {
        activation::starts_often(service);
    }

    /// The unit to start when a container of the pod has ended for good, if the engine needs that to end the pod;
    /// `pod` is the pod's service.
    pub(crate) fn idle_unit(self, pod: &str) -> Option<String> {
        (self == Self::Sampan).then(|| pod::idle_unit(pod))
    }

    /// Writes what makes the unit a service that plays Kubernetes YAML, and returns the units that go with it.
    pub(crate) fn kube(self, service: &mut Service, plan: &KubePlan) -> Vec<Service> {
        match self {
            Self::Sampan => kube::service(service, plan),
            Self::Podman => {
                podman::kube(service, plan);
                Vec::new()
            }
        }
    }

    /// The socket units that wait for the clients of a container or pod that is started on demand.
    pub(crate) fn sockets(self, service: &Service, demand: &OnDemand) -> Vec<String> {
        activation::sockets(&service.name, demand)
    }

    /// Writes what makes the unit a container's service.
    pub(crate) fn container(self, service: &mut Service, plan: &ContainerPlan) -> Vec<Service> {
        match self {
            Self::Sampan => sampan::container(service, plan),
            Self::Podman => {
                podman::container(service, plan);
                Vec::new()
            }
        }
    }
}

/// What a pod's service is to do, in no engine's words yet.
#[derive(Debug)]
pub(crate) struct PodPlan {
    /// The pod's name; may hold specifiers.
    pub(crate) name: String,
    /// The program, with the options before its subcommand.
    pub(crate) base: CommandLine,
    /// The whole command that makes the pod.
    pub(crate) create: CommandLine,
    /// How many seconds the containers have to stop.
    pub(crate) stop_timeout: String,
    /// Whether the pod ends with its last container.
    pub(crate) stops_when_idle: bool,
    /// The services of the containers that start with the pod.
    pub(crate) members: Vec<String>,
    /// What waits for the pod's clients, if it is started on demand.
    pub(crate) on_demand: Option<OnDemand>,
}

/// What the service of a `.kube` file is to do, in no engine's words yet.
#[derive(Debug)]
pub(crate) struct KubePlan {
    /// The program, with the options before its subcommand.
    pub(crate) base: CommandLine,
    /// The whole command that plays the YAML.
    pub(crate) play: CommandLine,
    /// The whole command that takes it down.
    pub(crate) down: CommandLine,
    /// Whether the file says `Type=oneshot`.
    pub(crate) oneshot: bool,
}

/// What a container's service is to do, in no engine's words yet.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    /// The container's name; may hold specifiers.
    pub(crate) name: String,
    /// The program, with the options before its subcommand.
    pub(crate) base: CommandLine,
    /// The whole command that runs the container.
    pub(crate) run: CommandLine,
    /// The command for `systemctl reload`.
    pub(crate) reload: Option<CommandLine>,
    /// Whether the service is done when the container ends.
    pub(crate) oneshot: bool,
    /// `Memory=`.
    pub(crate) memory: Option<String>,
    /// `PidsLimit=`.
    pub(crate) pids_limit: Option<String>,
    /// How often health is checked, if at all.
    pub(crate) health_interval: Option<String>,
    /// How often it is checked whether the container has started, before that.
    pub(crate) startup_interval: Option<String>,
    /// `StopTimeout=`, in seconds.
    pub(crate) stop_timeout: Option<u64>,
    /// Whom the container's root is on the host.
    pub(crate) root: HostUser,
    /// What waits for its clients, if it is started on demand.
    pub(crate) on_demand: Option<OnDemand>,
}

/// How a container or a pod is started when somebody connects, and stopped when nobody does.
#[derive(Debug)]
pub(crate) struct OnDemand {
    /// After how many seconds without anything to do it is stopped; never without.
    pub(crate) timeout: Option<f64>,
    /// One per port of the container or pod.
    pub(crate) listeners: Vec<Listener>,
}

/// Where connections to a port of a container or pod are waited for.
#[derive(Debug)]
pub(crate) struct Listener {
    /// What `ListenStream=` takes.
    pub(crate) listen: Vec<String>,
    /// The port inside; may be a specifier.
    pub(crate) port: String,
}

/// The user of the host that a container's root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostUser {
    /// root, or whom `UserNS=` says.
    Root,
    /// The one that `User=` in `[Service]` names.
    Named,
    /// The one that systemd makes up for `DynamicUser=` in `[Service]`.
    Dynamic,
}
