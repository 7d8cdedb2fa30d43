//! The units of a container or pod that is started when somebody connects.
//!
//! While it is down, a socket unit has its published ports. A connection starts the service that is to pass it on, and
//! that wants the service of the container or pod and waits for it, and for the pod's containers. While they run, the
//! firewall leads packets to them before the socket sees them; a timer looks whether they have anything to do.

use super::companion::Names;
use super::{Listener, OnDemand};
use crate::command::CommandLine;
use crate::service::Service;
use crate::specifiers::resolve;
use crate::syntax::words;

/// How often it is looked whether a container is idle: often enough to stop it when its time is over, and as seldom as
/// the kernel remembers connections that are over.
const LOOKS: f64 = 5.0;
const MOST_SECONDS: f64 = 30.0;

/// How often the service may be started in ten seconds: more often than the shortest idle time lets it be stopped, and
/// few enough for a container that fails again and again to be given up.
const STARTS: &str = "10";

/// Who is started on demand; names may hold specifiers, `base` is the program with the options before its subcommand.
#[derive(Debug)]
pub(super) enum Woken<'a> {
    Container {
        name: &'a str,
        base: &'a CommandLine,
    },
    /// `members` are the services of the containers that start with it.
    Pod {
        name: &'a str,
        base: &'a CommandLine,
        members: &'a [String],
    },
}

impl Woken<'_> {
    /// What has to be up before anybody is passed on, or found idle.
    fn services(&self, watched: &str) -> String {
        match self {
            Self::Container { .. } => watched.to_owned(),
            Self::Pod { members, .. } => {
                let all: Vec<&str> =
                    [watched].into_iter().chain(members.iter().map(String::as_str)).collect();
                all.join(" ")
            }
        }
    }

    /// `sampan service VERB`, with what tells a pod from a container.
    fn command(&self, verb: &str) -> CommandLine {
        match self {
            Self::Container { base, .. } => base.with(["service", verb]),
            Self::Pod { base, .. } => base.with(["service", verb, "--pod"]),
        }
    }

    fn name(&self, watched: &str) -> String {
        let (Self::Container { name, .. } | Self::Pod { name, .. }) = self;
        resolve(name, watched)
    }

    /// What ends the timer with the service. A pod ends with the last of those that are bound to it, which the timer
    /// therefore isn't, and it has no process that could end by itself.
    fn bond(&self) -> &'static str {
        match self {
            Self::Container { .. } => "BindsTo",
            Self::Pod { .. } => "Requires",
        }
    }

    /// What is put behind the service's name for the units that look whether it is idle. A pod's `-idle` ends it with
    /// its last container.
    fn idle(&self) -> &'static str {
        match self {
            Self::Container { .. } => "-idle",
            Self::Pod { .. } => "-unused",
        }
    }
}

/// The units beside a service, and what it needs to know of them.
pub(super) fn units(service: &mut Service, woken: &Woken<'_>, demand: &OnDemand) -> Vec<Service> {
    let own = service.name.clone();
    let names = Names::of(&own);
    let suffixes: Vec<String> = demand.listeners.iter().enumerate().map(suffix).collect();
    let sockets = sockets(&own, demand);
    let proxies: Vec<String> =
        suffixes.iter().map(|suffix| names.unit(&format!("-proxy{suffix}"), "service")).collect();

    service.add("Unit", "Wants", sockets.join(" "));
    service.add("Unit", "After", sockets.join(" "));
    // Who takes a socket out of service doesn't want its port to be answered any longer.
    service.add("Unit", "PartOf", &sockets[0]);
    service.add("Unit", "Wants", proxies.join(" "));
    // Also where it ends by itself: they lead to an address that others may have then.
    service.add("Unit", "PropagatesStopTo", proxies.join(" "));

    starts_often(service);

    let mut units = Vec::new();
    for (listener, suffix) in demand.listeners.iter().zip(&suffixes) {
        units.push(socket(&names, listener, suffix));
        units.push(proxy(&names, woken, listener, suffix));
    }
    let install = service.take_section("Install");
    if let Some(first) = units.first_mut() {
        for other in &sockets[1..] {
            first.add("Unit", "Requires", other);
            first.add("Unit", "After", other);
        }
        for (key, value) in install {
            match key.as_str() {
                "Alias" => service.add("Install", &key, value),
                _ => first.add("Install", &key, value),
            }
        }
    }
    if let Some(timeout) = demand.timeout {
        service.add("Unit", "Wants", names.unit(woken.idle(), "timer"));
        units.push(timer(&names, woken, timeout));
        units.push(look(&names, woken, timeout, &sockets, &proxies));
    }
    units
}

