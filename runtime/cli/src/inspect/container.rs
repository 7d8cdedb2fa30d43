//! A container as `podman inspect` shows it: the same sections and field names.
//!
//! Fields that have no meaning here are left out where Podman leaves them out when they are empty,
//! and are empty where Podman always has them, because scripts reach for them.

use std::collections::BTreeMap;

use oci_spec::runtime::{Capabilities, Process, Spec};
use sampan_container::state::{Attachment, ContainerDir, Port, State, Status, UserMount};
use sampan_image::Image;
use serde_json::{Map, Value, json};

use super::host;
use crate::healthcheck::Health;
use crate::ps;

/// What Podman prints for a moment that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// All of it.
pub(super) fn shown(directory: &ContainerDir, state: &State, spec: &Spec, image: Option<&Image>) -> Value {
    let process = spec.process().clone().unwrap_or_default();
    let arguments = &state.command;
    let file = |name: &str| directory.path().join(name).display().to_string();
    // Of a pod's container the pod has the files: they are where the mounts say.
    let mounted = |name: &str| {
        let mut mounts = spec.mounts().iter().flatten();
        let mount = mounts.find(|mount| mount.destination().as_os_str() == format!("/etc/{name}").as_str());
        mount
            .and_then(|mount| Some(mount.source().as_ref()?.display().to_string()))
            .unwrap_or_else(|| file(name))
    };
    let (image_id, image_name, digest) = match &state.image {
        Some(image) => (image.id.as_str(), image.name.as_str(), image.digest.as_str()),
        None => ("", "", ""),
    };
    json!({
        "Id": state.id,
        "Created": state.created,
        "Path": arguments.first().cloned().unwrap_or_default(),
        "Args": arguments.get(1..).unwrap_or_default(),
        "State": status(directory, state),
        "Image": image_id,
        "ImageDigest": digest,
        "ImageName": image_name,
        "Rootfs": state.rootfs,
        "Pod": state.pod.as_ref().map(|pod| pod.id.as_str()).unwrap_or_default(),
        "ResolvConfPath": mounted("resolv.conf"),
        "HostnamePath": mounted("hostname"),
        "HostsPath": mounted("hosts"),
        "StaticDir": directory.path(),
        "OCIConfigPath": file("config.json"),
        "OCIRuntime": "sampan",
        "ConmonPidFile": "",
        "PidFile": "",
        "Name": state.name,
        "RestartCount": 0,
        "Driver": "overlay",
        "MountLabel": spec.linux().as_ref().and_then(|linux| linux.mount_label().clone()).unwrap_or_default(),
        "ProcessLabel": process.selinux_label().clone().unwrap_or_default(),
        "AppArmorProfile": process.apparmor_profile().clone().unwrap_or_default(),
        "EffectiveCaps": capabilities(&process, |sets| sets.effective().as_ref()),
        "BoundingCaps": capabilities(&process, |sets| sets.bounding().as_ref()),
        "ExecIDs": [],
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": lower_directories(image)}},
        "Mounts": state.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Dependencies": [],
        "NetworkSettings": network_settings(state),
        "Namespace": "",
        "IsInfra": false,
        "IsService": false,
        "Config": config(state, spec, &process, image),
        "HostConfig": host::config(state, spec, &process),
        // Podman has no such fields.
        "Unit": state.unit.clone().unwrap_or_default(),
        "InvocationID": state.invocation_id.clone().unwrap_or_default(),
    })
}

/// The layers of the image, topmost first, as overlayfs takes them.
fn lower_directories(image: Option<&Image>) -> String {
    let layers = image.iter().flat_map(|image| &image.layers);
    layers.map(|layer| layer.display().to_string()).collect::<Vec<_>>().join(":")
}

fn status(directory: &ContainerDir, state: &State) -> Value {
    let status = state.live_status();
    let runs = matches!(status, Status::Running | Status::Paused);
    let health = state.healthcheck.as_ref().map(|_| {
        let health = Health::read(directory).unwrap_or_default();
        let word = if health.status.is_empty() { "starting".to_owned() } else { health.status };
        json!({"Status": word, "FailingStreak": health.failing_streak, "Log": health.log})
    });
    json!({
        "OciVersion": state.oci_version,
        "Status": ps::word(status),
        "Running": status == Status::Running,
        "Paused": status == Status::Paused,
        "Restarting": false,
        "OOMKilled": false,
        "Dead": false,
        "Pid": state.pid.filter(|_| runs).unwrap_or_default(),
        "ExitCode": state.exit_code.filter(|_| !runs).unwrap_or_default(),
        "Error": "",
        "StartedAt": state.started.as_deref().unwrap_or(NEVER),
        "FinishedAt": state.finished.as_deref().unwrap_or(NEVER),
        "Health": health,
        "CgroupPath": state.cgroup.clone().unwrap_or_default(),
        "CheckpointedAt": NEVER,
        "RestoredAt": NEVER,
    })
}

