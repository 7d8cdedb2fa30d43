//! Networks without a bridge of ours: what they reach, what they don't, and what is
//! left of them.

mod host;

use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use host::{Container, Host, command, container, eventually, get, has, ip, is_closed, on};
use sampan_network::{Config, Driver, Error, Ipam, Lease, LeaseRange, Request, Subnet, SubnetConfig};

/// A network on the link between the two hosts, with some of its addresses.
fn lan(name: &str, driver: Driver, parent: &str, options: &[(&str, &str)], range: &str) -> Config {
    let mut config = Config { name: name.to_owned(), driver, ..Config::default() };
    config.interface = Some(parent.to_owned()).filter(|parent| !parent.is_empty());
    for (option, value) in options {
        config.options.set(driver, option, value).unwrap();
    }
    config.subnets = vec![SubnetConfig {
        lease_range: Some(LeaseRange::parse(range).unwrap()),
        .."192.0.2.0/24".parse::<Subnet>().unwrap().into()
    }];
    config
}

/// The names of a namespace's interfaces.
fn interfaces() -> Vec<String> {
    let links = command("ip", &["-br", "link"]);
    let name = |line: &str| line.split([' ', '@']).next().unwrap().to_owned();
    links.lines().map(name).collect()
}

#[test]
fn macvlan_containers_of_two_hosts_are_on_one_link() {
    let Some(host) = Host::new() else { return };
    on_one_link(&host, &host.neighbour(), Driver::Macvlan, &[], |lease| {
        assert_eq!(lease.attachments[0].gateways, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    });
}

/// Two containers here and one of the host `there`, all on the link between the hosts; `look` looks at the lease of one.
fn on_one_link(
    host: &Host,
    there: &Container,
    driver: Driver,
    there_options: &[(&str, &str)],
    look: impl Fn(&Lease),
) {
    there.serve(8000);
    let here = lan("lan", driver, "lan", &[], "192.0.2.10-192.0.2.19");
    host.networks.create(&here, false).unwrap();
    let before = interfaces();
    let (one, lease) = host.start("one", &[on("lan")], &[]);
    let (two, _) = host.start("two", &[on("lan")], &[]);
    one.serve(80);
    two.serve(80);
    look(&lease);
    assert_eq!(interfaces(), before, "nothing of them is on the host");

    let other = tempfile::tempdir().unwrap();
    let config = lan("lan", driver, "lan0", there_options, "192.0.2.20-192.0.2.29");
    let (far, _) = there.start(other.path().to_owned(), config, "far");
    far.serve(80);
    assert_eq!(one.get("192.0.2.20:80").as_deref(), Some("far sees 192.0.2.10"));
    assert_eq!(far.get("192.0.2.10:80").as_deref(), Some("one sees 192.0.2.20"));
    assert_eq!(one.get("192.0.2.11:80").as_deref(), Some("two sees 192.0.2.10"));
    assert_eq!(one.get("192.0.2.9:8000").as_deref(), Some("neighbour sees 192.0.2.10"));
    // The kernel keeps an interface from those on top of it.
    assert!(is_closed("192.0.2.10:80"));

    for container in [one, two] {
        host.networks.release(&container.holder.id).unwrap();
    }
    assert_eq!(interfaces(), before);
    assert!(!host.traces().contains("/addresses/"), "{}", host.traces());
}

#[test]
fn macvlan_containers_of_two_hosts_speak_ipv6() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    let both = |parent: &str, range4: &str, range6: &str| {
        let mut config = lan("lan", Driver::Macvlan, parent, &[], range4);
        config.subnets.push(SubnetConfig {
            lease_range: Some(LeaseRange::parse(range6).unwrap()),
            .."fd00:2::/64".parse::<Subnet>().unwrap().into()
        });
        config
    };
    let here = both("lan", "192.0.2.10-192.0.2.19", "fd00:2::10-fd00:2::1f");
    host.networks.create(&here, false).unwrap();
    let (one, _) = host.start("one", &[on("lan")], &[]);
    one.serve(80);
    let other = tempfile::tempdir().unwrap();
    let config = both("lan0", "192.0.2.20-192.0.2.29", "fd00:2::20-fd00:2::2f");
    let (far, _) = there.start(other.path().to_owned(), config, "far");
    far.serve(80);
    assert_eq!(one.get("[fd00:2::20]:80").as_deref(), Some("far sees fd00:2::10"));
    assert_eq!(far.get("[fd00:2::10]:80").as_deref(), Some("one sees fd00:2::20"));
    let route = one.run(|| command("ip", &["-6", "route", "show", "default"]));
    assert!(route.contains("fd00:2::1"), "{route}");
}

