//! The kind of a network, and what that kind takes: `Driver=`, `Options=`, `IPAMDriver=`.

use super::Findings;
use super::scene::{Value, View};
use super::values::wrong;
use crate::diagnostic::{Severity, rules, suggest};
use crate::engine::Engine;
use crate::keys::UnitType;

/// The drivers that there are.
const DRIVERS: [&str; 3] = ["bridge", "macvlan", "ipvlan"];
/// Those of an interface of the host.
const ON_PARENT: [&str; 2] = ["macvlan", "ipvlan"];
/// Who gives out addresses.
const IPAM_DRIVERS: [&str; 3] = ["host-local", "dhcp", "none"];
/// The longest name of an interface, in bytes (`IFNAMSIZ` less the final zero).
const LONGEST_INTERFACE: usize = 15;

/// An option of drivers; podman-network-create(1), "--opt".
struct DriverOption {
    name: &'static str,
    drivers: &'static [&'static str],
    /// What its value is.
    expected: &'static str,
    is_right: fn(&str) -> bool,
}

const OPTIONS: [DriverOption; 13] = [
    DriverOption { name: "mtu", drivers: &DRIVERS, expected: "68 to 65535, in bytes", is_right: is_mtu },
    DriverOption {
        name: "com.docker.network.driver.mtu",
        drivers: &DRIVERS,
        expected: "68 to 65535, in bytes",
        is_right: is_mtu,
    },
    DriverOption {
        name: "metric",
        drivers: &DRIVERS,
        expected: "a number",
        is_right: |value| value.parse::<u32>().is_ok(),
    },
    DriverOption {
        name: "no_default_route",
        drivers: &DRIVERS,
        expected: "true or false",
        is_right: |value| is_boolean(value),
    },
    DriverOption {
        name: "arp_probe",
        drivers: &DRIVERS,
        expected: "true or false",
        is_right: |value| is_boolean(value),
    },
    DriverOption {
        name: "isolate",
        drivers: &["bridge"],
        expected: "true, false or strict",
        is_right: |value| value == "strict" || is_boolean(value),
    },
    DriverOption {
        name: "vlan",
        drivers: &["bridge"],
        expected: "1 to 4094",
        is_right: |value| value.parse().is_ok_and(|vlan: u16| (1..=4094).contains(&vlan)),
    },
    DriverOption { name: "vrf", drivers: &["bridge"], expected: "the name of a VRF", is_right: is_interface },
    DriverOption {
        name: "com.docker.network.bridge.name",
        drivers: &["bridge"],
        expected: "the name of an interface, of at most 15 characters",
        is_right: is_interface,
    },
    DriverOption {
        name: "mode",
        drivers: &["bridge"],
        expected: "managed or unmanaged",
        is_right: |value| ["managed", "unmanaged"].contains(&value),
    },
    DriverOption {
        name: "mode",
        drivers: &["macvlan"],
        expected: "bridge, private, vepa or passthru",
        is_right: |value| ["bridge", "private", "vepa", "passthru"].contains(&value),
    },
    DriverOption {
        name: "mode",
        drivers: &["ipvlan"],
        expected: "l2, l3 or l3s",
        is_right: |value| ["l2", "l3", "l3s"].contains(&value),
    },
    DriverOption {
        name: "bclim",
        drivers: &["macvlan"],
        expected: "a number of receivers, or -1 for no limit",
        is_right: |value| value.parse::<i32>().is_ok(),
    },
];

/// `parent` stands apart: it is another spelling of a key.
const PARENT: DriverOption = DriverOption {
    name: "parent",
    drivers: &ON_PARENT,
    expected: "the name of an interface of the host",
    is_right: is_interface,
};

fn is_mtu(value: &str) -> bool {
    value.parse().is_ok_and(|mtu: u32| (68..=65535).contains(&mtu))
}

fn is_boolean(value: &str) -> bool {
    // As Go has it, and not systemd.
    ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"].contains(&value)
}

fn is_interface(value: &str) -> bool {
    (1..=LONGEST_INTERFACE).contains(&value.len())
        && !value.contains(['/', ':', '%'])
        && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn all() -> impl Iterator<Item = &'static DriverOption> {
    OPTIONS.iter().chain([&PARENT])
}

