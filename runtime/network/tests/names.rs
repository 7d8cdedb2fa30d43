//! Names through a real aardvark-dns.

mod dns;
mod host;

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use dns::{Answer, Kind, Upstream};
use host::{Container, Host, address, eventually, ip, name_server, on, resolve};
use sampan_network::{Config, DNS_DOMAIN, Driver, Holder, Lease, Subnet};

/// A host with a network that answers names, if the server is installed.
fn host() -> Option<Host> {
    let host = Host::new()?;
    let config = Config { name: "web".to_owned(), ..Config::default() };
    host.networks.create(&config, false).unwrap();
    let probe = host::container("probe");
    let lease = host.networks.reserve(&probe.holder, &[on("web")], &[]).unwrap();
    host.networks.release(&probe.holder.id).unwrap();
    if lease.dns_servers.is_empty() {
        eprintln!("SKIP: aardvark-dns is not installed");
        return None;
    }
    Some(host)
}

fn ask(from: &Container, lease: &Lease, name: &str) -> Vec<IpAddr> {
    let (server, name) = (lease.dns_servers[0], name.to_owned());
    from.run(move || resolve(server, &name))
}

#[test]
fn containers_find_each_other_by_every_name() {
    let Some(host) = host() else { return };
    let (client, client_lease) = host.start("client", &[on("web")], &[]);
    let mut request = on("web");
    request.aliases = vec!["api".to_owned()];
    let (server, lease) = host.start("server", &[request], &[]);
    assert_eq!(lease.search, [DNS_DOMAIN]);
    // At once: attach has seen to it.
    for name in ["server", "api", &server.holder.id[..12], "server.dns.sampan"] {
        assert_eq!(ask(&client, &client_lease, name), [address(&lease)], "{name}");
    }
    assert_eq!(ask(&server, &lease, "client"), [address(&client_lease)]);
    host.networks.release(&server.holder.id).unwrap();
    assert!(ask(&client, &client_lease, "server.dns.sampan").is_empty(), "the name is still answered");
    host.networks.release(&client.holder.id).unwrap();
    // Without any network left, the server ends.
    eventually("the server's end", || name_server(host.directory()).is_none());
    assert!(!host.traces().contains("run/dns/"), "{}", host.traces());
}

