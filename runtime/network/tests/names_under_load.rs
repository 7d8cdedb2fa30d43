//! Names while containers come and go: many questions, and no wrong answer.
//!
//! With another aardvark-dns than the installed one: bind-mount it over that in a mount namespace
//! (`unshare -m sh -c 'mount --bind NEW /usr/lib/podman/aardvark-dns && cargo test …'`).

mod dns;
mod host;

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use dns::{Answer, Kind, Upstream};
use host::{Container, Host, on};
use sampan_network::{Config, DNS_DOMAIN, Lease};

const QUESTIONS: usize = 10_000;
const RESIDENTS: usize = 4;
/// Four of them in each resident.
const ASKERS: usize = 16;
/// So many containers come and go, and these threads see to it.
const GUESTS: usize = 200;
const PORTERS: usize = 20;
/// At least so often one of them comes or goes meanwhile.
const CHANGES: usize = 2 * GUESTS;
/// How long a resolver waits for an answer, and how often it asks each server (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;
const UPSTREAM: &str = "127.9.9.9";
const OUTSIDE: [u8; 4] = [192, 0, 2, 9];
const OUTSIDE_DOMAIN: &str = "example.org";

/// One that comes and goes. Its name leads to its address, to none, or it is just about to change (absent).
struct Guest {
    container: Container,
    state: Mutex<(u64, Option<Option<IpAddr>>)>,
}

/// Somebody's place among the others: from where, and of whom, to ask.
#[derive(Clone)]
struct Resident {
    name: String,
    addresses: Vec<IpAddr>,
}

#[derive(Default)]
struct Tally {
    questions: AtomicUsize,
    lost: AtomicUsize,
    lost_again: AtomicUsize,
    lost_outside: AtomicUsize,
    refused: AtomicUsize,
    changes: AtomicUsize,
    slowest: Mutex<Duration>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    /// Asks as a resolver does: one server after the other and again, if no answer comes; not if it is refused.
    fn resolve(&self, servers: &[IpAddr], name: &str, kind: Kind) -> Answer {
        self.questions.fetch_add(1, Relaxed);
        let tries = servers.iter().cycle().take(servers.len() * ATTEMPTS).enumerate();
        for (number, server) in tries {
            let answer = dns::ask(*server, name, kind, PATIENCE);
            if answer == Answer::Refused {
                self.refused.fetch_add(1, Relaxed);
            }
            if answer != Answer::Lost {
                return answer;
            }
            let lost = if number == 0 { &self.lost } else { &self.lost_again };
            lost.fetch_add(1, Relaxed);
        }
        Answer::Lost
    }

    fn is_enough(&self) -> bool {
        self.questions.load(Relaxed) >= QUESTIONS && self.changes.load(Relaxed) >= CHANGES
    }

    fn expect(&self, what: &str, name: &str, answer: &Answer, right: &[Answer]) {
        if !right.contains(answer) {
            self.wrong.lock().unwrap().push(format!("{what}: {name}: {answer:?}, right is {right:?}"));
        }
    }
}

fn first(lease: &Lease) -> IpAddr {
    lease.attachments[0].addresses[0].address
}

