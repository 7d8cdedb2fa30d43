//! The options of drivers (`Options=`, `--opt`): one table, one line for each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::driver::Driver::{self, Bridge, Ipvlan, Macvlan};
use crate::error::{Error, Result};

/// The options of a network's driver (podman-network-create(1), "--opt").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Options {
    /// The largest packet, in bytes, of the network's interfaces; absent means what
    /// the parent interface carries, and for a bridge 1500, or less if the host's way
    /// out carries less.
    pub mtu: Option<u32>,
    /// Which other networks are kept away.
    pub isolate: Isolate,
    /// The metric of the default route; absent means one by the network's place.
    pub metric: Option<u32>,
    /// Give containers no default route.
    pub no_default_route: bool,
    /// Don't ask the link whether somebody has an address that a DHCP server grants.
    pub no_arp_probe: bool,
    /// The VLAN of the containers' ports on the bridge.
    pub vlan: Option<u16>,
    /// The VRF that the bridge is a part of.
    pub vrf: Option<String>,
    /// How the driver works, where it knows several ways.
    pub mode: Option<Mode>,
    /// From how many receivers on a macvlan interface hands broadcasts to a thread;
    /// negative means never.
    pub bclim: Option<i32>,
    /// The interface of the host that the containers' interfaces are on.
    pub parent: Option<String>,
    /// The name of the bridge, in Docker's spelling.
    pub bridge_name: Option<String>,
}

/// How a network is kept from other networks of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolate {
    /// Not at all: packets are routed between networks.
    #[default]
    No,
    /// From each other isolated network.
    Isolated,
    /// From each other network.
    Strict,
}

/// The ways of working that drivers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The bridge is ours: made, addressed and removed.
    Managed,
    /// The bridge is somebody else's, and left as it is.
    Unmanaged,
    /// macvlan: containers of one parent reach each other directly.
    Bridge,
    /// macvlan: they never reach each other.
    Private,
    /// macvlan: they reach each other by the switch beyond the parent.
    Vepa,
    /// macvlan: the parent belongs to a single container.
    Passthru,
    /// ipvlan: the parent is a switch.
    L2,
    /// ipvlan: the parent is a router, without broadcasts.
    L3,
    /// ipvlan: the same, and the host's connection tracking sees the packets.
    L3s,
}

