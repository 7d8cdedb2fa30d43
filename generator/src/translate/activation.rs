//! Containers and pods that are started when somebody connects to a published port.

use super::Translator;
use super::read::Argument;
use crate::book::ON_DEMAND;
use crate::command::CommandLine;
use crate::diagnostic::{Rule, Severity, rules};
use crate::engine::{Engine, Listener, OnDemand};
use crate::keys::{Key, UnitType};
use crate::syntax::values;

/// How long a container or pod may have nothing to do unless `IdleTimeout=` says otherwise, in seconds.
const IDLE_TIMEOUT: f64 = 300.0;

/// Each port takes units of its own.
const MOST_PORTS: usize = 32;

/// What is wrong with a port, and what to do.
type Mistake = (String, &'static str);

/// Why no connection could start it, and what to do.
pub(super) type Obstacle = (&'static str, &'static str);

/// The keys of a kind of file that say how it is started on demand.
#[derive(Debug)]
pub(super) struct DemandKeys {
    pub(super) activation: &'static Key,
    pub(super) idle_timeout: &'static Key,
    pub(super) publish_port: &'static Key,
    pub(super) network: &'static Key,
}

impl Translator<'_> {
    /// What waits for clients while the container or pod doesn't run, if it is started on demand.
    pub(super) fn on_demand(&mut self, keys: &DemandKeys, obstacle: Option<Obstacle>) -> Option<OnDemand> {
        if self.engine() == Engine::Podman {
            return None;
        }
        let timeout = self.idle_timeout(keys.idle_timeout);
        if self.text(keys.activation) != Some(ON_DEMAND) {
            if self.last(keys.idle_timeout).is_some() {
                self.fail_at(
                    &rules::MISSING_COMPANION,
                    keys.idle_timeout,
                    "IdleTimeout= is set without Activation=on-demand",
                    format!(
                        "add Activation=on-demand: a {} that nothing starts again isn't stopped",
                        self.noun()
                    ),
                );
            }
            return None;
        }
        self.refuse_on_demand(keys, obstacle);
        let mut listeners = Vec::new();
        for port in self.list(keys.publish_port) {
            if let Err((reason, help)) = add(&port.text, &mut listeners) {
                self.refuse_port(&port, &rules::ON_DEMAND, reason, help);
            }
        }
        Some(OnDemand { timeout, listeners })
    }

    /// Names the sockets that wait for clients to whoever reserves the ports.
    pub(super) fn sockets(&self, demand: Option<&OnDemand>, command: &mut CommandLine) {
        let Some(demand) = demand else { return };
        let sockets = self.engine().sockets(&self.service, demand);
        sockets.iter().for_each(|socket| command.flag("--on-demand", socket));
    }

    fn noun(&self) -> &'static str {
        if self.unit.kind == UnitType::Pod { "pod" } else { "container" }
    }

    fn idle_timeout(&mut self, key: &Key) -> Option<f64> {
        let Some(text) = self.text(key) else { return Some(IDLE_TIMEOUT) };
        match values::time_span(text) {
            Some(seconds) if seconds >= 1.0 => Some(seconds).filter(|seconds| seconds.is_finite()),
            Some(0.0) => None,
            found => {
                let reason = match found {
                    Some(_) => format!("IdleTimeout={text} is shorter than a second"),
                    None => format!("IdleTimeout= is no time span: \"{text}\""),
                };
                let help = "write a time span such as 5min or 1h 30min, or infinity for never";
                self.fail_at(&rules::BAD_DURATION, key, reason, help);
                None
            }
        }
    }

    /// Combinations in which no connection could start the container, or none could reach it.
    fn refuse_on_demand(&mut self, keys: &DemandKeys, obstacle: Option<Obstacle>) {
        let alone = ["host", "none", "ns:", "container:"];
        let no_bridge = |network: &Argument<'_>| {
            let text = network.text.as_ref();
            alone.iter().any(|mode| text == *mode || mode.ends_with(':') && text.starts_with(mode))
                || text.ends_with(".container")
        };
        let network = self.list(keys.network).into_iter().find(no_bridge);
        let (reason, help) = match (obstacle, network, self.unit.kind) {
            (Some(obstacle), ..) => obstacle,
            (_, Some(_), UnitType::Pod) => {
                ("a pod with this Network= publishes no port", "give the pod a network of its own")
            }
            (_, Some(_), _) => (
                "a container with this Network= publishes no port",
                "give it a network of its own; a .socket unit can start it too, and passes its sockets on",
            ),
            _ if self.list(keys.publish_port).is_empty() => {
                ("no port is published", "add PublishPort= with the port that clients connect to")
            }
            _ => return,
        };
        let reason = format!("Activation=on-demand waits for connections to published ports, but {reason}");
        self.fail_at(&rules::ON_DEMAND, keys.activation, reason, help);
    }

    fn refuse_port(&mut self, port: &Argument<'_>, rule: &'static Rule, reason: String, help: &str) {
        let diagnostic = port.place.diagnose(rule, Severity::Error, reason);
        self.note(diagnostic.help(help));
    }
}