#[test]
fn private_macvlan_containers_reach_the_link_and_not_each_other() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    let config = lan("lan", Driver::Macvlan, "lan", &[("mode", "private")], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let (one, _) = host.start("one", &[on("lan")], &[]);
    let (two, _) = host.start("two", &[on("lan")], &[]);
    two.serve(80);
    assert!(one.get("192.0.2.9:8000").is_some());
    assert!(one.is_kept_from("192.0.2.11:80"));
}

/// Each frame goes to the switch beyond the parent, also one for a sibling: it is the switch that decides.
#[test]
fn vepa_containers_reach_each_other_by_the_switch_alone() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    let config = lan("lan", Driver::Macvlan, "lan", &[("mode", "vepa")], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let (one, _) = host.start("one", &[on("lan")], &[]);
    let (two, _) = host.start("two", &[on("lan")], &[]);
    two.serve(80);
    assert_eq!(one.get("192.0.2.9:8000").as_deref(), Some("neighbour sees 192.0.2.10"));
    assert!(one.is_kept_from("192.0.2.11:80"));
    there.run(|| {
        ip("link add switch type bridge forward_delay 0");
        ip("link set switch up");
        ip("link set lan0 master switch");
        command("bridge", &["link", "set", "dev", "lan0", "hairpin", "on"]);
    });
    // The switch has its port for a moment before it uses it.
    eventually("that the switch sends it back", || !one.is_kept_from("192.0.2.11:80"));
    assert_eq!(one.get("192.0.2.11:80").as_deref(), Some("two sees 192.0.2.10"));
}

/// What the library warns of.
struct Warnings(Mutex<Vec<String>>);

static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Kernels since 6.4 have it; the library reads back what became of it.
#[test]
fn a_limit_of_broadcasts_is_set_or_missed_aloud() {
    let Some(host) = Host::new() else { return };
    let _there = host.neighbour();
    log::set_logger(&WARNINGS).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    for limit in ["7", "-1"] {
        let name = format!("limit{limit}");
        let config = lan(&name, Driver::Macvlan, "lan", &[("bclim", limit)], "192.0.2.10-192.0.2.19");
        host.networks.create(&config, false).unwrap();
        let (one, _) = host.start("one", &[on(&name)], &[]);
        let wanted = format!("bclim={limit}");
        let warned = WARNINGS.0.lock().unwrap().iter().any(|text| text.contains(&wanted));
        assert_eq!(warned, !kernel_is_at_least(6, 4), "{:?}", WARNINGS.0);
        host.networks.release(&one.holder.id).unwrap();
    }
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
}

#[test]
fn passthru_has_room_for_one() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    let config = lan("lan", Driver::Macvlan, "lan", &[("mode", "passthru")], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let (one, lease) = host.start("one", &[on("lan")], &[]);
    let parent = command("ip", &["-br", "link", "show", "lan"]);
    assert!(parent.contains(&lease.attachments[0].mac), "the parent's address: {parent} {lease:?}");
    assert!(one.get("192.0.2.9:8000").is_some());
    let two = container("two");
    let lease = host.networks.reserve(&two.holder, &[on("lan")], &[]).unwrap();
    let text = host.networks.attach(&lease, two.netns.as_fd()).unwrap_err().to_string();
    assert!(text.contains("\"lan\"") && text.contains("passthru"), "{text}");
}

#[test]
fn a_parent_that_is_named_by_nobody_is_the_way_out() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    let config = lan("lan", Driver::Macvlan, "", &[], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let one = container("one");
    let lease = host.networks.reserve(&one.holder, &[on("lan")], &[]).unwrap();
    let text = host.networks.attach(&lease, one.netns.as_fd()).unwrap_err().to_string();
    assert!(
        text.contains("\"lan\"") && text.contains("no default route") && text.contains("there are: lan"),
        "{text}"
    );
    ip("route add default via 192.0.2.9");
    host.networks.attach(&lease, one.netns.as_fd()).unwrap();
    assert!(one.get("192.0.2.9:8000").is_some());
}

