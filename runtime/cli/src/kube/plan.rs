//! From objects to what is to be done: a pod, its volumes, its containers. Nothing here touches the host.
//!
//! The result is words for `sampan pod create` and `sampan run`, the same that an administrator would type.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::container::{self, ContainerPlan, Restart, Role};
use super::model::{Container, Pod, PodSecurity, PodSpec, Port};
use super::objects::{NamedPod, Objects, check_label};
use super::read::{Source, Text};
use super::volumes::{self, Places, Volumes};
use super::yaml::Problem;

/// Kubernetes reference, `terminationGracePeriodSeconds`.
const GRACE: i64 = 30;
/// Annotations that Podman reads begin so.
const PODMAN: &str = "io.podman.annotations.";
/// podman-auto-update(1): the label that says how an image is updated.
const AUTO_UPDATE: &str = "io.containers.autoupdate";

/// What the command line adds to what the YAML says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// `--network`, for `sampan pod create`.
    pub(crate) networks: Vec<String>,
    /// `--publish`; one of these replaces the YAML's of the same container port.
    pub(crate) publish: Vec<String>,
    /// Ports without `hostPort` are published too, under their own number.
    pub(crate) publish_all: bool,
    /// `--userns`.
    pub(crate) userns: Option<String>,
    /// `--annotation`, by name.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Further words for `sampan pod create`.
    pub(crate) pod_words: Vec<String>,
    /// Further words for each `sampan run`.
    pub(crate) run_words: Vec<String>,
}

/// A pod that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct PodPlan {
    /// Its name.
    pub(crate) name: String,
    /// The words behind `sampan pod create`, without the name.
    pub(crate) words: Vec<String>,
    /// Its volumes.
    pub(crate) volumes: Volumes,
    /// Where those are that are ours.
    pub(crate) places: Places,
    /// The group that owns them.
    pub(crate) group: Option<u32>,
    /// Its containers, in the order in which they start.
    pub(crate) containers: Vec<ContainerPlan>,
}

/// What a container's plan needs to know of its pod.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    /// ConfigMaps and Secrets.
    pub(crate) objects: &'a Objects,
    /// The pod's name.
    pub(crate) pod: &'a str,
    /// The pod's labels.
    pub(crate) labels: &'a BTreeMap<String, Text>,
    /// The pod's annotations.
    pub(crate) annotations: &'a BTreeMap<String, Text>,
    /// `--annotation`.
    pub(crate) wished: &'a BTreeMap<String, String>,
    /// The pod's users and filters.
    pub(crate) security: &'a PodSecurity,
    /// The pod's volumes.
    pub(crate) volumes: &'a Volumes,
    /// Where they are.
    pub(crate) places: &'a Places,
    /// When a container is started again.
    pub(crate) restart: Restart,
    /// Seconds that a stop may take.
    pub(crate) stop_timeout: u64,
    /// Words for each `sampan run`.
    pub(crate) words: &'a [String],
}

impl Ground<'_> {
    /// The words that annotations add: Podman's few, and how the image is updated.
    pub(crate) fn annotated(&self, name: &str, short: &str, words: &mut Vec<String>) {
        let find = |key: &str| {
            let wished = self.wished.get(key).map(String::as_str);
            wished.or_else(|| self.annotations.get(key).map(|text| text.as_str()))
        };
        for (key, option) in [("pids-limit", "--pids-limit"), ("cpuset", "--cpuset-cpus")] {
            if let Some(value) = find(&format!("{PODMAN}{key}/{short}")) {
                words.extend([option.to_owned(), value.to_owned()]);
            }
        }
        if let Some(list) = find(&format!("{PODMAN}ulimit")) {
            words.extend(list.split(',').flat_map(|limit| ["--ulimit".to_owned(), limit.to_owned()]));
        }
        for key in ["label", "apparmor"] {
            if let Some(value) = find(&format!("{PODMAN}{key}/{short}")) {
                words.extend(["--security-opt".to_owned(), format!("{key}={value}")]);
            }
        }
        let update = [name, short].iter().find_map(|name| find(&format!("{AUTO_UPDATE}/{name}")));
        if let Some(policy) = update.or_else(|| find(AUTO_UPDATE)) {
            words.extend(["--label".to_owned(), format!("{AUTO_UPDATE}={policy}")]);
        }
    }
}