/// The driver of a `.network` file; `None` if only the start can tell, or if there is no such driver.
pub(super) fn of(network: &View<'_, '_>) -> Option<&'static str> {
    match network.text("Driver") {
        None => Some("bridge"),
        Some(value) => DRIVERS.into_iter().find(|driver| *driver == value.text),
    }
}

/// Whether the packets of a network's containers pass the host by, so that it can't publish their ports.
pub(super) fn bypasses_host(network: &View<'_, '_>) -> bool {
    of(network)
        .is_some_and(|driver| driver != "bridge" || option(network, "mode").as_deref() == Some("unmanaged"))
}

/// The value of an option.
fn option(network: &View<'_, '_>, name: &str) -> Option<String> {
    let pairs = network.values("Options");
    pairs.iter().rev().find_map(|pair| pair.text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// All of it.
pub(super) fn driver(view: &View<'_, '_>, findings: &mut Findings) {
    if !view.is(&[UnitType::Network]) {
        return;
    }
    let Some(driver) = of(view) else {
        // Podman may have a plugin of this name.
        if view.scene.options.engine == Engine::Sampan {
            view.text("Driver").iter().for_each(|value| unknown("network driver", &DRIVERS, value, findings));
        }
        return;
    };
    view.values("Options").iter().for_each(|pair| check_option(driver, pair, findings));
    ipam(view, driver, findings);
    probes(view, driver, findings);
    interface(view, driver, findings);
    if ON_PARENT.contains(&driver) {
        for value in view.values("DNS") {
            let reason = format!("{driver} networks have no name server that could ask {}", value.text);
            let help = "write DNS= in the [Container] section";
            findings.push(value.place.diagnose(&rules::BAD_DRIVER, Severity::Error, reason).help(help));
        }
    }
}

/// Tells of a word that isn't among those that there are.
fn unknown(what: &str, known: &[&str], value: &Value<'_>, findings: &mut Findings) {
    if value.is_dynamic() {
        return;
    }
    let reason = format!("there is no {what} \"{}\"", value.text);
    let diagnostic = value.place.diagnose(&rules::BAD_DRIVER, Severity::Error, reason);
    findings.push(match suggest(&value.text, known.iter().copied()) {
        Some(meant) if value.place.text() == value.text => {
            diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
        }
        _ => diagnostic.help(format!("write {}", in_words(known, "or"))),
    });
}

fn in_words(words: &[&str], conjunction: &str) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} {conjunction} {last}", first.join(", ")),
        _ => words.concat(),
    }
}

fn check_option(driver: &str, pair: &Value<'_>, findings: &mut Findings) {
    let (name, value) = pair.text.split_once('=').unwrap_or((&pair.text, ""));
    if name == "com.docker.network.bridge.enable_icc" {
        let reason = "containers of one bridge always reach each other".to_owned();
        return wrong(&rules::BAD_DRIVER_OPTION, pair, reason, "use one network per group", findings);
    }
    let Some(known) = all().find(|known| known.name == name && known.drivers.contains(&driver)) else {
        return unknown_option(driver, name, pair, findings);
    };
    if !(known.is_right)(value) {
        let reason = format!("\"{value}\" is no value of the option {name} of {driver}");
        wrong(
            &rules::BAD_DRIVER_OPTION,
            pair,
            reason,
            format!("write {name}= with {}", known.expected),
            findings,
        );
    }
}

fn unknown_option(driver: &str, name: &str, pair: &Value<'_>, findings: &mut Findings) {
    let of_others: Vec<&str> =
        all().filter(|known| known.name == name).flat_map(|known| known.drivers).copied().collect();
    let own = all().filter(|known| known.drivers.contains(&driver) && !known.name.contains('.'));
    let own: Vec<&str> = own.map(|known| known.name).collect();
    if !of_others.is_empty() {
        let reason =
            format!("{name} is an option of {}, and this network is {driver}", of_others.join(" and "));
        let help = match name {
            "parent" => "write Driver=macvlan or ipvlan, or remove it: a bridge has no parent".to_owned(),
            _ => format!("{driver} knows {}", in_words(&own, "and")),
        };
        return wrong(&rules::BAD_DRIVER_OPTION, pair, reason, help, findings);
    }
    if pair.is_dynamic() {
        return;
    }
    let place = pair.place.within(name);
    let reason = format!("there is no option \"{name}\" of {driver} networks");
    let diagnostic = place.diagnose(&rules::BAD_DRIVER_OPTION, Severity::Error, reason);
    findings.push(match suggest(name, own.iter().copied()) {
        Some(meant) if place.text() == name => {
            diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
        }
        _ => diagnostic.help(format!("{driver} knows {}", in_words(&own, "and"))),
    });
}