#[test]
fn a_parent_that_is_missing_or_unfit_is_told_in_words() {
    let Some(host) = Host::new() else { return };
    let _there = host.neighbour();
    let config = lan("lan", Driver::Macvlan, "eth7", &[], "192.0.2.10-192.0.2.19");
    let text = host.networks.create(&config, false).unwrap_err().to_string();
    assert!(text.contains("eth7") && text.contains("there are: lan"), "{text}");

    let start = |config: &Config| {
        host.networks.create(config, true).unwrap();
        let one = container("one");
        let lease = host.networks.reserve(&one.holder, &[on("lan")], &[]).unwrap();
        let text = host.networks.attach(&lease, one.netns.as_fd()).unwrap_err().to_string();
        host.networks.release(&one.holder.id).unwrap();
        text
    };
    let text = start(&lan("lan", Driver::Macvlan, "lan", &[("mtu", "9000")], "192.0.2.10-192.0.2.19"));
    assert!(text.contains("mtu=9000") && text.contains("1500"), "{text}");
    ip("link set lan down");
    let text = start(&lan("lan", Driver::Macvlan, "lan", &[], "192.0.2.10-192.0.2.19"));
    assert!(text.contains("ip link set lan up"), "{text}");
    ip("link set lan up");
    ip("link add taken type bridge");
    ip("link set lan master taken");
    let text = start(&lan("lan", Driver::Macvlan, "lan", &[], "192.0.2.10-192.0.2.19"));
    assert!(text.contains("\"lan\"") && text.contains("something else has it"), "{text}");
}

#[test]
fn a_name_that_the_host_uses_too_is_free_in_the_container() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    ip("link set lan down");
    ip("link set lan name eth0");
    ip("link set eth0 up");
    let config = lan("lan", Driver::Macvlan, "eth0", &[], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let (one, lease) = host.start("one", &[on("lan")], &[]);
    assert_eq!(lease.attachments[0].interface, "eth0");
    assert!(one.get("192.0.2.9:8000").is_some());
    // A start that was killed after this, in a namespace that lives on: a pod's.
    host.networks.attach(&lease, one.netns.as_fd()).unwrap();
    assert!(one.get("192.0.2.9:8000").is_some());
    assert_eq!(one.run(interfaces), ["lo", "eth0"]);
}

/// The kernel dismantles a namespace some time after its last process has ended.
#[test]
fn a_container_that_starts_again_at_once_has_its_address() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    let config = lan("lan", Driver::Macvlan, "lan", &[], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let fixed = Request { ip: Some("192.0.2.15".parse().unwrap()), ..on("lan") };
    let (one, _) = host.start("one", std::slice::from_ref(&fixed), &[]);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(one);
    });
    let (again, _) = host.start("one", &[fixed], &[]);
    assert_eq!(again.get("192.0.2.9:8000").as_deref(), Some("neighbour sees 192.0.2.15"));
}

#[test]
fn addresses_of_the_host_are_not_given_out() {
    let Some(host) = Host::new() else { return };
    let _there = host.neighbour();
    let mut config = lan("lan", Driver::Macvlan, "lan", &[], "192.0.2.1-192.0.2.9");
    config.subnets[0].gateway = Some("192.0.2.9".parse().unwrap());
    host.networks.create(&config, false).unwrap();
    let lease = host.networks.reserve(&container("one").holder, &[on("lan")], &[]).unwrap();
    assert_eq!(host::address(&lease).to_string(), "192.0.2.2");
}

#[test]
fn ports_of_a_macvlan_container_are_not_taken_from_the_host() {
    let Some(host) = Host::new() else { return };
    let _there = host.neighbour();
    let config = lan("lan", Driver::Macvlan, "lan", &[], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let (_one, lease) = host.start("one", &[on("lan")], &["8080:80"]);
    assert!(lease.ports.is_empty());
    let rules = command("nft", &["list", "ruleset"]);
    assert!(!rules.contains("8080") && !rules.contains("192.0.2"), "{rules}");
    // Beside a bridge they are published, and lead to the bridge's address.
    let both = [on("lan"), on(sampan_network::DEFAULT_NETWORK)];
    let (two, lease) = host.start("two", &both, &["8080:80"]);
    two.serve(80);
    assert_eq!(lease.ports.len(), 1);
    assert!(get("127.0.0.1:8080").is_some());
    let route = two.run(|| command("ip", &["route", "show", "default"]));
    assert!(route.lines().next().unwrap().contains("192.0.2.1"), "the link comes before the bridge: {route}");
}

#[test]
fn internal_macvlan_has_no_gateway() {
    let Some(host) = Host::new() else { return };
    let _there = host.neighbour();
    let mut config = lan("lan", Driver::Macvlan, "lan", &[], "192.0.2.10-192.0.2.19");
    config.internal = true;
    let network = host.networks.create(&config, false).unwrap();
    assert_eq!(network.subnets[0].gateway, None);
    let (one, lease) = host.start("one", &[on("lan")], &[]);
    assert!(lease.attachments[0].gateways.is_empty());
    assert_eq!(one.run(|| command("ip", &["route", "show", "default"])), "");
}

#[test]
fn ipvlan_works_or_says_what_the_kernel_lacks() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    there.serve(8000);
    let config = lan("lan", Driver::Ipvlan, "lan", &[], "192.0.2.10-192.0.2.19");
    host.networks.create(&config, false).unwrap();
    let one = container("one");
    let lease = host.networks.reserve(&one.holder, &[on("lan")], &[]).unwrap();
    match host.networks.attach(&lease, one.netns.as_fd()) {
        Ok(()) => assert!(one.get("192.0.2.9:8000").is_some()),
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error, Error::NoModule { .. }) && text.contains("modprobe ipvlan"), "{text}");
        }
    }
    let other = lan("other", Driver::Ipvlan, "lan", &[("mode", "l3")], "192.0.2.20-192.0.2.29");
    let text = host.networks.create(&other, false).unwrap_err().to_string();
    assert!(text.contains("mode=l3") && text.contains("\"lan\"") && text.contains("mode=l2"), "{text}");
}