/// Plans one pod.
///
/// # Errors
/// Something in it can't be honoured.
pub(crate) fn plan(
    named: &NamedPod,
    objects: &Objects,
    wishes: &Wishes,
    places: Places,
    source: &Source<'_>,
) -> Result<PodPlan, Problem> {
    let NamedPod { name, pod, restart_policy, .. } = named;
    let spec = &pod.spec;
    refuse(spec, source)?;
    let default_security = PodSecurity::default();
    let security = spec.security_context.as_ref().unwrap_or(&default_security);
    let group = match &security.fs_group {
        None => None,
        Some(group) => match u32::try_from(group.value) {
            Ok(group) => Some(group),
            Err(_) => {
                return Err(
                    source.problem(group.at, format!("securityContext.fsGroup: {} is no group", group.value))
                );
            }
        },
    };
    let volumes = volumes::read(&spec.volumes, objects, source)?;
    let run_words = run_words(spec, security, wishes, source)?;
    let ground = Ground {
        objects,
        pod: name,
        labels: &pod.metadata.labels,
        annotations: &pod.metadata.annotations,
        wished: &wishes.annotations,
        security,
        volumes: &volumes,
        places: &places,
        restart: restart(spec, *restart_policy, source)?,
        stop_timeout: grace(spec, source)?,
        words: &run_words,
    };
    let containers = containers(spec, pod, &ground, source)?;
    note_annotations(pod, source);
    let words = pod_words(pod, wishes, source)?;
    Ok(PodPlan { name: name.clone(), words, group, containers, volumes, places })
}

/// What can't be had, and would make the pod another one if it was passed over.
fn refuse(spec: &PodSpec, source: &Source<'_>) -> Result<(), Problem> {
    if let Some(flag) = spec.share_process_namespace.as_ref().filter(|flag| flag.value) {
        let reason = "spec.shareProcessNamespace is not possible: containers that are services of their own have no \
                      process in common that could hold a PID namespace";
        return Err(source.problem(flag.at, reason));
    }
    Ok(())
}

fn restart(spec: &PodSpec, workload: Option<&'static str>, source: &Source<'_>) -> Result<Restart, Problem> {
    let policy = spec.restart_policy.as_ref();
    match policy.map_or(workload.unwrap_or("Always"), |policy| policy.as_str()) {
        "Always" => Ok(Restart::Always),
        "OnFailure" => Ok(Restart::OnFailure),
        "Never" => Ok(Restart::No),
        other => {
            let reason =
                format!("spec.restartPolicy is \"{other}\": possible are Always, OnFailure and Never");
            Err(source.problem(policy.map_or(spec.at, |policy| policy.at), reason))
        }
    }
}

fn grace(spec: &PodSpec, source: &Source<'_>) -> Result<u64, Problem> {
    let Some(period) = &spec.termination_grace_period else { return Ok(GRACE.unsigned_abs()) };
    match u32::try_from(period.value) {
        Ok(seconds) => Ok(seconds.into()),
        Err(_) => Err(source
            .problem(period.at, format!("spec.terminationGracePeriodSeconds can't be {}", period.value))),
    }
}

/// Init containers first, in their order, then the others.
fn containers(
    spec: &PodSpec,
    pod: &Pod,
    ground: &Ground<'_>,
    source: &Source<'_>,
) -> Result<Vec<ContainerPlan>, Problem> {
    if spec.containers.is_empty() {
        return Err(
            source.problem(pod.at, format!("the pod {} has no containers: add spec.containers", ground.pod))
        );
    }
    let lists: [(&[Container], Role, &str); 2] = [
        (&spec.init_containers, Role::Init, "spec.initContainers"),
        (&spec.containers, Role::Main, "spec.containers"),
    ];
    let mut all: Vec<ContainerPlan> = Vec::new();
    for (list, role, path) in lists {
        for (number, container) in list.iter().enumerate() {
            let plan = container::plan(container, role, ground, &format!("{path}[{number}]"), source)?;
            if all.iter().any(|other| other.short == plan.short) {
                let reason = format!("a second container is called {}", plan.short);
                return Err(source.problem(container.at, reason));
            }
            all.push(plan);
        }
    }
    Ok(all)
}

