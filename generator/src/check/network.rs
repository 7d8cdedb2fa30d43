//! The network of one container or pod: modes, what has no effect in them, and what belongs to the
//! pod.

use super::Findings;
use super::driver::bypasses_host;
use super::scene::{Value, View, is_dynamic};
use crate::diagnostic::{Severity, rules, suggest};
use crate::engine::Engine;
use crate::keys::UnitType;
use std::net::IpAddr;

/// Networks that are no networks of their own; podman-run(1), "--network".
const MODES: [&str; 9] =
    ["host", "none", "bridge", "private", "pasta", "slirp4netns", "container", "ns", "default"];
/// Options of `Network=NAME:…`.
const OPTIONS: [&str; 6] = ["ip", "ip6", "mac", "alias", "interface_name", "host_interface_name"];

/// Keys of a container that a pod has instead.
const OF_POD: [&str; 13] = [
    "Network",
    "NetworkAlias",
    "IP",
    "IP6",
    "DNS",
    "DNSOption",
    "DNSSearch",
    "AddHost",
    "UserNS",
    "UIDMap",
    "GIDMap",
    "SubUIDMap",
    "SubGIDMap",
];
/// Those of what a pod shares unless it says otherwise.
const OF_POD_UNDER_SAMPAN: [&str; 2] = ["HostName", "ShmSize"];

/// All of it.
pub(super) fn network(view: &View<'_, '_>, findings: &mut Findings) {
    if view.given("Pod").is_some() {
        return in_pod(view, findings);
    }
    let networks = view.values("Network");
    for network in &networks {
        options(network, findings);
    }
    alone(&networks, findings);
    without_effect(view, &networks, findings);
    if view.is(&[UnitType::Container, UnitType::Pod]) {
        static_address(view, &networks, findings);
    }
    for host in view.values("AddHost") {
        host_entry(&host, findings);
    }
}

/// A container in a pod has the pod's network and users.
fn in_pod(view: &View<'_, '_>, findings: &mut Findings) {
    for value in view.values("PublishPort") {
        let reason = "a container in a pod publishes no ports of its own";
        let help = "move the line to the [Pod] section of the .pod file";
        findings.push(value.place.diagnose(&rules::PORT_IN_POD, Severity::Error, reason).help(help));
    }
    // sampan refuses them at the start, Podman some of them.
    let sampan = view.scene.options.engine == Engine::Sampan;
    let severity = if sampan { Severity::Error } else { Severity::Warning };
    for key in OF_POD.iter().chain(OF_POD_UNDER_SAMPAN.iter().filter(|_| sampan && !chooses_shares(view))) {
        let Some(entry) = view.given(key) else { continue };
        let reason =
            format!("{key}= belongs to the pod, whose network, names and users the container shares");
        let diagnostic = entry.key_place().diagnose(&rules::KEY_OF_POD, severity, reason);
        findings.push(diagnostic.help("move the line to the [Pod] section of the .pod file"));
    }
}

/// Whether the pod says itself what its containers share.
fn chooses_shares(view: &View<'_, '_>) -> bool {
    let pod = view.text("Pod").and_then(|pod| view.scene.view(&pod.text));
    pod.is_some_and(|pod| pod.values("PodmanArgs").iter().any(|word| word.text.starts_with("--share")))
}

/// The part before the options.
fn mode(network: &Value<'_>) -> String {
    network.text.split(':').next().unwrap_or_default().to_owned()
}

fn options(network: &Value<'_>, findings: &mut Findings) {
    let Some((name, options)) = network.text.split_once(':') else { return };
    if MODES.contains(&name) && name != "bridge" || is_dynamic(options) {
        return; // pasta and slirp4netns have options of their own
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (option, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = if !OPTIONS.contains(&option) {
            let reason = format!("there is no network option \"{option}\"");
            let place = network.place.within(option);
            let diagnostic = place.diagnose(&rules::BAD_NETWORK, Severity::Error, reason);
            match suggest(option, OPTIONS) {
                Some(meant) if place.text() == option => {
                    diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
                }
                _ => diagnostic.help("write ip=, ip6=, mac=, alias=, interface_name= or host_interface_name=, separated by commas"),
            }
        } else if matches!(option, "ip" | "ip6") && value.parse::<IpAddr>().is_err() {
            let reason = format!("\"{value}\" is no IP address");
            let diagnostic =
                network.place.within(value).diagnose(&rules::BAD_ADDRESS, Severity::Error, reason);
            diagnostic.help("write an address such as 10.90.0.2")
        } else if option == "mac" && !is_mac(value) {
            let reason = format!("\"{value}\" is no hardware address");
            let diagnostic =
                network.place.within(value).diagnose(&rules::BAD_NETWORK, Severity::Error, reason);
            diagnostic.help("write six pairs of hexadecimal digits, such as 02:00:00:00:00:01")
        } else {
            continue;
        };
        findings.push(wrong);
    }
}

/// The host's network, or none, can't be one of several.
fn alone(networks: &[Value<'_>], findings: &mut Findings) {
    let single = |network: &&Value<'_>| ["host", "none", "ns"].contains(&mode(network).as_str());
    if let Some(network) = networks.iter().find(single).filter(|_| networks.len() > 1) {
        let reason = format!("Network={} can't be combined with another network", network.text);
        let diagnostic = network.place.diagnose(&rules::BAD_NETWORK, Severity::Error, reason);
        findings.push(diagnostic.help("keep one of them"));
    }
}

fn is_mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split([':', '-']).collect();
    pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok())
}