impl Mode {
    const ALL: [(&'static str, Self, Driver); 9] = [
        ("managed", Self::Managed, Bridge),
        ("unmanaged", Self::Unmanaged, Bridge),
        ("bridge", Self::Bridge, Macvlan),
        ("private", Self::Private, Macvlan),
        ("vepa", Self::Vepa, Macvlan),
        ("passthru", Self::Passthru, Macvlan),
        ("l2", Self::L2, Ipvlan),
        ("l3", Self::L3, Ipvlan),
        ("l3s", Self::L3s, Ipvlan),
    ];

    /// The mode of this name.
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, ..)| *known == name).map(|(_, mode, _)| *mode)
    }

    /// The modes that a driver knows, in words.
    fn of(driver: Driver) -> String {
        let names = Self::ALL.iter().filter(|(_, _, of)| *of == driver).map(|(name, ..)| *name);
        names.collect::<Vec<_>>().join(", ")
    }

    fn driver(self) -> Option<Driver> {
        Self::ALL.iter().find(|(_, mode, _)| *mode == self).map(|(_, _, driver)| *driver)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, mode, _)| mode == self).map(|(name, ..)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// All that there is to know of one option.
struct Spec {
    name: &'static str,
    /// Docker's spelling.
    docker: &'static str,
    drivers: &'static [Driver],
    /// What its value is, for the message about one that isn't.
    expected: &'static str,
    /// Sets it, if the value is right.
    set: fn(&mut Options, &str) -> Option<()>,
    /// Its value, if it differs from the default.
    get: fn(&Options) -> Option<String>,
}

const EVERY: &[Driver] = &Driver::ALL;
const PARENT: &[Driver] = &[Macvlan, Ipvlan];

const TABLE: [Spec; 11] = [
    Spec {
        name: "mtu",
        docker: "com.docker.network.driver.mtu",
        drivers: EVERY,
        expected: "an MTU is 68 to 65535 bytes",
        set: |options, value| {
            options.mtu = Some(value.parse().ok().filter(|mtu| (68..=65535).contains(mtu))?);
            Some(())
        },
        get: |options| options.mtu.map(|mtu| mtu.to_string()),
    },
    Spec {
        name: "isolate",
        docker: "",
        drivers: &[Bridge],
        expected: "expected true, false or strict",
        set: |options, value| {
            options.isolate = match value {
                "strict" => Isolate::Strict,
                _ if boolean(value)? => Isolate::Isolated,
                _ => Isolate::No,
            };
            Some(())
        },
        get: |options| match options.isolate {
            Isolate::No => None,
            Isolate::Isolated => Some("true".to_owned()),
            Isolate::Strict => Some("strict".to_owned()),
        },
    },
    Spec {
        name: "metric",
        docker: "",
        drivers: EVERY,
        expected: "a metric is a number",
        set: |options, value| {
            options.metric = Some(value.parse().ok()?);
            Some(())
        },
        get: |options| options.metric.map(|metric| metric.to_string()),
    },
    Spec {
        name: "no_default_route",
        docker: "",
        drivers: EVERY,
        expected: "expected true or false",
        set: |options, value| {
            options.no_default_route = boolean(value)?;
            Some(())
        },
        get: |options| options.no_default_route.then(|| "true".to_owned()),
    },
    Spec {
        name: "arp_probe",
        docker: "",
        drivers: EVERY,
        expected: "expected true or false",
        set: |options, value| {
            options.no_arp_probe = !boolean(value)?;
            Some(())
        },
        get: |options| options.no_arp_probe.then(|| "false".to_owned()),
    },
    Spec {
        name: "vlan",
        docker: "",
        drivers: &[Bridge],
        expected: "a VLAN is 1 to 4094",
        set: |options, value| {
            options.vlan = Some(value.parse().ok().filter(|vlan| (1..=4094).contains(vlan))?);
            Some(())
        },
        get: |options| options.vlan.map(|vlan| vlan.to_string()),
    },
    Spec {
        name: "vrf",
        docker: "",
        drivers: &[Bridge],
        expected: "expected the name of a VRF of the host",
        set: |options, value| set_name(&mut options.vrf, value),
        get: |options| options.vrf.clone(),
    },
    Spec {
        name: "mode",
        docker: "",
        drivers: EVERY,
        expected: "there is no such mode",
        set: |options, value| {
            options.mode = Some(Mode::parse(value)?);
            Some(())
        },
        get: |options| options.mode.map(|mode| mode.to_string()),
    },
    Spec {
        name: "bclim",
        docker: "",
        drivers: &[Macvlan],
        expected: "expected a number of receivers, -1 for no limit",
        set: |options, value| {
            options.bclim = Some(value.parse().ok()?);
            Some(())
        },
        get: |options| options.bclim.map(|bclim| bclim.to_string()),
    },
    Spec {
        name: "parent",
        docker: "",
        drivers: PARENT,
        expected: "expected the name of an interface of the host",
        set: |options, value| set_name(&mut options.parent, value),
        get: |options| options.parent.clone(),
    },
    Spec {
        name: "com.docker.network.bridge.name",
        docker: "",
        drivers: &[Bridge],
        expected: "expected the name of the bridge",
        set: |options, value| set_name(&mut options.bridge_name, value),
        get: |options| options.bridge_name.clone(),
    },
];

impl Options {
    /// Sets one option as `--opt NAME=VALUE` spells it; Docker's spellings
    /// (`com.docker.network.driver.mtu`) are known too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an option that the driver doesn't have, or a value of the
    /// wrong kind; it names what the driver has.
    pub fn set(&mut self, driver: Driver, name: &str, value: &str) -> Result<()> {
        let invalid =
            |why: String| Error::Invalid { what: "network option", value: format!("{name}={value}"), why };
        if name == "com.docker.network.bridge.enable_icc" {
            let why = "containers of one bridge always reach each other; use one network per group";
            return Err(invalid(why.to_owned()));
        }
        let spec = find(name).filter(|spec| spec.drivers.contains(&driver)).ok_or_else(|| {
            let elsewhere = find(name).map_or_else(String::new, |spec| {
                let drivers: Vec<_> = spec.drivers.iter().map(|driver| driver.name()).collect();
                format!("it is an option of {}; ", drivers.join(" and "))
            });
            invalid(format!("{elsewhere}the driver {driver} knows {}", known(driver)))
        })?;
        if (spec.set)(self, value).is_none() {
            return Err(invalid(match spec.name {
                "mode" => format!("the modes of {driver} are {}", Mode::of(driver)),
                _ => spec.expected.to_owned(),
            }));
        }
        match self.mode.filter(|mode| mode.driver() != Some(driver)) {
            None => Ok(()),
            Some(_) => Err(invalid(format!("the modes of {driver} are {}", Mode::of(driver)))),
        }
    }
}

fn find(name: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.name == name || (!spec.docker.is_empty() && spec.docker == name))
}