#[test]
fn a_container_may_have_servers_of_its_own_for_other_names() {
    let Some(host) = host() else { return };
    let _upstream = Upstream::start("127.9.9.9", [192, 0, 2, 9]);
    let mut request = on("web");
    request.resolvers = vec![[127, 9, 9, 9].into()];
    let (asker, lease) = host.start("asker", &[request], &[]);
    let (other, other_lease) = host.start("other", &[on("web")], &[]);
    assert_eq!(ask(&asker, &lease, "somewhere.example.org"), [IpAddr::from([192, 0, 2, 9])]);
    assert_eq!(ask(&asker, &lease, "other"), [address(&other_lease)]);
    for container in [asker, other] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

#[test]
fn a_server_that_was_killed_comes_back_with_all_names() {
    let Some(host) = host() else { return };
    let (one, one_lease) = host.start("one", &[on("web")], &[]);
    let pid = name_server(host.directory()).unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    // Whoever has adopted it may take a while to ask for its end.
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    eventually("its end", || stat().is_empty() || stat().contains(") Z "));
    let (two, two_lease) = host.start("two", &[on("web")], &[]);
    assert_eq!(ask(&two, &two_lease, "one"), [address(&one_lease)]);
    for container in [one, two] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

#[test]
fn twenty_at_once_are_all_known() {
    let Some(host) = host() else { return };
    let (client, client_lease) = host.start("client", &[on("web")], &[]);
    let started: Vec<(Container, Lease)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|number| {
                let host = &host;
                scope.spawn(move || host.start(&format!("c{number}"), &[on("web")], &[]))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (container, lease) in &started {
        assert_eq!(ask(&client, &client_lease, &container.holder.name), [address(lease)]);
    }
    for (container, _) in &started {
        host.networks.release(&container.holder.id).unwrap();
    }
    host.networks.release(&client.holder.id).unwrap();
}

const PATIENCE: Duration = Duration::from_secs(30);

/// What the first of the container's servers says.
fn look_up(from: &Container, lease: &Lease, name: &str, kind: Kind) -> Answer {
    let (server, name) = (lease.dns_servers[0], name.to_owned());
    from.run(move || dns::ask(server, &name, kind, PATIENCE))
}

fn addresses(lease: &Lease) -> Vec<IpAddr> {
    lease.attachments.iter().flat_map(|attachment| &attachment.addresses).map(|a| a.address).collect()
}

fn subnets(texts: &[&str]) -> Vec<sampan_network::SubnetConfig> {
    texts.iter().map(|text| text.parse::<Subnet>().unwrap().into()).collect()
}

fn release(host: &Host, containers: &[&Container]) {
    for container in containers {
        host.networks.release(&container.holder.id).unwrap();
    }
}

#[test]
fn both_families_forward_and_reverse() {
    let Some(host) = host() else { return };
    let config = Config {
        name: "many".to_owned(),
        subnets: subnets(&["10.51.1.0/24", "10.51.2.0/24", "fd00:51::/64"]),
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
    let (client, client_lease) = host.start("client", &[on("many")], &[]);
    let (server, lease) = host.start("Server", &[on("many")], &[]);
    let [first, second, third] = addresses(&lease)[..] else { panic!("{:?}", addresses(&lease)) };
    let ask = |name: &str, kind| look_up(&client, &client_lease, name, kind);
    // Capital letters are none in DNS.
    for name in ["server", "SERVER", "Server"] {
        assert_eq!(ask(name, Kind::A), Answer::of(&[first, second]), "{name}");
        assert_eq!(ask(name, Kind::Aaaa), Answer::of(&[third]), "{name}");
    }
    for own in [first, second, third] {
        let Answer::Records(names) = ask(&dns::reverse(own), Kind::Ptr) else { panic!("{own} has no name") };
        assert_eq!(names.first().map(String::as_str), Some("server"), "{own}");
    }
    // A name with addresses of the other family alone exists.
    let only = |name: &str, subnet: &str| Config {
        name: name.to_owned(),
        subnets: subnets(&[subnet]),
        ..Config::default()
    };
    host.networks.create(&only("six", "fd00:52::/64"), false).unwrap();
    let (lonely, lonely_lease) = host.start("lonely", &[on("six")], &[]);
    assert!(lonely_lease.dns_servers.iter().all(IpAddr::is_ipv6), "{:?}", lonely_lease.dns_servers);
    let own = addresses(&lonely_lease);
    assert_eq!(look_up(&lonely, &lonely_lease, "lonely", Kind::Aaaa), Answer::of(&own));
    assert_eq!(look_up(&lonely, &lonely_lease, "lonely", Kind::A), Answer::Records(Vec::new()));
    release(&host, &[&client, &server, &lonely]);
}

#[test]
fn names_are_those_of_shared_networks() {
    let Some(host) = host() else { return };
    host.networks.create(&Config { name: "other".to_owned(), ..Config::default() }, false).unwrap();
    let (both, both_lease) = host.start("both", &[on("web"), on("other")], &[]);
    let (left, left_lease) = host.start("left", &[on("web")], &[]);
    let (right, right_lease) = host.start("right", &[on("other")], &[]);
    let of = |lease: &Lease, place: usize| vec![lease.attachments[place].addresses[0].address];
    assert_eq!(ask(&left, &left_lease, "both"), of(&both_lease, 0));
    assert_eq!(ask(&right, &right_lease, "both"), of(&both_lease, 1));
    for (name, lease) in [("left", &left_lease), ("right", &right_lease)] {
        assert_eq!(ask(&both, &both_lease, name), of(lease, 0), "{name}");
    }
    assert_eq!(look_up(&left, &left_lease, "right.dns.sampan", Kind::A), Answer::NoSuchName);
    // The default network answers nothing.
    let (plain, plain_lease) = host.start("plain", &[on(sampan_network::DEFAULT_NETWORK)], &[]);
    assert!(plain_lease.dns_servers.is_empty() && plain_lease.search.is_empty());
    release(&host, &[&both, &left, &right, &plain]);
}

/// Guards against what was CVE-2025-8283 elsewhere: a container's name that the world was asked for.
#[test]
fn own_names_are_never_asked_outside() {
    let Some(host) = host() else { return };
    let upstream = Upstream::start("127.9.9.8", [192, 0, 2, 9]);
    let servers = vec!["127.9.9.8".parse().unwrap()];
    let config = |name: &str, internal| Config {
        name: name.to_owned(),
        internal,
        dns_servers: servers.clone(),
        ..Config::default()
    };
    host.networks.create(&config("open", false), false).unwrap();
    host.networks.create(&config("closed", true), false).unwrap();
    let (one, lease) = host.start("one", &[on("open")], &[]);
    assert_eq!(look_up(&one, &lease, "www.example.org", Kind::A), Answer::of(&["192.0.2.9"]));
    for name in ["nobody.dns.sampan", "a.nobody.dns.sampan", "x.one.dns.sampan"] {
        for kind in [Kind::A, Kind::Aaaa] {
            assert_eq!(look_up(&one, &lease, name, kind), Answer::NoSuchName, "{name}");
        }
    }
    // Whose network has no way out asks nobody, and no server of its own either.
    let mut request = on("closed");
    request.resolvers.clone_from(&servers);
    let (two, two_lease) = host.start("two", &[request], &[]);
    assert_eq!(ask(&two, &two_lease, "two"), [address(&two_lease)]);
    let server = two_lease.dns_servers[0];
    let answer = two.run(move || dns::ask(server, "secret.example.org", Kind::A, Duration::from_secs(1)));
    assert!(matches!(answer, Answer::NoSuchName | Answer::Lost), "{answer:?}");
    let asked: Vec<String> = upstream.asked().into_iter().collect();
    assert_eq!(asked, ["www.example.org"], "nothing else leaves the host");
    release(&host, &[&one, &two]);
}

#[test]
fn the_servers_own_question_is_no_name() {
    let Some(host) = host() else { return };
    let holder = Holder { name: "_Generation".to_owned(), ..host::container("x").holder };
    let error = host.networks.reserve(&holder, &[on("web")], &[]).unwrap_err().to_string();
    assert!(error.contains("_Generation") && error.contains("name server"), "{error}");
}

/// A network on a bridge that isn't ours.
fn unmanaged(host: &Host, name: &str, bridge: &str, subnet: &str) {
    let mut config = Config { name: name.to_owned(), subnets: subnets(&[subnet]), ..Config::default() };
    config.interface = Some(bridge.to_owned());
    config.options.set(Driver::Bridge, "mode", "unmanaged").unwrap();
    host.networks.create(&config, false).unwrap();
}

#[test]
fn a_bridge_of_others_has_names_while_the_host_has_an_address_on_it() {
    let Some(host) = host() else { return };
    ip("link add br0 type bridge");
    for address in ["192.0.2.3/24", "198.51.100.1/24"] {
        ip(&format!("addr add {address} dev br0"));
    }
    ip("link set br0 up");
    unmanaged(&host, "lan", "br0", "192.0.2.0/24");
    let (one, one_lease) = host.start("one", &[on("lan")], &[]);
    let (two, two_lease) = host.start("two", &[on("lan")], &[]);
    // It is the gateway of the network that the host need not be.
    assert_eq!(two_lease.dns_servers, [IpAddr::from([192, 0, 2, 3])]);
    assert_eq!(ask(&two, &two_lease, "one"), [address(&one_lease)]);
    assert_eq!(ask(&one, &one_lease, "two.dns.sampan"), [address(&two_lease)]);
    release(&host, &[&one]);
    assert!(ask(&two, &two_lease, "one.dns.sampan").is_empty(), "the name is still answered");
    // Who joins later is told no server that isn't there, and nobody else's names suffer.
    ip("addr del 192.0.2.3/24 dev br0");
    let (three, three_lease) = host.start("three", &[on("lan"), on("web")], &[]);
    let web = three_lease.attachments[1].network.gateways().map(|(address, _)| address);
    assert_eq!(three_lease.dns_servers, web.collect::<Vec<_>>());
    let (four, four_lease) = host.start("four", &[on("web")], &[]);
    assert_eq!(ask(&three, &three_lease, "four"), [address(&four_lease)]);
    // Nor does a server that is started anew, which newer ones would take for a reason to end.
    let pid = name_server(host.directory()).unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let (five, five_lease) = host.start("five", &[on("web")], &[]);
    assert_eq!(ask(&three, &three_lease, "five"), [address(&five_lease)]);
    assert!(!host.traces().contains("run/dns/lan"), "{}", host.traces());
    release(&host, &[&two, &three, &four, &five]);
    let traces = host.traces();
    assert!(!traces.contains("run/dns/lan"), "{traces}");
}

#[test]
fn a_name_server_of_others_keeps_its_place() {
    let Some(host) = host() else { return };
    ip("link add virbr0 type bridge");
    ip("addr add 192.0.2.1/24 dev virbr0");
    ip("link set virbr0 up");
    let theirs = Upstream::start("192.0.2.1", [192, 0, 2, 9]);
    unmanaged(&host, "lan", "virbr0", "192.0.2.0/24");
    let (one, lease) = host.start("one", &[on("lan")], &[]);
    assert!(lease.dns_servers.is_empty(), "{:?}", lease.dns_servers);
    let (two, two_lease) = host.start("two", &[on("web")], &[]);
    assert_eq!(ask(&two, &two_lease, "two"), [address(&two_lease)]);
    let answer = one.run(|| resolve([192, 0, 2, 1].into(), "example.org"));
    assert_eq!(answer, [IpAddr::from([192, 0, 2, 9])]);
    assert!(theirs.asked().contains("example.org"));
    release(&host, &[&one, &two]);
}

#[test]
fn two_networks_on_one_bridge_have_one_name_server() {
    let Some(host) = host() else { return };
    ip("link add br0 type bridge");
    ip("addr add 192.0.2.1/24 dev br0");
    ip("addr add 198.51.100.1/24 dev br0");
    ip("link set br0 up");
    for (name, subnet) in
        [("first", "192.0.2.0/25"), ("second", "192.0.2.0/24"), ("third", "198.51.100.0/24")]
    {
        unmanaged(&host, name, "br0", subnet);
    }
    let (one, one_lease) = host.start("one", &[on("first")], &[]);
    let mut request = on("second");
    request.ip = Some([192, 0, 2, 200].into());
    let (two, two_lease) = host.start("two", &[request], &[]);
    assert!(two_lease.dns_servers.is_empty(), "{:?}", two_lease.dns_servers);
    let (three, three_lease) = host.start("three", &[on("third")], &[]);
    assert_eq!(ask(&one, &one_lease, "one"), [address(&one_lease)]);
    assert_eq!(ask(&three, &three_lease, "three"), [address(&three_lease)]);
    release(&host, &[&one, &two, &three]);
}

#[test]
fn a_published_name_server_comes_before_ours_on_a_bridge_of_others() {
    let Some(host) = host() else { return };
    ip("link add br0 type bridge");
    ip("addr add 192.0.2.1/24 dev br0");
    ip("link set br0 up");
    unmanaged(&host, "lan", "br0", "192.0.2.0/24");
    let (published, _) = host.start("published", &[on("web")], &["53:53/udp"]);
    let (one, lease) = host.start("one", &[on("lan")], &[]);
    assert!(lease.dns_servers.is_empty(), "{:?}", lease.dns_servers);
    release(&host, &[&published]);
    let (one, lease) = {
        release(&host, &[&one]);
        host.start("one", &[on("lan")], &[])
    };
    assert_eq!(ask(&one, &lease, "one"), [address(&lease)]);
    let taken = host.networks.reserve(&published.holder, &[on("web")], &host::parse(&["53:53/udp"]));
    let text = taken.unwrap_err().to_string();
    assert!(text.contains("aardvark-dns"), "{text}");
    release(&host, &[&one]);
}
