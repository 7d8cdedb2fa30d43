//! Networks that come to running containers, and go.

mod host;

use std::os::fd::AsFd;

use host::{Container, Host, address, get, is_closed, on};
use sampan_network::{Config, Lease, Request, Subnet};

fn make(host: &Host, name: &str, subnet: &str, internal: bool) {
    let config = Config {
        name: name.to_owned(),
        subnets: vec![subnet.parse::<Subnet>().unwrap().into()],
        internal,
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
}

fn connect(host: &Host, container: &Container, request: &Request) -> Lease {
    host.networks.connect(&container.holder.id, request, container.netns.as_fd()).unwrap()
}

fn disconnect(host: &Host, container: &Container, network: &str) -> Lease {
    host.networks.disconnect(&container.holder.id, network, Some(container.netns.as_fd())).unwrap()
}

fn interfaces(container: &Container) -> Vec<String> {
    let text = container.run(|| host::command("ip", &["-br", "link"]));
    let names = text.lines().filter_map(|line| line.split(['@', ' ']).next());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("eth")).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_network_more_and_one_less() {
    let Some(host) = Host::new() else { return };
    make(&host, "a", "10.50.1.0/24", false);
    make(&host, "b", "10.50.2.0/24", true);
    let (one, _) = host.start("one", &[on("a")], &["8080:80"]);
    let (two, _) = host.start("two", &[on("b")], &[]);
    one.serve(80);
    two.serve(80);
    assert!(one.is_kept_from("10.50.2.2:80"));
    let request = Request {
        ip: Some("10.50.2.77".parse().unwrap()),
        mac: Some("02:11:22:33:44:55".to_owned()),
        aliases: vec!["uno".to_owned()],
        ..on("b")
    };
    let lease = connect(&host, &one, &request);
    assert_eq!(lease.attachments.len(), 2);
    assert_eq!(lease, host.networks.lease(&one.holder.id).unwrap().unwrap());
    assert!(one.get("10.50.2.2:80").is_some_and(|text| text.ends_with("10.50.2.77")));
    let link = one.run(|| host::command("ip", &["link", "show", "eth1"]));
    assert!(link.contains("02:11:22:33:44:55"), "{link}");
    if !lease.dns_servers.is_empty() {
        let names = ["one", "uno"].map(|name| host::resolve("10.50.2.1".parse().unwrap(), name));
        assert_eq!(names, [["10.50.2.77".parse::<std::net::IpAddr>().unwrap()]; 2]);
    }
    let error = host.networks.connect(&one.holder.id, &on("b"), one.netns.as_fd()).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
    // The refused one has taken nothing away.
    assert!(one.get("10.50.2.2:80").is_some());

    // The ports follow to what is left.
    let lease = disconnect(&host, &one, "a");
    assert_eq!(lease.attachments.len(), 1);
    assert_eq!(interfaces(&one), ["eth1"]);
    assert_eq!(host.networks.holders("a").unwrap(), [""; 0]);
    assert!(get("127.0.0.1:8080").is_some(), "published by the other network");
    let lease = connect(&host, &one, &on("a"));
    assert_eq!(interfaces(&one), ["eth0", "eth1"]);
    assert!(get(&format!("{}:80", lease.attachments[1].addresses[0].address)).is_some());
    assert!(get("127.0.0.1:8080").is_some());

    disconnect(&host, &one, "b");
    let error = host.networks.disconnect(&one.holder.id, "b", None).unwrap_err().to_string();
    assert!(error.contains("\"one\" is not connected"), "{error}");
    assert!(one.is_kept_from("10.50.2.2:80"));
    for container in [&one, &two] {
        host.networks.release(&container.holder.id).unwrap();
    }
    assert_nothing_left(&host);
}

#[test]
fn what_fails_leaves_the_container_as_it_was() {
    let Some(host) = Host::new() else { return };
    make(&host, "a", "10.50.1.0/24", false);
    make(&host, "b", "10.50.2.0/30", false);
    let (one, lease) = host.start("one", &[on("a")], &[]);
    let (two, _) = host.start("two", &[on("b")], &[]);
    // No address, an interface that is taken, a network that doesn't exist, a container without one.
    let taken = Request { interface: Some("eth0".to_owned()), ..on("b") };
    for request in [on("b"), taken, on("c")] {
        host.networks.connect(&one.holder.id, &request, one.netns.as_fd()).unwrap_err();
    }
    host.networks.release(&two.holder.id).unwrap();
    one.run(|| host::ip("link add eth1 type bridge"));
    host.networks.connect(&one.holder.id, &on("b"), one.netns.as_fd()).unwrap_err();
    assert_eq!(host.networks.lease(&one.holder.id).unwrap().unwrap(), lease);
    assert!(host.networks.holders("b").unwrap().is_empty());
    let error = host.networks.connect(&two.holder.id, &on("a"), two.netns.as_fd()).unwrap_err().to_string();
    assert!(error.contains("no network of ours"), "{error}");
    assert!(is_closed(&format!("{}:1", address(&lease))));
    host.networks.release(&one.holder.id).unwrap();
    assert_nothing_left(&host);
}

fn assert_nothing_left(host: &Host) {
    let traces = host.traces();
    for word in ["veth", "sampan1", "sampan2", "elements = {", "/leases/", "/ports/", "/addresses/"] {
        let found: Vec<&str> = traces.lines().filter(|line| line.contains(word)).collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
}