#[test]
fn ten_thousand_questions_while_two_hundred_come_and_go() {
    let Some(host) = Host::new() else { return };
    let upstream = Upstream::start(UPSTREAM, OUTSIDE);
    let config = Config {
        name: "load".to_owned(),
        ipv6: true,
        dns_servers: vec![UPSTREAM.parse().unwrap()],
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
    let started: Vec<_> =
        (0..RESIDENTS).map(|number| host.start(&format!("fixed{number}"), &[on("load")], &[])).collect();
    let servers = &started[0].1.dns_servers;
    if servers.is_empty() {
        eprintln!("SKIP: aardvark-dns is not installed");
        return;
    }
    let residents: Vec<Resident> = started
        .iter()
        .map(|(container, lease)| Resident {
            name: container.holder.name.clone(),
            addresses: lease.attachments[0].addresses.iter().map(|a| a.address).collect(),
        })
        .collect();
    let guests: Vec<Guest> = (0..GUESTS)
        .map(|number| Guest {
            container: host::container(&format!("guest{number}")),
            state: Mutex::new((0, Some(None))),
        })
        .collect();

    let tally = Tally::default();
    let is_over = AtomicBool::new(false);
    let begin = Instant::now();
    thread::scope(|scope| {
        for guests in guests.chunks(GUESTS / PORTERS) {
            let (host, tally, is_over) = (&host, &tally, &is_over);
            scope.spawn(move || come_and_go(host, guests, tally, is_over));
        }
        let askers: Vec<_> = started
            .iter()
            .cycle()
            .take(ASKERS)
            .map(|(container, _)| {
                let (residents, guests, tally) = (&residents, &guests, &tally);
                scope.spawn(move || {
                    container.enter();
                    question(servers, residents, guests, tally);
                })
            })
            .collect();
        for asker in askers {
            asker.join().unwrap();
        }
        is_over.store(true, Relaxed);
    });

    eprintln!(
        "{} questions and {} changes in {:.1?}: {} asked twice, {} more often, {} refused, slowest change {:.0?}",
        tally.questions.load(Relaxed),
        tally.changes.load(Relaxed),
        begin.elapsed(),
        tally.lost.load(Relaxed),
        tally.lost_again.load(Relaxed),
        tally.refused.load(Relaxed),
        tally.slowest.lock().unwrap(),
    );
    let own: Vec<_> = upstream.asked().into_iter().filter(|name| !name.ends_with(OUTSIDE_DOMAIN)).collect();
    assert!(own.is_empty(), "the world was asked for {own:?}");
    let wrong = tally.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    // Servers before 1.11 forget what they have asked others whenever they read their files.
    assert!(tally.lost_outside.load(Relaxed) < QUESTIONS / 1000, "the world doesn't answer");
    assert_eq!(tally.refused.load(Relaxed), 0, "a resolver that is refused gives up");
    for holder in
        guests.iter().map(|guest| &guest.container.holder).chain(started.iter().map(|(c, _)| &c.holder))
    {
        host.networks.release(&holder.id).unwrap();
    }
}

/// Starts those that aren't there and stops those that are.
fn come_and_go(host: &Host, guests: &[Guest], tally: &Tally, is_over: &AtomicBool) {
    for guest in guests.iter().cycle() {
        if is_over.load(Relaxed) {
            return;
        }
        let was_there = {
            let mut state = guest.state.lock().unwrap();
            state.0 += 1;
            state.1.take().unwrap().is_some()
        };
        let begin = Instant::now();
        let is_there = if was_there {
            host.networks.release(&guest.container.holder.id).unwrap();
            None
        } else {
            let lease = host.networks.reserve(&guest.container.holder, &[on("load")], &[]).unwrap();
            host.networks.attach(&lease, guest.container.netns()).unwrap();
            Some(first(&lease))
        };
        let mut slowest = tally.slowest.lock().unwrap();
        *slowest = (*slowest).max(begin.elapsed());
        drop(slowest);
        tally.changes.fetch_add(1, Relaxed);
        guest.state.lock().unwrap().1 = Some(is_there);
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asks for everyone, by turns.
fn question(servers: &[IpAddr], residents: &[Resident], guests: &[Guest], tally: &Tally) {
    for turn in (0..).take_while(|_| !tally.is_enough()) {
        let resident = &residents[turn % residents.len()];
        let [ipv4, ipv6] = resident.addresses[..] else { panic!("{:?}", resident.addresses) };
        let (name, kind, right) = match turn % 8 {
            0 => (resident.name.clone(), Kind::A, Answer::of(&[ipv4])),
            1 => (format!("{}.{DNS_DOMAIN}", resident.name), Kind::A, Answer::of(&[ipv4])),
            2 => (resident.name.to_uppercase(), Kind::Aaaa, Answer::of(&[ipv6])),
            3 => (format!("{}.{DNS_DOMAIN}", resident.name), Kind::Aaaa, Answer::of(&[ipv6])),
            4 => (format!("nobody{turn}.{DNS_DOMAIN}"), Kind::A, Answer::NoSuchName),
            5 if turn % 5 == 0 => {
                (format!("host{turn}.{OUTSIDE_DOMAIN}"), Kind::A, Answer::of(&[IpAddr::from(OUTSIDE)]))
            }
            _ => {
                ask_for_guest(servers, &guests[turn * 7 % guests.len()], tally);
                continue;
            }
        };
        let answer = tally.resolve(servers, &name, kind);
        if answer == Answer::Lost && name.ends_with(OUTSIDE_DOMAIN) {
            tally.lost_outside.fetch_add(1, Relaxed);
        } else {
            tally.expect("resident", &name, &answer, &[right]);
        }
        thread::sleep(Duration::from_millis(8));
    }
}

/// What is right depends on whether it came or went meanwhile.
fn ask_for_guest(servers: &[IpAddr], guest: &Guest, tally: &Tally) {
    let name = format!("{}.{DNS_DOMAIN}", guest.container.holder.name);
    let before = *guest.state.lock().unwrap();
    let answer = tally.resolve(servers, &name, Kind::A);
    let after = *guest.state.lock().unwrap();
    if before == after
        && let Some(there) = before.1
    {
        let right = there.map_or(Answer::NoSuchName, |address| Answer::of(&[address]));
        tally.expect("guest", &name, &answer, &[right]);
    } else if matches!(answer, Answer::Lost | Answer::Refused | Answer::Code(_)) {
        tally.expect("changing guest", &name, &answer, &[]);
    }
}