fn capabilities(
    process: &Process,
    set: impl Fn(&oci_spec::runtime::LinuxCapabilities) -> Option<&Capabilities>,
) -> Vec<String> {
    let sets = process.capabilities().as_ref();
    let mut names: Vec<String> =
        sets.and_then(set).into_iter().flatten().map(|capability| format!("CAP_{capability}")).collect();
    names.sort();
    names
}

fn mount(mount: &UserMount) -> Value {
    let has = |option: &str| mount.options.iter().any(|own| own == option);
    let propagation = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];
    json!({
        "Type": mount.kind,
        "Name": mount.name.clone().unwrap_or_default(),
        "Source": mount.source,
        "Destination": mount.destination,
        "Driver": if mount.name.is_some() { "local" } else { "" },
        "Mode": "",
        "Options": mount.options,
        "RW": !has("ro"),
        "Propagation": propagation.into_iter().find(|word| has(word)).unwrap_or_default(),
    })
}

/// The address, gateway and so on that a container has on a network.
fn endpoint(attachment: Option<&Attachment>) -> Map<String, Value> {
    let none = Attachment::default();
    let attachment = attachment.unwrap_or(&none);
    let split = |address: &String| {
        let (address, length) = address.split_once('/').unwrap_or((address, "0"));
        (address.to_owned(), length.parse::<u8>().unwrap_or_default())
    };
    let address = |v6: bool| {
        let mut addresses = attachment.addresses.iter().filter(|address| address.contains(':') == v6);
        addresses.next().map(split).unwrap_or_default()
    };
    let gateway = |v6: bool| {
        let mut gateways = attachment.gateways.iter().filter(|gateway| gateway.contains(':') == v6);
        gateways.next().cloned().unwrap_or_default()
    };
    let ((v4, v4_length), (v6, v6_length)) = (address(false), address(true));
    let fields = [
        ("EndpointID", json!("")),
        ("Gateway", json!(gateway(false))),
        ("IPAddress", json!(v4)),
        ("IPPrefixLen", json!(v4_length)),
        ("IPv6Gateway", json!(gateway(true))),
        ("GlobalIPv6Address", json!(v6)),
        ("GlobalIPv6PrefixLen", json!(v6_length)),
        ("MacAddress", json!(attachment.mac)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn network_settings(state: &State) -> Value {
    let networks: Map<String, Value> =
        state.networks.iter().map(|(name, on)| (name.clone(), network(name, on))).collect();
    // With one network its address also stands at the top, as in Docker.
    let only = state.networks.values().next().filter(|_| state.networks.len() == 1);
    let mut settings = endpoint(only);
    settings.extend([
        ("Bridge".to_owned(), json!("")),
        ("SandboxID".to_owned(), json!("")),
        ("HairpinMode".to_owned(), json!(false)),
        ("LinkLocalIPv6Address".to_owned(), json!("")),
        ("LinkLocalIPv6PrefixLen".to_owned(), json!(0)),
        ("Ports".to_owned(), json!(ports(&state.ports))),
        ("SandboxKey".to_owned(), json!(sandbox(state))),
        ("Networks".to_owned(), Value::Object(networks)),
    ]);
    Value::Object(settings)
}

fn network(name: &str, attachment: &Attachment) -> Value {
    let mut network = endpoint(Some(attachment));
    network.extend([
        ("NetworkID".to_owned(), json!(name)),
        ("DriverOpts".to_owned(), json!({})),
        ("IPAMConfig".to_owned(), json!({})),
        ("Links".to_owned(), json!([])),
        ("Aliases".to_owned(), json!(attachment.aliases)),
        ("Interface".to_owned(), json!(attachment.interface)),
    ]);
    Value::Object(network)
}

/// Where the network namespace can be entered.
fn sandbox(state: &State) -> String {
    let pid = state.pid.filter(|_| state.live_status() != Status::Stopped);
    pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default()
}

/// `80/tcp` to the host's addresses and ports, ranges port by port.
pub(crate) fn ports(published: &[Port]) -> BTreeMap<String, Vec<Value>> {
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in published {
        for offset in 0..port.range.max(1) {
            let inside = format!("{}/{}", port.container_port.saturating_add(offset), port.protocol);
            let ip = if port.host_ip.is_empty() { "0.0.0.0" } else { &port.host_ip };
            let host = json!({"HostIp": ip, "HostPort": port.host_port.saturating_add(offset).to_string()});
            ports.entry(inside).or_default().push(host);
        }
    }
    ports
}

fn config(state: &State, spec: &Spec, process: &Process, image: Option<&Image>) -> Value {
    let made_from = image.and_then(|image| image.config.config().as_ref());
    let entrypoint = made_from.and_then(|config| config.entrypoint().clone()).unwrap_or_default();
    // An entrypoint that was replaced is not the beginning of what runs.
    let (entrypoint, command) = match state.command.strip_prefix(entrypoint.as_slice()) {
        Some(command) => (entrypoint.clone(), command),
        None => (Vec::new(), state.command.as_slice()),
    };
    let user = process.user();
    let user = match (user.uid(), user.gid()) {
        (0, 0) => made_from.and_then(|config| config.user().clone()).unwrap_or_default(),
        (uid, gid) => format!("{uid}:{gid}"),
    };
    let healthcheck = state.healthcheck.as_ref().map(|check| {
        json!({
            "Test": check.test, "Interval": check.interval, "Timeout": check.timeout,
            "StartPeriod": check.start_period, "Retries": check.retries,
        })
    });
    let startup = state.healthcheck.as_ref().and_then(|check| check.startup.as_ref()).map(|check| {
        json!({
            "Test": check.test, "Interval": check.interval, "Timeout": check.timeout,
            "Retries": check.retries, "Successes": check.success,
        })
    });
    json!({
        "Hostname": if state.hostname.is_empty() { spec.hostname().clone().unwrap_or_default() } else { state.hostname.clone() },
        "Domainname": spec.domainname().clone().unwrap_or_default(),
        "User": user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": process.terminal().unwrap_or_default(),
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": process.env().clone().unwrap_or_default(),
        "Cmd": command,
        "Image": state.image.as_ref().map(|image| image.name.as_str()).unwrap_or_default(),
        "Volumes": made_from.and_then(|config| config.volumes().clone()),
        "WorkingDir": process.cwd(),
        "Entrypoint": entrypoint,
        "OnBuild": null,
        "Labels": state.labels,
        "Annotations": state.annotations,
        "StopSignal": state.stop_signal.as_deref().unwrap_or("SIGTERM"),
        "StopTimeout": state.stop_timeout,
        "Timeout": 0,
        "Healthcheck": healthcheck,
        "StartupHealthCheck": startup,
        "HealthcheckOnFailureAction": state.healthcheck.as_ref().map(|check| check.on_failure.as_str()).unwrap_or("none"),
        "HealthLogDestination": state.healthcheck.as_ref().map(|check| check.log_destination.as_str()),
        "HealthcheckMaxLogCount": state.healthcheck.as_ref().map(|check| check.max_log_count),
        "HealthcheckMaxLogSize": state.healthcheck.as_ref().map(|check| check.max_log_size),
        "Umask": process.user().umask().map_or_else(|| "0022".to_owned(), |umask| format!("{umask:04o}")),
    })
}

#[cfg(test)]
mod tests {
    use sampan_container::state::Containers;

    use super::*;
    use crate::output::Listing;

    fn inspected() -> Value {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::open(root.path()).unwrap();
        let directory = containers.create("web").unwrap();
        let state = ps::tests::state("web");
        shown(&directory, &state, &Spec::default(), None)
    }

    #[test]
    fn templates_written_for_podman_work() {
        let one = inspected();
        let text = |format: &str| Listing::parse(format).unwrap().text(vec![one.clone()], true, &[]).unwrap();
        for (format, expected) in [
            ("{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}", "exited 3 false"),
            ("{{.ID}}", one["Id"].as_str().unwrap()),
            ("{{.NetworkSettings.IPAddress}}/{{.NetworkSettings.IPPrefixLen}}", "10.90.0.2/24"),
            (
                "{{range $n, $c := .NetworkSettings.Networks}}{{$n}}={{$c.IPAddress}}{{end}}",
                "front=10.90.0.2",
            ),
            ("{{(index (index .NetworkSettings.Ports \"82/tcp\") 0).HostPort}}", "8082"),
            ("{{with index .HostConfig.PortBindings \"80/tcp\"}}{{(index . 0).HostIP}}{{end}}", "0.0.0.0"),
            ("{{range .Mounts}}{{.Type}}:{{.Name}}:{{.Dst}}{{end}}", "volume:data:/data"),
            ("{{index .Config.Labels \"app\"}}", "web"),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
            (
                "{{.Config.StopSignal}} {{.HostConfig.AutoRemove}} {{.ImageName}}",
                "SIGTERM true quay.io/a/web:1",
            ),
            ("{{.State.StartedAt}}", "2026-01-02T03:04:06Z"),
        ] {
            assert_eq!(text(format), format!("{expected}\n"), "{format}");
        }
    }

    #[test]
    fn it_has_podmans_sections() {
        let one = inspected();
        for section in [
            "Id",
            "Created",
            "Path",
            "Args",
            "State",
            "Image",
            "ImageName",
            "Rootfs",
            "Name",
            "RestartCount",
            "Mounts",
            "NetworkSettings",
            "Config",
            "HostConfig",
        ] {
            assert!(one.get(section).is_some(), "{section}");
        }
        for field in
            ["Hostname", "User", "Env", "Cmd", "Image", "WorkingDir", "Entrypoint", "Labels", "StopSignal"]
        {
            assert!(one["Config"].get(field).is_some(), "Config.{field}");
        }
        for field in ["NetworkMode", "PortBindings", "Binds", "RestartPolicy", "Tmpfs", "Ulimits"] {
            assert!(one["HostConfig"].get(field).is_some(), "HostConfig.{field}");
        }
    }
}