/// Ports are published by networks that have some of their own.
fn without_effect(view: &View<'_, '_>, networks: &[Value<'_>], findings: &mut Findings) {
    passes_by(view, networks, findings);
    let [only] = networks else { return };
    let other = UnitType::of(&only.text) == Some(UnitType::Container);
    let mode = mode(only);
    if !other && !["host", "none", "container", "ns"].contains(&mode.as_str()) {
        return;
    }
    let what = if other || mode == "container" {
        "another container's network"
    } else {
        &*format!("Network={mode}")
    };
    for value in view.values("PublishPort") {
        let reason = format!("with {what} no port is published");
        let help = match mode.as_str() {
            "host" => "remove it: the program listens on the host itself",
            "none" => "remove it, or give the container a network",
            _ => "publish the port where that network is made",
        };
        findings
            .push(value.place.diagnose(&rules::PORT_WITHOUT_EFFECT, Severity::Warning, reason).help(help));
    }
}

/// The host publishes no port of a container whose packets don't pass through it.
fn passes_by(view: &View<'_, '_>, networks: &[Value<'_>], findings: &mut Findings) {
    let passes = |network: &Value<'_>| {
        let name = network.text.split(':').next().unwrap_or_default();
        view.scene
            .view(name)
            .filter(|found| found.is(&[UnitType::Network]))
            .is_some_and(|n| bypasses_host(&n))
    };
    if networks.is_empty() || !networks.iter().all(passes) {
        return;
    }
    for value in view.values("PublishPort") {
        let reason =
            format!("packets of {} don't pass through the host, so it publishes no port", mode(&networks[0]));
        let help = "remove it: the program is reached at the container's own address";
        findings
            .push(value.place.diagnose(&rules::PORT_WITHOUT_EFFECT, Severity::Warning, reason).help(help));
    }
}

/// A fixed address needs exactly one network that is a bridge or the like.
fn static_address(view: &View<'_, '_>, networks: &[Value<'_>], findings: &mut Findings) {
    for key in ["IP", "IP6"] {
        let Some(value) = view.text(key) else { continue };
        let (severity, reason, help) = match networks {
            [] => (
                Severity::Warning,
                format!(
                    "{key}= without Network= is an address of the default network, whose subnet may change"
                ),
                "name a .network file with a Subnet= of your own",
            ),
            [only] if MODES.contains(&mode(only).as_str()) && mode(only) != "bridge" => (
                Severity::Error,
                format!("{key}= is not possible with Network={}", mode(only)),
                "name a network, or remove the address",
            ),
            [_] => continue,
            _ => (
                Severity::Error,
                format!("{key}= does not say which of the {} networks it is an address of", networks.len()),
                "write it behind the network: Network=NAME.network:ip=ADDRESS",
            ),
        };
        findings.push(value.place.diagnose(&rules::STATIC_ADDRESS, severity, reason).help(help));
    }
}

fn host_entry(value: &Value<'_>, findings: &mut Findings) {
    if value.is_dynamic() {
        return;
    }
    let address = value.text.split_once(':').map(|(_, address)| address.trim_matches(['[', ']']));
    if !address.is_some_and(|address| address == "host-gateway" || address.parse::<IpAddr>().is_ok()) {
        let reason = format!("\"{}\" is no NAME:ADDRESS", value.text);
        let diagnostic = value.place.diagnose(&rules::BAD_ADDRESS, Severity::Error, reason);
        findings
            .push(diagnostic.help("write such as db.example:10.90.0.2, or NAME:host-gateway for the host"));
    }
}
