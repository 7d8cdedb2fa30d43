//! Many at once, and killed at any moment: what is given out is given out once,
//! and nothing stays behind.

mod host;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use host::{Host, container, get, is_closed, on, open, parse};
use sampan_network::{DEFAULT_NETWORK, Error, Lease};

const DIRECTORY: &str = "SAMPAN_TEST_DIRECTORY";
const NAME: &str = "SAMPAN_TEST_NAME";

/// Starts this program again as a process that starts one container, says what it
/// got, and ends when its standard input does.
fn start_elsewhere(host: &Host, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "elsewhere", "--nocapture"])
        .env(DIRECTORY, host.directory())
        .env(NAME, name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The other process; nothing when the tests are run as usual.
#[test]
fn elsewhere() {
    let (Ok(directory), Ok(name)) = (std::env::var(DIRECTORY), std::env::var(NAME)) else {
        return;
    };
    let networks = open(directory.as_ref());
    let container = container(&name);
    let lease = networks.reserve(&container.holder, &[on(DEFAULT_NETWORK)], &parse(&["80"])).unwrap();
    networks.attach(&lease, container.netns.as_fd()).unwrap();
    container.serve(80);
    println!("\nLEASE {}", serde_json::to_string(&lease).unwrap());
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    networks.release(&container.holder.id).unwrap();
}

fn lease_of(child: &mut Child) -> Lease {
    let line = BufReader::new(child.stdout.as_mut().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("LEASE ").map(str::to_owned))
        .expect("the other process got no lease");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn fifty_processes_at_once_get_different_addresses_and_ports() {
    let Some(host) = Host::new() else { return };
    host.networks.get(DEFAULT_NETWORK).unwrap();
    let mut children: Vec<Child> =
        (0..50).map(|number| start_elsewhere(&host, &format!("c{number}"))).collect();
    let leases: Vec<Lease> = children.iter_mut().map(lease_of).collect();
    let addresses: HashSet<_> = leases.iter().map(host::address).collect();
    let ports: HashSet<_> = leases.iter().map(|lease| lease.ports[0].host_port).collect();
    assert_eq!((addresses.len(), ports.len()), (50, 50));
    for lease in &leases {
        let text = get(&format!("127.0.0.1:{}", lease.ports[0].host_port));
        assert_eq!(text, Some(format!("{} sees 10.87.0.1", lease.holder.name)));
    }
    assert_eq!(host.networks.holders(DEFAULT_NETWORK).unwrap().len(), 50);
    assert!(matches!(host.networks.remove(DEFAULT_NETWORK, false), Err(Error::NetworkInUse { .. })));
    for child in &mut children {
        drop(child.stdin.take());
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_nothing_left(&host);
}

#[test]
fn killed_at_any_moment_and_started_again() {
    let Some(host) = Host::new() else { return };
    host.networks.get(DEFAULT_NETWORK).unwrap();
    let id = container("victim").holder.id;
    for step in 0..60 {
        let mut child = start_elsewhere(&host, "victim");
        if step % 2 == 0 {
            // In reserve and attach, which take a few milliseconds.
            thread::sleep(Duration::from_micros(step * 700));
        } else {
            // In release.
            lease_of(&mut child);
            drop(child.stdin.take());
            thread::sleep(Duration::from_micros(step * 200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if step % 3 == 0 {
            host.networks.release(&id).unwrap();
            assert_nothing_left(&host);
        } else {
            let (again, lease) = host.start("victim", &[on(DEFAULT_NETWORK)], &["80"]);
            again.serve(80);
            let port = lease.ports[0].host_port;
            assert!(get(&format!("127.0.0.1:{port}")).is_some(), "step {step}");
            host.networks.release(&id).unwrap();
            host.networks.release(&id).unwrap();
        }
    }
    assert_nothing_left(&host);
}

fn assert_nothing_left(host: &Host) {
    let traces = host.traces();
    for word in ["veth", "sampan0@", "elements = {", ".json\"", "/ports/", "/addresses/"] {
        let found: Vec<&str> =
            traces.lines().filter(|line| line.contains(word) && !line.contains("lib/sampan.json")).collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
    assert!(!traces.lines().next().unwrap().contains("sampan0"), "{traces}");
}

#[test]
fn a_port_in_use_names_its_holder() {
    let Some(host) = Host::new() else { return };
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    let web = container("web");
    let reserve = |name: &str, port: &str| {
        host.networks.reserve(&container(name).holder, &[on(DEFAULT_NETWORK)], &parse(&[port]))
    };
    let text = reserve("web", "8080:80").unwrap_err().to_string();
    assert!(text.contains("8080/tcp") && text.contains("pid"), "{text}");
    assert!(host.networks.lease(&web.holder.id).unwrap().is_none());
    drop(listener);
    reserve("web", "8080:80").unwrap();
    let text = reserve("second", "127.0.0.1:8080:80").unwrap_err().to_string();
    assert!(text.contains("container \"web\""), "{text}");
    reserve("second", "8080:80/udp").unwrap();
    let text = reserve("third", "8070-8090:70-90").unwrap_err().to_string();
    assert!(text.contains("8080/tcp"), "{text}");
    // The same container again: what it had is given back first.
    reserve("web", "8080:80").unwrap();
    for name in ["web", "second"] {
        host.networks.release(&container(name).holder.id).unwrap();
    }
    assert_nothing_left(&host);
}

#[test]
fn the_same_port_twice_is_published_once() {
    let Some(host) = Host::new() else { return };
    let (web, lease) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80", "8080:80", "8080:80/udp"]);
    assert_eq!(lease.ports.len(), 2);
    web.serve(80);
    assert!(get("127.0.0.1:8080").is_some());
    host.networks.release(&web.holder.id).unwrap();
    let twice = parse(&["8080:80", "8080:81"]);
    let error = host.networks.reserve(&web.holder, &[on(DEFAULT_NETWORK)], &twice).unwrap_err().to_string();
    assert!(error.contains("this container's own"), "{error}");
    assert_nothing_left(&host);
}

#[test]
fn a_full_network_says_so_and_leaks_nothing() {
    let Some(host) = Host::new() else { return };
    let config = sampan_network::Config {
        name: "tiny".to_owned(),
        subnets: vec!["10.50.0.0/30".parse::<sampan_network::Subnet>().unwrap().into()],
        disable_dns: true,
        ..sampan_network::Config::default()
    };
    host.networks.create(&config, false).unwrap();
    let reserve = |name: &str| host.networks.reserve(&container(name).holder, &[on("tiny")], &[]);
    reserve("one").unwrap();
    let text = reserve("two").unwrap_err().to_string();
    assert!(text.contains("tiny") && text.contains("10.50.0.0/30"), "{text}");
    host.networks.release(&container("one").holder.id).unwrap();
    reserve("two").unwrap();
    host.networks.release(&container("two").holder.id).unwrap();
    host.networks.remove("tiny", false).unwrap();
    assert_nothing_left(&host);
}

#[test]
fn a_flushed_ruleset_comes_back() {
    let Some(host) = Host::new() else { return };
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    web.serve(80);
    host::command("nft", &["flush", "ruleset"]);
    assert!(is_closed("127.0.0.1:8080"));
    // A container that starts brings back the others' ports as well.
    let (other, _) = host.start("other", &[on(DEFAULT_NETWORK)], &["8081:80"]);
    assert!(get("127.0.0.1:8080").is_some());
    host::command("nft", &["flush", "ruleset"]);
    host.networks.reload_firewall().unwrap();
    assert!(get("127.0.0.1:8080").is_some());
    host::command("nft", &["flush", "ruleset"]);
    for container in [web, other] {
        host.networks.release(&container.holder.id).unwrap();
    }
    assert_nothing_left(&host);
}

#[test]
fn a_long_row_of_ports_is_one_lease() {
    let Some(host) = Host::new() else { return };
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["20000-20999:1000-1999"]);
    web.serve(1999);
    assert!(get("127.0.0.1:20999").is_some());
    host.networks.release(&web.holder.id).unwrap();
    assert_nothing_left(&host);
}
