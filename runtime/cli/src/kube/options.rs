//! The options of `sampan kube play` and `sampan kube down`: the vocabulary of podman-kube-play(1).
//!
//! Generated units are written in these words. An option that stands here is honoured; one that isn't here is refused
//! by the parser with its name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `sampan kube play [options] FILE…`
#[derive(Debug, clap::Args)]
pub(crate) struct Play {
    /// Annotation of the pods
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// File with registry credentials, containers-auth.json(5)
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// File with ConfigMaps that the pods refer to
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) configmap: Vec<PathBuf>,
    /// Take down what the files describe, instead of playing it
    #[arg(long, conflicts_with = "replace")]
    pub(crate) down: bool,
    /// With --down: also remove the volumes that are claimed
    #[arg(long, requires = "down")]
    pub(crate) force: bool,
    /// IPv4 address of the pod
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// Where the containers' output goes: passthrough, journald, none
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Option of the log driver; none of ours has any
    #[arg(long, value_name = "OPTION", hide = true)]
    pub(crate) log_opt: Vec<String>,
    /// Hardware address of the pod
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Network of the pods: NAME[:ip=…,mac=…,alias=…], bridge, host, none
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// Leave the images' /etc/hosts alone
    #[arg(long)]
    pub(crate) no_hosts: bool,
    /// Publish a port of the pods; replaces the YAML's for the same port
    #[arg(long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish every containerPort, under its own number where it has no hostPort
    #[arg(long)]
    pub(crate) publish_all: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Take down pods of the same names first
    #[arg(long)]
    pub(crate) replace: bool,
    /// The pods belong to the unit that runs this command: they end with it, and it with them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(crate) service_container: Option<bool>,
    /// Which failed containers make that unit fail when all have ended
    #[arg(long, value_name = "WHICH", default_value = "none", hide = true)]
    pub(crate) service_exit_code_propagation: Propagation,
    /// Verify certificates; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
    /// User namespace of the pods: host, or auto[:size=N]
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// The Kubernetes YAML; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// `sampan kube down [options] FILE…`
#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    /// Also remove the volumes that are claimed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) force: Option<bool>,
    /// The Kubernetes YAML; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Which failed containers make the unit fail (`ExitCodePropagation=`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Propagation {
    /// All of them together.
    All,
    /// Any of them.
    Any,
    /// None.
    #[default]
    None,
}

impl Propagation {
    /// Whether the unit fails, with so many of its containers failed.
    pub(crate) fn fails(self, failed: usize, of: usize) -> bool {
        match self {
            Self::All => failed > 0 && failed == of,
            Self::Any => failed > 0,
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        play: Play,
    }

    #[test]
    fn options_may_be_given_several_times() {
        let words = "play --network x --configmap x,y --service-exit-code-propagation any f.yaml";
        let line = <Line as clap::Parser>::try_parse_from(words.split(' ')).unwrap();
        assert_eq!(line.play.network, ["x"]);
        assert_eq!(line.play.service_exit_code_propagation, Propagation::Any);
        assert_eq!(line.play.configmap, [PathBuf::from("x"), PathBuf::from("y")]);
    }

    #[test]
    fn which_failures_count() {
        for (policy, none, some, all) in [
            (Propagation::All, false, false, true),
            (Propagation::Any, false, true, true),
            (Propagation::None, false, false, false),
        ] {
            assert_eq!((policy.fails(0, 2), policy.fails(1, 2), policy.fails(2, 2)), (none, some, all));
        }
    }
}