/// Who gives out addresses fits to the driver, and to the subnets.
fn ipam(view: &View<'_, '_>, driver: &str, findings: &mut Findings) {
    let is_managed = driver == "bridge" && !bypasses_host(view);
    let has_subnet = !view.values("Subnet").is_empty();
    let Some(value) = view.text("IPAMDriver") else {
        if driver == "ipvlan" && !has_subnet {
            let Some(place) = view.given("Driver").map(|entry| entry.place()) else { return };
            let reason = "an ipvlan network needs the addresses of the parent's link".to_owned();
            let help = "add Subnet=, and IPRange= with the part of it that is free for containers";
            findings.push(place.diagnose(&rules::BAD_DRIVER, Severity::Error, reason).help(help));
        }
        return;
    };
    let (reason, help) = match value.text.as_str() {
        "host-local" if driver != "bridge" && !has_subnet => (
            format!("{driver} with IPAMDriver=host-local needs the addresses of the parent's link"),
            "add Subnet=",
        ),
        "dhcp" if has_subnet => {
            ("with IPAMDriver=dhcp a server on the link knows the subnet".to_owned(), "remove Subnet=")
        }
        "dhcp" if is_managed => (
            "there is no DHCP server on a bridge of the network's own".to_owned(),
            "write Driver=macvlan, or Options=mode=unmanaged and InterfaceName= with a bridge that is there",
        ),
        "none" if has_subnet => {
            ("with IPAMDriver=none nobody gives out addresses of a subnet".to_owned(), "remove Subnet=")
        }
        "host-local" | "dhcp" | "none" | "" => return,
        _ => return unknown("IPAM driver", &IPAM_DRIVERS, &value, findings),
    };
    wrong(&rules::BAD_DRIVER, &value, reason, help, findings);
}

/// Only what a DHCP server grants is probed for.
fn probes(view: &View<'_, '_>, driver: &str, findings: &mut Findings) {
    let has_server = match view.text("IPAMDriver") {
        Some(value) => value.text == "dhcp" || value.is_dynamic(),
        None => driver == "macvlan" && view.values("Subnet").is_empty(),
    };
    let is_off = |pair: &&Value<'_>| {
        pair.text.strip_prefix("arp_probe=").is_some_and(|it| it.starts_with(['0', 'f', 'F']))
    };
    if !has_server && let Some(pair) = view.values("Options").iter().find(is_off) {
        let reason = "no address of a DHCP server is probed for on this network".to_owned();
        wrong(&rules::BAD_DRIVER_OPTION, pair, reason, "remove it, or write IPAMDriver=dhcp", findings);
    }
}

/// The interface that a network names.
fn interface(view: &View<'_, '_>, driver: &str, findings: &mut Findings) {
    let named = view.text("InterfaceName");
    if let Some(value) = named.as_ref().filter(|value| !is_interface(&value.text)) {
        let reason = format!("\"{}\" can't be the name of an interface", value.text);
        let help = "write 1 to 15 characters, without blanks, / and :";
        wrong(&rules::BAD_DRIVER, value, reason, help, findings);
    }
    let spelling = if driver == "bridge" { "com.docker.network.bridge.name" } else { "parent" };
    let other = option(view, spelling);
    if let (Some(value), Some(other)) = (&named, &other)
        && value.text != *other
    {
        let reason = format!("Options={spelling}= names another interface, {other}");
        wrong(&rules::BAD_DRIVER, value, reason, "keep one of them", findings);
    }
    if driver == "bridge" && bypasses_host(view) && named.is_none() && other.is_none() {
        let mode = view.values("Options").into_iter().find(|pair| pair.text == "mode=unmanaged");
        let Some(mode) = mode else { return };
        let reason = "mode=unmanaged uses a bridge that is there, and none is named".to_owned();
        wrong(&rules::BAD_DRIVER, &mode, reason, "add InterfaceName= with the bridge's name", findings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_in_a_conjunction() {
        assert_eq!(in_words(&["a", "b", "c"], "or"), "a, b or c");
        assert_eq!(in_words(&["a"], "and"), "a");
    }
}
