//! Bridges that tell VLANs apart, and bridges that are in a VRF.

mod host;

use std::os::fd::AsFd;

use host::{Host, command, container, get, has, ip, is_closed, on, parse};
use sampan_network::{Config, Driver, LeaseRange, Subnet, SubnetConfig};

/// A network of the driver bridge.
fn bridge(name: &str, options: &[(&str, &str)]) -> Config {
    let mut config = Config { name: name.to_owned(), disable_dns: true, ..Config::default() };
    options.iter().for_each(|(name, value)| config.options.set(Driver::Bridge, name, value).unwrap());
    config
}

#[test]
fn vlan_and_vrf_work_or_say_what_is_missing() {
    let Some(host) = Host::new() else { return };
    let start = |option: &str, value: &str| {
        host.networks.create(&bridge(option, &[(option, value)]), false).unwrap();
        let one = container("one");
        let lease = host.networks.reserve(&one.holder, &[on(option)], &parse(&["8080:80"])).unwrap();
        let attached = host.networks.attach(&lease, one.netns.as_fd());
        one.serve(80);
        attached.map(|()| get("127.0.0.1:8080"))
    };
    match start("vlan", "7") {
        Ok(answer) => assert!(answer.is_some()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("vlan=7") && text.contains("VLAN_FILTERING"), "{text}");
        }
    }
    let text = start("vrf", "red").unwrap_err().to_string();
    assert!(text.contains("no VRF red") && text.contains("\"vrf\""), "{text}");
}

#[test]
fn vlans_of_one_bridge_are_apart() {
    let Some(host) = Host::new() else { return };
    if !has("bridges that filter VLANs", "type bridge vlan_filtering 1") {
        return;
    }
    ip("link add name br0 type bridge vlan_filtering 1");
    ip("addr add 192.0.2.1/24 dev br0");
    ip("link set br0 up");
    let before = command("bridge", &["vlan", "show", "dev", "br0"]);
    let start = |network: &str, vlan: &str, range: &str, name: &str| {
        let mut config = bridge(network, &[("mode", "unmanaged"), ("vlan", vlan)]);
        config.interface = Some("br0".to_owned());
        config.subnets = vec![SubnetConfig {
            lease_range: Some(LeaseRange::parse(range).unwrap()),
            .."192.0.2.0/24".parse::<Subnet>().unwrap().into()
        }];
        host.networks.create(&config, true).unwrap();
        let (container, lease) = host.start(name, &[on(network)], &[]);
        container.serve(80);
        (container, lease.attachments[0].host_interface.clone())
    };
    let (one, port) = start("seven", "7", "192.0.2.10-192.0.2.19", "one");
    let (_two, _) = start("seven", "7", "192.0.2.10-192.0.2.19", "two");
    let (other, _) = start("eight", "8", "192.0.2.20-192.0.2.29", "other");
    assert_eq!(one.get("192.0.2.11:80").as_deref(), Some("two sees 192.0.2.10"));
    assert!(one.is_kept_from("192.0.2.20:80"));
    assert!(other.is_kept_from("192.0.2.10:80"));
    assert!(is_closed("192.0.2.10:80"), "the bridge itself is in VLAN 1");
    let vlans = command("bridge", &["vlan", "show", "dev", &port]);
    assert!(vlans.contains("7 PVID Egress Untagged") && !vlans.contains(" 1 "), "{vlans}");
    assert_eq!(
        command("bridge", &["vlan", "show", "dev", "br0"]),
        before,
        "nothing of the bridge is changed"
    );

    ip("link set br0 type bridge vlan_filtering 0");
    let lease = host.networks.reserve(&container("late").holder, &[on("seven")], &[]).unwrap();
    let late = container("late");
    let text = host.networks.attach(&lease, late.netns.as_fd()).unwrap_err().to_string();
    assert!(text.contains("br0") && text.contains("vlan_filtering 1"), "{text}");
}

