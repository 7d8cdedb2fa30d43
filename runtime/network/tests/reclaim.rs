//! Leases of containers that are gone and whose cleanup was killed: who wants what they name gets it, and nobody else
//! loses anything.

mod host;

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use host::{Container, Host, address, container, get, on, open, parse};
use sampan_network::{Config, Error, Gone, Lease, Networks, Request, Subnet};

/// Networks that know who is gone, and count how often they ask.
struct Town {
    host: Host,
    networks: Networks,
    gone: Arc<Mutex<HashSet<String>>>,
    questions: Arc<AtomicUsize>,
}

impl Town {
    fn new() -> Option<Self> {
        let host = Host::new()?;
        let (gone, questions) = (Arc::<Mutex<HashSet<String>>>::default(), Arc::<AtomicUsize>::default());
        let (dead, asked) = (Arc::clone(&gone), Arc::clone(&questions));
        let networks = open(host.directory()).with_obituaries(move |holder| {
            asked.fetch_add(1, Ordering::Relaxed);
            dead.lock().unwrap().contains(&holder.name).then(|| Box::new(()) as Gone)
        });
        Some(Self { host, networks, gone, questions })
    }

    fn network(&self, name: &str, subnet: &str) {
        let subnets = vec![subnet.parse::<Subnet>().unwrap().into()];
        let config = Config { name: name.to_owned(), subnets, disable_dns: true, ..Config::default() };
        self.networks.create(&config, false).unwrap();
    }

    fn reserve(&self, name: &str, request: Request, ports: &[&str]) -> sampan_network::Result<Lease> {
        self.networks.reserve(&host::holder(name), &[request], &parse(ports))
    }

    fn start(&self, name: &str, request: Request, ports: &[&str]) -> (Container, Lease) {
        let container = container(name);
        let lease = self.reserve(name, request, ports).unwrap();
        self.networks.attach(&lease, container.netns.as_fd()).unwrap();
        container.serve(80);
        (container, lease)
    }

    /// `kill -9`, and again for the cleanup. The namespace lives on a little, as they do.
    fn dies(&self, container: &Container) {
        self.gone.lock().unwrap().insert(container.holder.name.clone());
    }

    fn has_lease(&self, name: &str) -> bool {
        self.networks.lease(&host::holder(name).id).unwrap().is_some()
    }
}

#[test]
fn the_only_address_of_a_dead_container_is_given_to_the_next() {
    let Some(town) = Town::new() else { return };
    town.network("tiny", "10.70.0.0/30");
    let (one, lease) = town.start("one", on("tiny"), &[]);
    assert_eq!(town.questions.load(Ordering::Relaxed), 0, "who finds what it wants looks at nobody");
    let error = town.reserve("two", on("tiny"), &[]).unwrap_err();
    assert!(matches!(error, Error::NoAddress { .. }), "{error}");
    assert!(get("10.70.0.2:80").is_some() && town.has_lease("one"), "it lives");
    // Nobody knows without asking.
    town.dies(&one);
    let error = town.host.networks.reserve(&host::holder("two"), &[on("tiny")], &[]).unwrap_err();
    assert!(matches!(error, Error::NoAddress { .. }), "{error}");
    let (two, second) = town.start("two", on("tiny"), &[]);
    assert_eq!(address(&second), address(&lease));
    assert!(!town.has_lease("one"));
    assert_eq!(get("10.70.0.2:80").as_deref(), Some("two sees 10.70.0.1"));
    // A late cleanup, or the next start, takes nothing away from the second.
    town.networks.release(&one.holder.id).unwrap();
    assert_eq!(get("10.70.0.2:80").as_deref(), Some("two sees 10.70.0.1"));
    town.networks.release(&two.holder.id).unwrap();
    assert!(!town.host.traces().contains("/leases/"), "{}", town.host.traces());
}

#[test]
fn an_address_and_ports_of_the_dead_can_be_asked_for() {
    let Some(town) = Town::new() else { return };
    town.network("net", "10.70.1.0/24");
    let fixed = |address: &str| Request { ip: Some(address.parse().unwrap()), ..on("net") };
    let (one, _) = town.start("one", fixed("10.70.1.20"), &["8080:80"]);
    let (other, _) = town.start("other", on("net"), &["8081:80"]);
    let (alive, _) = town.start("alive", fixed("10.70.1.30"), &["8082:80"]);
    assert_eq!(town.questions.load(Ordering::Relaxed), 0);
    town.dies(&one);
    town.dies(&other);
    for (ip, port) in [("10.70.1.30", "8083:80"), ("10.70.1.40", "8082:80")] {
        let error = town.reserve("two", fixed(ip), &[port]).unwrap_err().to_string();
        assert!(error.contains("container \"alive\""), "{error}");
    }
    assert!(town.has_lease("one") && town.has_lease("other"), "who isn't in the way stays");
    // All three of them, of two of the dead.
    let (two, _) = town.start("two", fixed("10.70.1.20"), &["8080:80", "8081:80"]);
    assert!(!town.has_lease("one") && !town.has_lease("other"));
    for (port, name) in [(8080, "two"), (8081, "two"), (8082, "alive")] {
        let answer = get(&format!("127.0.0.1:{port}"));
        assert!(answer.as_deref().is_some_and(|text| text.starts_with(name)), "{port}: {answer:?}");
    }
    for container in [two, alive] {
        town.networks.release(&container.holder.id).unwrap();
    }
}

#[test]
fn a_container_that_runs_is_connected_past_the_dead() {
    let Some(town) = Town::new() else { return };
    town.network("tiny", "10.70.0.0/30");
    town.network("net", "10.70.1.0/24");
    let (one, _) = town.start("one", on("tiny"), &[]);
    let (two, _) = town.start("two", on("net"), &[]);
    let connect = || town.networks.connect(&two.holder.id, &on("tiny"), two.netns.as_fd());
    assert!(matches!(connect(), Err(Error::NoAddress { .. })));
    town.dies(&one);
    let lease = connect().unwrap();
    assert_eq!(lease.attachments[1].addresses[0].address.to_string(), "10.70.0.2");
    town.networks.release(&two.holder.id).unwrap();
}