#[test]
fn a_bridge_of_others_gets_a_port_and_stays_as_it_is() {
    let Some(host) = Host::new() else { return };
    ip("link add br0 type bridge");
    ip("addr add 192.0.2.1/24 dev br0");
    ip("link set br0 up");
    let picture = || command("ip", &["-d", "addr", "show", "br0"]);
    let config = lan("lan", Driver::Bridge, "br0", &[("mode", "unmanaged")], "192.0.2.10-192.0.2.19");
    let network = host.networks.create(&config, false).unwrap();
    assert!(network.dns_enabled);
    let (one, _) = host.start("one", &[on("lan")], &["8080:80"]);
    one.serve(80);
    assert_eq!(get("192.0.2.10:80").as_deref(), Some("one sees 192.0.2.1"));
    assert!(is_closed("127.0.0.1:8080"), "published by nobody");
    assert!(!command("nft", &["list", "ruleset"]).contains("br0"));
    let with_port = picture();
    assert_eq!(with_port.matches("inet ").count(), 1, "{with_port}");
    host.networks.release(&one.holder.id).unwrap();
    assert_eq!(interfaces(), ["lo", "br0"]);
    host.networks.remove("lan", false).unwrap();
    assert_eq!(interfaces(), ["lo", "br0"]);

    ip("link del br0");
    host.networks.create(&config, false).unwrap();
    let lease = host.networks.reserve(&one.holder, &[on("lan")], &[]).unwrap();
    let text = host.networks.attach(&lease, one.netns.as_fd()).unwrap_err().to_string();
    assert!(text.contains("no bridge br0"), "{text}");
    assert_eq!(interfaces(), ["lo"], "it isn't made");
}

#[test]
fn an_interface_of_the_host_is_not_taken_for_a_bridge_of_ours() {
    let Some(host) = Host::new() else { return };
    ip("link add br0 type bridge");
    let config = Config { name: "app".to_owned(), interface: Some("br0".to_owned()), ..Config::default() };
    let text = host.networks.create(&config, false).unwrap_err().to_string();
    assert!(text.contains("br0") && text.contains("mode=unmanaged"), "{text}");
    // Nor one that came later: it is neither changed nor removed.
    ip("link del br0");
    host.networks.create(&config, false).unwrap();
    for kind in ["bridge", "veth peer name br1"] {
        ip(&format!("link add br0 type {kind}"));
        ip("addr add 198.51.100.1/24 dev br0");
        let picture = || command("ip", &["-d", "addr", "show", "br0"]);
        let before = picture();
        let one = host.container("one");
        let lease = host.networks.reserve(&one.holder, &[on("app")], &[]).unwrap();
        let text = host.networks.attach(&lease, one.netns()).unwrap_err().to_string();
        assert!(
            text.contains("br0") && text.contains("\"app\"") && text.contains("mode=unmanaged"),
            "{text}"
        );
        host.networks.release(&one.holder.id).unwrap();
        assert_eq!(picture(), before);
        ip("link del br0");
    }
    let (one, _) = host.start("one", &[on("app")], &[]);
    host.networks.release(&one.holder.id).unwrap();
    assert_eq!(interfaces(), ["lo"], "ours goes");
    ip("link add br0 type bridge");
    host.networks.remove("app", false).unwrap();
    assert_eq!(interfaces(), ["lo", "br0"]);
}