/// The options of a driver, in words.
fn known(driver: Driver) -> String {
    let specs = TABLE.iter().filter(|spec| spec.drivers.contains(&driver));
    specs.map(|spec| spec.name).collect::<Vec<_>>().join(", ")
}

fn set_name(option: &mut Option<String>, value: &str) -> Option<()> {
    *option = Some(value.to_owned()).filter(|value| !value.is_empty());
    option.is_some().then_some(())
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl TryFrom<BTreeMap<String, String>> for Options {
    type Error = Error;

    /// Reads them back from a network's file, where they have been checked before.
    fn try_from(map: BTreeMap<String, String>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in &map {
            if find(name).and_then(|spec| (spec.set)(&mut options, value)).is_none() {
                return Err(Error::Invalid {
                    what: "network option",
                    value: format!("{name}={value}"),
                    why: "no driver has such an option".to_owned(),
                });
            }
        }
        Ok(options)
    }
}

impl From<Options> for BTreeMap<String, String> {
    fn from(options: Options) -> Self {
        TABLE.iter().filter_map(|spec| Some((spec.name.to_owned(), (spec.get)(&options)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(driver: Driver, pairs: &[(&str, &str)]) -> Result<Options> {
        let mut options = Options::default();
        pairs.iter().try_for_each(|(name, value)| options.set(driver, name, value))?;
        Ok(options)
    }

    #[test]
    fn options_round_trip_through_their_spelling() {
        let options =
            with(Bridge, &[("com.docker.network.driver.mtu", "9000"), ("isolate", "strict")]).unwrap();
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(json, r#"{"isolate":"strict","mtu":"9000"}"#);
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
        let options = with(
            Macvlan,
            &[
                ("mode", "vepa"),
                ("bclim", "-1"),
                ("parent", "eth1"),
                ("metric", "5"),
                ("no_default_route", "1"),
                ("arp_probe", "0"),
            ],
        )
        .unwrap();
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options, "{json}");
        let options = with(Bridge, &[("vlan", "7"), ("vrf", "red"), ("mode", "unmanaged")]).unwrap();
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options, "{json}");
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        let wrong = |driver, name, value| with(driver, &[(name, value)]).unwrap_err().to_string();
        let text = wrong(Bridge, "mtu", "12");
        assert!(text.contains("mtu=12") && text.contains("68"), "{text}");
        assert!(wrong(Bridge, "isolate", "maybe").contains("strict"));
        assert!(wrong(Bridge, "vlan", "4095").contains("4094"));
        assert!(wrong(Bridge, "vlan", "0").contains("4094"));
        assert!(wrong(Macvlan, "parent", "").contains("interface"));
        let text = wrong(Ipvlan, "bclim", "3");
        assert!(text.contains("option of macvlan") && text.contains("knows mtu, metric"), "{text}");
        let text = wrong(Bridge, "colour", "red");
        assert!(
            text.contains("the driver bridge knows mtu, isolate") && !text.contains("option of"),
            "{text}"
        );
    }

    #[test]
    fn each_driver_has_modes_of_its_own() {
        for (name, _, driver) in Mode::ALL {
            assert_eq!(with(driver, &[("mode", name)]).unwrap().mode.unwrap().to_string(), name);
        }
        let text = with(Ipvlan, &[("mode", "bridge")]).unwrap_err().to_string();
        assert!(text.contains("l2, l3, l3s"), "{text}");
        let text = with(Macvlan, &[("mode", "x")]).unwrap_err().to_string();
        assert!(text.contains("bridge, private, vepa, passthru"), "{text}");
    }
}
