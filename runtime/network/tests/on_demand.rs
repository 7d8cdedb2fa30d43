//! Published ports that a socket of the host has while the container isn't there.

mod host;

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use host::{Host, on, parse};
use sampan_network::{DEFAULT_NETWORK, Error};

const ON_HOST: &str = "192.0.2.1:8080";

/// Who answers the neighbour.
fn answers(neighbour: &host::Container) -> String {
    let said = neighbour.get(ON_HOST).unwrap_or_default();
    said.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_port_leads_to_the_container_only_while_it_is_published() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let socket = TcpListener::bind("[::]:8080").unwrap();
    thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            let _ = write!(stream, "socket answers");
        }
    });
    let web = host.container("web");
    let (requests, ports) = ([on(DEFAULT_NETWORK)], parse(&["8080:80", "8081-8082:81-82"]));
    let refused = host.networks.reserve(&web.holder, &requests, &ports).unwrap_err();
    assert!(matches!(refused, Error::PortInUse { port: 8080, .. }), "{refused}");
    // A socket elsewhere is no reason to take this one's port.
    let other = ["127.0.0.1:8080".parse().unwrap()];
    host.networks.reserve_on_demand(&web.holder, &requests, &ports, &other).unwrap_err();
    let held = ["[::]:8080".parse().unwrap()];
    let lease = host.networks.reserve_on_demand(&web.holder, &requests, &ports, &held).unwrap();
    host.networks.attach(&lease, web.netns.as_fd()).unwrap();
    let id = &web.holder.id;
    assert_eq!(host.networks.quiet_for(&lease).unwrap(), None);
    assert_eq!(answers(&neighbour), "socket");

    web.serve(80);
    host.networks.publish(id, Some(81)).unwrap();
    assert_eq!(answers(&neighbour), "socket", "another port was published");
    host.networks.publish(id, Some(80)).unwrap();
    assert_eq!(neighbour.get(ON_HOST).unwrap(), "web sees 192.0.2.9");
    host.networks.reload_firewall().unwrap();
    assert_eq!(answers(&neighbour), "web");
    let quiet = host.networks.quiet_for(&lease).unwrap();
    assert!(quiet.is_some_and(|quiet| quiet <= Duration::from_secs(60)), "{quiet:?}");

    host.networks.withdraw(id).unwrap();
    assert_eq!(answers(&neighbour), "socket");
    // The table that is loaded anew leads nowhere either.
    host.networks.reload_firewall().unwrap();
    assert_eq!(answers(&neighbour), "socket");
    host.networks.publish(id, None).unwrap();
    assert_eq!(answers(&neighbour), "web");
    host.networks.release(id).unwrap();
    assert_eq!(answers(&neighbour), "socket");
    assert!(!host.traces().contains("elements"), "{}", host.traces());
}

/// Whoever withdraws a port writes that down first. If it is killed there, the port must go with the container.
#[test]
fn a_release_removes_what_a_killed_withdrawal_left() {
    let Some(host) = Host::new() else { return };
    let (web, lease) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    let path = host.directory().join(format!("run/network/leases/{}.json", web.holder.id));
    let mut written = serde_json::to_value(&lease).unwrap();
    written["withheld"] = written["ports"].clone();
    std::fs::write(&path, written.to_string()).unwrap();
    host.networks.release(&web.holder.id).unwrap();
    assert!(!host.traces().contains("elements"), "{}", host.traces());
}
