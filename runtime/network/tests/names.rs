//! Names through a real aardvark-dns.

mod host;

use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use host::{Container, Host, address, name_server, on, resolve};
use sampan_network::{Config, DNS_DOMAIN, Lease};

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
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask(&client, &client_lease, "server.dns.sampan").is_empty() {
        assert!(Instant::now() < deadline, "the name is still answered");
        thread::sleep(Duration::from_millis(20));
    }
    host.networks.release(&client.holder.id).unwrap();
    // Without any network left, the server ends.
    let deadline = Instant::now() + Duration::from_secs(20);
    while name_server(host.directory()).is_some() {
        assert!(Instant::now() < deadline, "the server still runs");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!host.traces().contains("run/dns/"), "{}", host.traces());
}

/// Answers every question with this address, and ends with the test.
fn answer_all(server: &str, address: [u8; 4]) {
    let socket = UdpSocket::bind((server, 53)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
            let name_end = 12 + buffer[12..length].iter().position(|byte| *byte == 0).unwrap_or(0);
            let mut answer = buffer[..name_end + 5].to_vec();
            // A response, recursion available, one question, one answer, nothing else.
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address);
            socket.send_to(&answer, asker).unwrap();
        }
    });
}

#[test]
fn a_container_may_have_servers_of_its_own_for_other_names() {
    let Some(host) = host() else { return };
    answer_all("127.9.9.9", [192, 0, 2, 9]);
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
    thread::sleep(Duration::from_millis(50));
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
    // The server may be reading its files for the last of them: ask as a resolver
    // does, more than once.
    for (container, lease) in &started {
        let known = (0..3).any(|_| ask(&client, &client_lease, &container.holder.name) == [address(lease)]);
        assert!(known, "{}", container.holder.name);
    }
    for (container, _) in &started {
        host.networks.release(&container.holder.id).unwrap();
    }
    host.networks.release(&client.holder.id).unwrap();
}