/// Words for each container's `sampan run` that the pod as a whole asks for.
fn run_words(
    spec: &PodSpec,
    security: &PodSecurity,
    wishes: &Wishes,
    source: &Source<'_>,
) -> Result<Vec<String>, Problem> {
    let mut words = wishes.run_words.clone();
    if spec.host_pid.as_deref() == Some(&true) {
        words.extend(["--pid", "host"].map(str::to_owned));
    }
    if spec.host_ipc.as_deref() == Some(&true) {
        words.extend(["--ipc", "host"].map(str::to_owned));
    }
    for (number, sysctl) in security.sysctls.iter().enumerate() {
        let (Some(name), Some(value)) = (&sysctl.name, &sysctl.value) else {
            let reason = format!("spec.securityContext.sysctls[{number}] must have a name and a value");
            return Err(source.problem(sysctl.at, reason));
        };
        words.extend(["--sysctl".to_owned(), format!("{}={}", name.value, value.value)]);
    }
    Ok(words)
}

/// The words behind `sampan pod create`.
fn pod_words(pod: &Pod, wishes: &Wishes, source: &Source<'_>) -> Result<Vec<String>, Problem> {
    let spec = &pod.spec;
    let mut words = Vec::new();
    let mut pair = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    let is = |flag: &Option<super::read::Flag>, value: bool| flag.as_deref() == Some(&value);
    let is_host = is(&spec.host_network, true);
    if let Some(hostname) = &spec.hostname {
        check_label(hostname, "spec.hostname", source)?;
        pair("--hostname", hostname);
    }
    if is(&spec.host_ipc, true) {
        pair("--share", "net,uts");
    }
    if is_host {
        pair("--network", "host");
    } else {
        wishes.networks.iter().for_each(|network| pair("--network", network));
        ports(spec, wishes, source)?.iter().for_each(|port| pair("--publish", port));
    }
    let annotated = pod.metadata.annotations.get(&format!("{PODMAN}userns")).map(|text| text.as_str());
    let own_users = is(&spec.host_users, false).then_some("auto");
    if let Some(userns) = wishes.userns.as_deref().or(annotated).or(own_users) {
        pair("--userns", userns);
    }
    for (number, alias) in spec.host_aliases.iter().enumerate() {
        let path = format!("spec.hostAliases[{number}]");
        let ip = alias.ip.as_ref();
        let Some(address) = ip.and_then(|ip| ip.parse::<IpAddr>().ok()) else {
            return Err(source.problem(alias.at, format!("{path}.ip must be an address")));
        };
        for name in &alias.hostnames {
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || ":;#".contains(c)) {
                return Err(
                    source.problem(name.at, format!("{path}: \"{}\" is no host name", name.escape_debug()))
                );
            }
            pair("--add-host", &format!("{}:{address}", name.value));
        }
    }
    dns(spec, source)?.iter().for_each(|(option, value)| pair(option, value));
    for (key, value) in &pod.metadata.labels {
        pair("--label", &format!("{key}={}", value.value));
    }
    words.extend(wishes.pod_words.iter().cloned());
    Ok(words)
}