#[test]
fn a_bridge_of_ours_can_be_in_a_vlan_and_in_a_vrf() {
    let Some(host) = Host::new() else { return };
    let filters = "type bridge vlan_filtering 1";
    if !has("bridges that filter VLANs", filters) || !has("VRFs", "type vrf table 9") {
        return;
    }
    ip("link add name red type vrf table 10");
    ip("link set red up");
    let config =
        |name: &str, options: &[(&str, &str)]| host.networks.create(&bridge(name, options), false).unwrap();
    let tagged = config("tagged", &[("vlan", "7")]);
    let (one, lease) = host.start("one", &[on("tagged")], &["8080:80"]);
    one.serve(80);
    assert!(get("127.0.0.1:8080").is_some(), "the host is in the VLAN of its bridge");
    for device in [&tagged.network_interface, &lease.attachments[0].host_interface] {
        let vlans = command("bridge", &["vlan", "show", "dev", device]);
        assert!(vlans.contains("7 PVID Egress Untagged") && !vlans.contains(" 1 "), "{device}: {vlans}");
    }

    let apart = config("apart", &[("vrf", "red")]);
    let (two, lease) = host.start("two", &[on("apart")], &[]);
    two.serve(80);
    let members = command("ip", &["-br", "link", "show", "master", "red"]);
    assert!(members.contains(&apart.network_interface), "{members}");
    let subnet = apart.subnets[0].subnet.to_string();
    assert!(command("ip", &["route", "show", "table", "10"]).contains(&subnet));
    assert!(!command("ip", &["route"]).contains(&subnet), "it is not among the host's own routes");
    assert!(is_closed(&format!("{}:80", host::address(&lease))));
    let wrong = config("wrong", &[("vrf", &apart.network_interface)]);
    let three = container("three");
    let lease = host.networks.reserve(&three.holder, &[on(&wrong.name)], &[]).unwrap();
    let text = host.networks.attach(&lease, three.netns.as_fd()).unwrap_err().to_string();
    assert!(text.contains("is no VRF"), "{text}");
}

/// A host whose link to the other machine is in the VRF `red`: what comes in there is published there.
#[test]
fn a_network_in_a_vrf_is_published_and_kept_apart_there() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    if !has("VRFs", "type vrf table 9") {
        return;
    }
    ip("link add name red type vrf table 10");
    ip("link set red up");
    ip("link set lan master red");
    ip("addr add fd00:2::1/64 dev lan nodad");
    there.serve(8000);
    let start = |network: &str, options: &[(&str, &str)], change: fn(&mut Config), ports: &[&str]| {
        let mut config = Config { ipv6: true, disable_dns: false, ..bridge(network, options) };
        change(&mut config);
        host.networks.create(&config, false).unwrap();
        let (container, lease) = host.start(network, &[on(network)], ports);
        container.serve(80);
        let network = &lease.attachments[0].network;
        let gateways: Vec<String> = network.gateways().map(|(gateway, _)| gateway.to_string()).collect();
        (container, lease, gateways)
    };
    let red = ("vrf", "red");
    let keep = |_: &mut Config| {};
    let (web, lease, gateways) = start("web", &[red], keep, &["8080:80"]);
    let (inner, _, inner_gateways) = start("inner", &[red], |config| config.internal = true, &[]);
    let (strict, ..) = start("strict", &[red, ("isolate", "strict")], keep, &[]);
    let (plain, ..) = start("plain", &[], keep, &[]);
    assert!(lease.dns_servers.is_empty(), "a name server can't listen there: {:?}", lease.dns_servers);
    let own: Vec<String> = lease.attachments[0].addresses.iter().map(|at| at.address.to_string()).collect();
    inner.run(move || inner_gateways.iter().for_each(|at| ip(&format!("route add default via {at}"))));

    let links = [("192.0.2.1", "192.0.2.9"), ("[fd00:2::1]", "fd00:2::9")];
    for (at, (here, far)) in links.into_iter().enumerate() {
        let published = format!("{here}:8080");
        let outside = if at == 0 { format!("{far}:8000") } else { format!("[{far}]:8000") };
        let address = if at == 0 { format!("{}:80", own[0]) } else { format!("[{}]:80", own[1]) };
        let own_port =
            if at == 0 { format!("{}:8080", gateways[0]) } else { format!("[{}]:8080", gateways[1]) };
        let here = here.trim_matches(['[', ']']);
        assert_eq!(there.get(&published), Some(format!("web sees {far}")));
        assert_eq!(web.get(&outside), Some(format!("neighbour sees {here}")), "as the host");
        assert_eq!(web.get(&own_port), Some(format!("web sees {}", gateways[at])), "its own port");
        assert!(inner.is_kept_from(&outside), "internal");
        assert!(inner.is_kept_from(&address), "internal");
        assert_eq!(strict.get(&outside), Some(format!("neighbour sees {here}")));
        assert!(strict.is_kept_from(&address), "strict");
        assert!(plain.is_kept_from(&address), "of another VRF");
        assert!(plain.is_kept_from(&outside), "of another VRF");
    }
    for container in [web, inner, strict, plain] {
        host.networks.release(&container.holder.id).unwrap();
    }
    assert!(!host.traces().contains("elements"), "{}", host.traces());
}
