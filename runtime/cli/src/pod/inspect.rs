//! `sampan pod inspect`: a pod as Podman shows it, in the same field names.

use std::process::ExitCode;

use oci_spec::runtime::LinuxNamespaceType as Kind;
use sampan_container::state::State;
use serde_json::{Value, json};

use super::state::{ExitPolicy, Pod, PodDir};
use super::{list, remove};
use crate::context::Context;
use crate::{inspect, output, ps};

/// `sampan pod inspect [options] POD…`
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// json, or a Go template for each pod
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or identifiers
    #[arg(value_name = "POD", required = true)]
    pods: Vec<String>,
}

/// Shows pods.
pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for name in &options.pods {
        let directory = context.pods().get(name)?;
        let pod = directory.read()?;
        let containers: Vec<State> =
            remove::containers(context, &pod)?.into_iter().map(|(_, state)| state).collect();
        all.push(shown(&directory, &pod, &containers));
    }
    match output::template_or_json(options.format.as_deref()) {
        None => output::json(&all)?,
        Some(format) => output::Listing::parse(format)?.print(all, false, &[])?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(directory: &PodDir, pod: &Pod, containers: &[State]) -> Value {
    let shared = pod.shared.iter().map(|kind| match kind {
        Kind::Network => "net",
        Kind::Ipc => "ipc",
        Kind::Uts => "uts",
        _ => "user",
    });
    let inside = containers
        .iter()
        .map(|state| json!({"Id": state.id, "Name": state.name, "State": ps::word(state.live_status())}));
    json!({
        "Id": pod.id,
        "Name": pod.name,
        "Created": pod.created,
        "CreateCommand": pod.command,
        "ExitPolicy": if pod.exit_policy == ExitPolicy::Stop { "stop" } else { "continue" },
        "State": list::status(pod, containers),
        "Hostname": pod.hostname,
        "Labels": pod.labels,
        "CreateCgroup": false,
        "CgroupParent": "",
        "CgroupPath": "",
        "CreateInfra": false,
        "InfraContainerID": "",
        "InfraConfig": {
            "PortBindings": inspect::container::ports(&pod.ports),
            "HostNetwork": pod.host_network,
            "Networks": pod.networks.keys().collect::<Vec<_>>(),
            "HostsFile": directory.path().join("hosts"),
        },
        "SharedNamespaces": shared.collect::<Vec<_>>(),
        "NumContainers": containers.len(),
        "Containers": inside.collect::<Vec<_>>(),
        // Podman has no such fields.
        "Networks": pod.networks,
        "Volumes": pod.volumes,
        "Unit": pod.unit.clone().unwrap_or_default(),
    })
}