fn dns(spec: &PodSpec, source: &Source<'_>) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut words = Vec::new();
    let policy = spec.dns_policy.as_deref().map_or("", String::as_str);
    let is_none = policy == "None";
    if !["", "Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"].contains(&policy) {
        let reason = format!("spec.dnsPolicy: there is no policy \"{policy}\"");
        return Err(source.problem(spec.at, reason));
    }
    let Some(config) = &spec.dns_config else {
        return match is_none {
            true => {
                Err(source.problem(spec.at, "spec.dnsPolicy is None: add spec.dnsConfig with name servers"))
            }
            false => Ok(words),
        };
    };
    for server in &config.nameservers {
        if server.parse::<IpAddr>().is_err() {
            let reason = format!("spec.dnsConfig.nameservers: \"{}\" is no address", server.escape_debug());
            return Err(source.problem(server.at, reason));
        }
        words.push(("--dns", server.value.clone()));
    }
    let plain = |text: &Text| match text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err(source.problem(text.at, "spec.dnsConfig: blanks are not possible here")),
        false => Ok(text.value.clone()),
    };
    for search in &config.searches {
        words.push(("--dns-search", plain(search)?));
    }
    for option in &config.options {
        let Some(name) = &option.name else { continue };
        let value = option.value.as_ref().map(plain).transpose()?;
        let name = plain(name)?;
        words.push(("--dns-option", value.map_or(name.clone(), |value| format!("{name}:{value}"))));
    }
    Ok(words)
}

/// What is published: the command line's, and of the YAML's ports those that it leaves alone.
fn ports(spec: &PodSpec, wishes: &Wishes, source: &Source<'_>) -> Result<Vec<String>, Problem> {
    let mut published = wishes.publish.clone();
    let taken: Vec<(String, String)> = wishes.publish.iter().map(|port| container_port(port)).collect();
    for (at, container) in spec.containers.iter().enumerate() {
        for (number, port) in container.ports.iter().enumerate() {
            let path = format!("spec.containers[{at}].ports[{number}]");
            if let Some((inside, protocol, words)) = port_words(port, wishes.publish_all, &path, source)?
                && !taken.contains(&(inside, protocol))
            {
                published.push(words);
            }
        }
    }
    Ok(published)
}

/// The port inside and its protocol, of a word such as `127.0.0.1:8080:80/udp`.
fn container_port(word: &str) -> (String, String) {
    let (rest, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let inside = rest.rsplit(':').next().unwrap_or_default();
    (inside.to_owned(), protocol.to_ascii_lowercase())
}

/// The port inside, its protocol, and the word for `--publish`; `None` if it isn't published.
fn port_words(
    port: &Port,
    all: bool,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<(String, String, String)>, Problem> {
    let number = |number: &super::read::Number| match u16::try_from(number.value) {
        Ok(number) => Ok(number),
        Err(_) => Err(source.problem(number.at, format!("{path}: {} is no port", number.value))),
    };
    let Some(inside) = port.container.as_ref().map(number).transpose()?.filter(|port| *port > 0) else {
        return Err(source.problem(port.at, format!("{path} has no containerPort")));
    };
    let protocol = port.protocol.as_deref().map_or("tcp".to_owned(), |text| text.to_ascii_lowercase());
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(source.problem(port.at, format!("{path}.protocol must be TCP, UDP or SCTP")));
    }
    let host = port.host.as_ref().map(number).transpose()?.filter(|port| *port > 0);
    let Some(outside) = host.or(all.then_some(inside)) else { return Ok(None) };
    let address = match &port.host_ip {
        None => String::new(),
        Some(text) => match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("{address}:"),
            Ok(IpAddr::V6(address)) => format!("[{address}]:"),
            Err(_) if text.is_empty() => String::new(),
            Err(_) => {
                return Err(source
                    .problem(text.at, format!("{path}.hostIP: \"{}\" is no address", text.escape_debug())));
            }
        },
    };
    let word = format!("{address}{outside}:{inside}/{protocol}");
    Ok(Some((inside.to_string(), protocol, word)))
}

/// Podman's annotations that we don't know.
fn note_annotations(pod: &Pod, source: &Source<'_>) {
    const KNOWN: [&str; 6] = ["userns", "ulimit", "pids-limit/", "cpuset/", "label/", "apparmor/"];
    for (name, value) in &pod.metadata.annotations {
        if let Some(key) = name.strip_prefix(PODMAN)
            && !KNOWN.iter().any(|known| key == *known || (known.ends_with('/') && key.starts_with(known)))
        {
            source.note(value.at, format!("metadata.annotations.{name} has no effect here"));
        }
    }
}