/// Adds where connections to a published port are waited for.
fn add(text: &str, listeners: &mut Vec<Listener>) -> Result<(), Mistake> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !protocol.eq_ignore_ascii_case("tcp") {
        return Err((
            format!("{text}: only TCP ports can wait for clients"),
            "publish TCP ports only, or remove Activation=: a datagram can't be passed on to a container with its sender",
        ));
    }
    let fixed = "write ADDRESS:HOSTPORT:CONTAINERPORT or HOSTPORT:CONTAINERPORT";
    if ports.contains('$') {
        return Err((format!("{text}: systemd resolves no variables in a socket's address"), fixed));
    }
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, host) = match host.rsplit_once(':') {
        Some((address, host)) => (format!("{address}:"), host),
        None => (String::new(), host),
    };
    if matches!(host, "" | "0") {
        return Err((format!("{text}: nobody could know the port of the host before it runs"), fixed));
    }
    let rows = (row(host), row(container));
    let (Some(hosts), Some(containers)) = rows else {
        return Err((format!("{text}: the ports are no numbers"), fixed));
    };
    for (host, container) in hosts.into_iter().zip(containers) {
        let listen = format!("{address}{host}");
        match listeners.iter().position(|listener| listener.port == container) {
            Some(at) => listeners[at].listen.push(listen),
            None if listeners.len() == MOST_PORTS => {
                let reason = format!("{text}: more than {MOST_PORTS} ports that are waited for on demand");
                return Err((reason, "publish fewer ports: each of them takes units of its own"));
            }
            None => listeners.push(Listener { listen: vec![listen], port: container }),
        }
    }
    Ok(())
}

/// The ports of `PORT` or `FIRST-LAST`; one with a specifier stands for itself.
fn row(text: &str) -> Option<Vec<String>> {
    if text.contains('%') {
        return Some(vec![text.to_owned()]);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?;
    Some(ports.take(MOST_PORTS + 1).map(|port| port.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_become_sockets() {
        let mut listeners = Vec::new();
        for text in ["8080:80", "127.0.0.1:8443:443/TCP", "[fd00::1]:81:80", "9000-9001:90-91", "80%i:7"] {
            add(text, &mut listeners).unwrap();
        }
        let shown: Vec<_> = listeners.iter().map(|l| (l.port.as_str(), l.listen.join(" "))).collect();
        let expected = [
            ("80", "8080 [fd00::1]:81"),
            ("443", "127.0.0.1:8443"),
            ("90", "9000"),
            ("91", "9001"),
            ("7", "80%i"),
        ];
        assert_eq!(shown, expected.map(|(port, listen)| (port, listen.to_owned())));
    }

    #[test]
    fn what_cannot_wait_is_refused() {
        for text in ["80", ":80", "0:80", "127.0.0.1::80", "53:53/udp", "${PORT}:80", "1-60:1-60"] {
            assert!(add(text, &mut Vec::new()).is_err(), "{text}");
        }
    }
}