/// Five starts in ten seconds, systemd's own bound, are no sign of trouble here.
pub(super) fn starts_often(service: &mut Service) {
    service.set_default("Unit", "StartLimitBurst", STARTS);
}

/// The socket units of a service, as others refer to them.
pub(super) fn sockets(service: &str, demand: &OnDemand) -> Vec<String> {
    let names = Names::of(service);
    demand.listeners.iter().enumerate().map(|listener| names.unit(&suffix(listener), "socket")).collect()
}

/// The first port's units have the service's own name.
fn suffix((at, listener): (usize, &Listener)) -> String {
    if at == 0 { String::new() } else { format!("-{}", listener.port.replace('%', "")) }
}

fn socket(names: &Names<'_>, listener: &Listener, suffix: &str) -> Service {
    let watched = names.watched();
    let mut socket = Service::new(names.file(suffix, "socket"));
    socket.add("Unit", "Description", format!("Port {} of {watched}, started on demand", listener.port));
    if !suffix.is_empty() {
        socket.add("Unit", "PartOf", names.unit("", "socket"));
    }
    for listen in &listener.listen {
        socket.add("Socket", "ListenStream", listen);
    }
    socket.add("Socket", "Service", names.unit(&format!("-proxy{suffix}"), "service"));
    if listener.listen.iter().any(|listen| listen.contains(':')) {
        // An address that the host gets later must not keep it from booting.
        socket.add("Socket", "FreeBind", "yes");
    }
    socket
}

/// What passes on the connections that came while there was nobody to take them.
fn proxy(names: &Names<'_>, woken: &Woken<'_>, listener: &Listener, suffix: &str) -> Service {
    let watched = names.watched();
    let mut proxy = Service::new(names.file(&format!("-proxy{suffix}"), "service"));
    proxy.add(
        "Unit",
        "Description",
        format!("Connections that waited for port {} of {watched}", listener.port),
    );
    // Not Requires=: where it can't be started, somebody has to send its clients away.
    proxy.add("Unit", "Wants", watched.as_str());
    proxy.add("Unit", "After", woken.services(&watched));
    proxy.add("Unit", "StartLimitIntervalSec", "0");
    proxy.add("Service", "SyslogIdentifier", words::quote(watched.trim_end_matches(".service")));
    proxy.add("Service", "LogLevelMax", "notice");
    proxy.add("Service", "SyslogLevel", "notice");
    let mut command = woken.command("forward");
    command.words([woken.name(&watched), resolve(&listener.port, &watched)]);
    proxy.add("Service", "ExecStart", command.value());
    proxy
}

fn timer(names: &Names<'_>, woken: &Woken<'_>, timeout: f64) -> Service {
    let watched = names.watched();
    let interval = (timeout / LOOKS).clamp(1.0, MOST_SECONDS);
    let mut timer = Service::new(names.file(woken.idle(), "timer"));
    timer.add("Unit", "Description", format!("Timer that stops {watched} when it is idle"));
    timer.add("Unit", woken.bond(), watched.as_str());
    timer.add("Unit", "After", woken.services(&watched));
    timer.add("Timer", "OnActiveSec", format!("{interval}s"));
    timer.add("Timer", "OnUnitActiveSec", format!("{interval}s"));
    timer.add("Timer", "AccuracySec", if interval < 10.0 { "100ms" } else { "1s" });
    timer.add("Timer", "Unit", names.unit(woken.idle(), "service"));
    timer
}

fn look(
    names: &Names<'_>,
    woken: &Woken<'_>,
    timeout: f64,
    sockets: &[String],
    proxies: &[String],
) -> Service {
    let watched = names.watched();
    let mut look = Service::new(names.file(woken.idle(), "service"));
    look.add("Unit", "Description", format!("Look whether {watched} is idle"));
    // Not Requisite=: that would end it with the service that it stops, and nobody may be led there until then.
    look.add("Unit", "After", watched.as_str());
    look.add("Unit", "StartLimitIntervalSec", "0");
    look.add("Service", "Type", "oneshot");
    look.add("Service", "SyslogIdentifier", words::quote(watched.trim_end_matches(".service")));
    // Keeps out systemd's own lines about each start.
    look.add("Service", "LogLevelMax", "notice");
    look.add("Service", "SyslogLevel", "notice");
    let mut command = woken.command("idle");
    command.flag("--timeout", format!("{timeout}s"));
    sockets.iter().for_each(|socket| command.flag("--socket", socket));
    proxies.iter().for_each(|proxy| command.flag("--proxy", proxy));
    command.word(woken.name(&watched));
    look.add("Service", "ExecStart", command.value());
    look
}