#[test]
fn without_ipam_there_is_an_interface_and_no_address() {
    let Some(host) = Host::new() else { return };
    let config = Config { name: "bare".to_owned(), ipam: Some(Ipam::None), ..Config::default() };
    host.networks.create(&config, false).unwrap();
    let (one, lease) = host.start("one", &[on("bare")], &[]);
    let (two, _) = host.start("two", &[on("bare")], &[]);
    assert!(lease.attachments[0].addresses.is_empty() && lease.dns_servers.is_empty());
    assert!(one.run(|| command("ip", &["-br", "link", "show", "eth0"])).contains("UP"));
    assert_eq!(one.run(|| command("ip", &["-o", "addr", "show", "dev", "eth0", "scope", "global"])), "");
    // What they give themselves works.
    one.run(|| ip("addr add 198.51.100.1/24 dev eth0"));
    two.run(|| ip("addr add 198.51.100.2/24 dev eth0"));
    two.serve(80);
    assert_eq!(one.get("198.51.100.2:80").as_deref(), Some("two sees 198.51.100.1"));
    let fixed = Request { ip: Some("198.51.100.3".parse().unwrap()), ..on("bare") };
    let text = host.networks.reserve(&container("three").holder, &[fixed], &[]).unwrap_err().to_string();
    assert!(text.contains("198.51.100.3") && text.contains("no addresses"), "{text}");
    // The same container has the same address on the link next time.
    let again = host.networks.reserve(&one.holder, &[on("bare")], &[]).unwrap();
    assert_eq!(again.attachments[0].mac, lease.attachments[0].mac);
    for container in [one, two] {
        host.networks.release(&container.holder.id).unwrap();
    }
    assert_eq!(interfaces(), ["lo"]);
}

#[test]
fn the_hosts_end_can_have_a_name() {
    let Some(host) = Host::new() else { return };
    let named =
        |name: &str| Request { host_interface: Some(name.to_owned()), ..on(sampan_network::DEFAULT_NETWORK) };
    let (one, _) = host.start("one", &[named("web0")], &[]);
    assert!(interfaces().contains(&"web0".to_owned()), "{:?}", interfaces());
    ip("link add nic0 type bridge");
    for (name, holder) in
        [("web0", "container \"one\""), ("nic0", "the host"), ("sampan0", "network \"sampan\"")]
    {
        let refusal = host.networks.reserve(&container("two").holder, &[named(name)], &[]);
        let text = refusal.unwrap_err().to_string();
        assert!(text.contains(name) && text.contains(holder), "{text}");
    }
    host.networks.release(&one.holder.id).unwrap();
    assert_eq!(interfaces(), ["lo", "nic0"]);
    // Its own name is free for the container that had it.
    host.start("one", &[named("web0")], &[]);
    let (_, lease) = host.start("one", &[named("web0")], &[]);
    assert_eq!(lease.attachments[0].host_interface, "web0");
}

/// Both hosts' interfaces on the link, in the mode of layer 2.
#[test]
fn ipvlan_containers_of_two_hosts_are_on_one_link() {
    let Some(host) = Host::new() else { return };
    let there = host.neighbour();
    if !has("ipvlan", "link lan type ipvlan") {
        return;
    }
    on_one_link(&host, &there, Driver::Ipvlan, &[("mode", "l2")], |lease| {
        let parent = command("ip", &["-br", "link", "show", "lan"]);
        assert!(parent.contains(&lease.attachments[0].mac), "the parent's address: {parent} {lease:?}");
    });
}

/// In layer 3 the host routes to a subnet of the containers' own.
#[test]
fn ipvlan_in_layer_3_is_routed() {
    for mode in ["l3", "l3s"] {
        let Some(host) = Host::new() else { return };
        let there = host.neighbour();
        there.serve(8000);
        if !has("ipvlan", "link lan type ipvlan") {
            return;
        }
        there.run(|| ip("route add 198.51.100.0/24 via 192.0.2.1"));
        let mut config = lan("routed", Driver::Ipvlan, "lan", &[("mode", mode)], "192.0.2.10-192.0.2.19");
        config.subnets = vec!["198.51.100.0/24".parse::<Subnet>().unwrap().into()];
        host.networks.create(&config, false).unwrap();
        let (one, _) = host.start("one", &[on("routed")], &[]);
        let (two, _) = host.start("two", &[on("routed")], &[]);
        one.serve(80);
        two.serve(80);
        assert_eq!(one.get("192.0.2.9:8000").as_deref(), Some("neighbour sees 198.51.100.2"), "{mode}");
        assert_eq!(there.get("198.51.100.2:80").as_deref(), Some("one sees 192.0.2.9"), "{mode}");
        assert_eq!(one.get("198.51.100.3:80").as_deref(), Some("two sees 198.51.100.2"), "{mode}");
        host.networks.release(&one.holder.id).unwrap();
    }
}
