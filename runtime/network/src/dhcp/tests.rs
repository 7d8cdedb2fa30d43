//! The client against servers: dnsmasq, and one that says what a test wants.
//!
//! Each test is a network namespace with a link of two ends, `c0` of the client and
//! `s0` of the server.

use std::cell::Cell;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use super::arp::Arp;
use super::client::{Client, Failure, Granted, Previous, Whom, release};
use super::message::{Kind, code};
use super::wire::Wire;

const ID: &[u8] = b"\xff\x00\x00\x00\x01test";
const XID: usize = 4;
const CHADDR: std::ops::Range<usize> = 28..34;
const YIADDR: usize = 16;

/// Makes the link; absent, with a word why, where that can't be done.
fn link() -> Option<Wire> {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        eprintln!("SKIP: no private network namespace ({error}); run as root");
        return None;
    }
    for arguments in [
        "link add c0 type veth peer name s0",
        "link set c0 up",
        "link set s0 up",
        "addr add 10.3.0.1/24 dev s0",
        "route add 255.255.255.255 dev s0",
    ] {
        ip(arguments);
    }
    Some(Wire::open("c0").unwrap())
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "{arguments}");
}

fn client<'a>(wire: &'a Wire) -> Client<'a> {
    Client { wire, arp: None, id: ID, hostname: Some("web"), broadcast: false }
}

fn within(seconds: f32) -> Instant {
    Instant::now() + Duration::from_secs_f32(seconds)
}

/// dnsmasq, which ends with the test.
struct Dnsmasq(Child, tempfile::TempDir);

impl Dnsmasq {
    fn start(more: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let leases = directory.path().join("leases");
        let started = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                "--no-ping",
                "--log-facility=-",
            ])
            .args([
                "--interface=s0",
                "--bind-interfaces",
                "--dhcp-range=10.3.0.50,10.3.0.60,255.255.255.0,1h",
            ])
            .args([
                "--domain=lan.example",
                "--dhcp-option=option:dns-server,10.3.0.2",
                "--user=root",
                "--pid-file=",
            ])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(more)
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Some(Self(child, directory)),
            Err(error) => {
                eprintln!("SKIP: dnsmasq: {error}");
                None
            }
        }
    }

    fn leases(&self) -> String {
        std::fs::read_to_string(self.1.path().join("leases")).unwrap_or_default()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn dnsmasq_grants_confirms_extends_and_takes_back() {
    let Some(wire) = link() else { return };
    let Some(dnsmasq) = Dnsmasq::start(&[]) else { return };
    let client = client(&wire);
    let Granted { terms, server_mac } = client.acquire(None, within(30.0)).unwrap();
    assert_eq!(terms.server, Ipv4Addr::new(10, 3, 0, 1));
    assert_eq!(terms.routers, [terms.server]);
    assert_eq!(terms.search, ["lan.example"]);
    assert_eq!(terms.dns_servers, [std::net::IpAddr::from([10, 3, 0, 2])]);
    let times = terms.times.unwrap();
    assert_eq!((times.renewal, times.rebinding, times.expiry), (1800, 3150, 3600));
    let leases = dnsmasq.leases();
    assert!(leases.contains("web") && leases.contains("ff:00:00:00:01"), "{leases}");

    let std::net::IpAddr::V4(address) = terms.address.address else { panic!() };
    let previous = Previous { address, is_held: true };
    // Whoever waits for nothing before a new offer takes longer, each time; on a slow machine others may, now and then.
    let is_confirmed_at_once = (0..10).any(|_| {
        let start = Instant::now();
        assert_eq!(client.acquire(Some(previous), within(30.0)).unwrap().terms, terms);
        start.elapsed() < Duration::from_millis(900)
    });
    assert!(is_confirmed_at_once);

    for whom in [Whom::Server(server_mac), Whom::Anyone] {
        assert_eq!(client.renew(&terms, whom, within(30.0)).unwrap().terms.address, terms.address);
    }
    release(&wire, wire.mac(), ID, &terms, server_mac).unwrap();
    let end = within(30.0);
    while !dnsmasq.leases().is_empty() {
        assert!(Instant::now() < end, "released: {}", dnsmasq.leases());
        thread::sleep(Duration::from_millis(20));
    }
    // The server knows nothing of it any more, and gives it once more because it is asked for.
    let previous = Previous { address: [10, 3, 0, 58].into(), is_held: false };
    let again = client.acquire(Some(previous), within(30.0)).unwrap();
    assert_eq!(again.terms.address.to_string(), "10.3.0.58/24");
}

#[test]
fn an_address_of_another_network_is_refused_and_replaced() {
    let Some(wire) = link() else { return };
    let Some(_dnsmasq) = Dnsmasq::start(&["--dhcp-authoritative"]) else { return };
    let previous = Previous { address: [192, 0, 2, 7].into(), is_held: true };
    let granted = client(&wire).acquire(Some(previous), within(30.0)).unwrap();
    assert!(granted.terms.address.to_string().starts_with("10.3.0."));
}

/// A server whose every answer the test makes: `say` gets the kind of a question (1 is DISCOVER, 3 REQUEST)
/// and how many came before it.
fn scripted(say: impl Fn(u8, usize) -> Vec<Reply> + Send + 'static) {
    // The kind is the first option.
    scripted_by(move |question, number| say(question[242], number));
}

/// The same for a test that looks at the whole question.
fn scripted_by(say: impl Fn(&[u8], usize) -> Vec<Reply> + Send + 'static) {
    let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
    socket.set_broadcast(true).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        for number in 0.. {
            let Ok((length, _)) = socket.recv_from(&mut buffer) else { return };
            let question = &buffer[..length];
            for reply in say(question, number) {
                let _ = socket.send_to(&reply.bytes(question), ("255.255.255.255", 68));
            }
        }
    });
}

#[derive(Clone)]
struct Reply {
    kind: Kind,
    address: [u8; 4],
    options: Vec<(u8, Vec<u8>)>,
    /// Cut to this length.
    length: usize,
    /// Not the xid of the question.
    stray: bool,
}

impl Reply {
    fn new(kind: Kind) -> Self {
        let options: &[(u8, &[u8])] = &[
            (code::SERVER, &[10, 3, 0, 1]),
            (code::SUBNET_MASK, &[255, 255, 255, 0]),
            (code::LEASE_TIME, &[0, 0, 0, 4]),
        ];
        let options = options.iter().map(|(code, value)| (*code, value.to_vec())).collect();
        Self { kind, address: [10, 3, 0, 77], options, length: usize::MAX, stray: false }
    }

    fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options.retain(|(other, _)| *other != code);
        self.options.push((code, value.to_vec()));
        self
    }

    fn bytes(&self, question: &[u8]) -> Vec<u8> {
        let options: Vec<_> = self.options.iter().map(|(code, value)| (*code, &value[..])).collect();
        let mut bytes = super::message::tests::answer(self.kind, self.address, &options);
        bytes[XID..XID + 4].copy_from_slice(&question[XID..XID + 4]);
        bytes[XID] ^= u8::from(self.stray);
        bytes[CHADDR].copy_from_slice(&question[CHADDR]);
        bytes[YIADDR..YIADDR + 4].copy_from_slice(&self.address);
        bytes.truncate(self.length);
        bytes
    }
}

fn usual(kind: u8) -> Vec<Reply> {
    match kind {
        1 => vec![Reply::new(Kind::Offer)],
        3 => vec![Reply::new(Kind::Ack)],
        _ => Vec::new(),
    }
}

#[test]
fn nonsense_doesnt_hide_the_answer_that_comes_with_it() {
    let Some(wire) = link() else { return };
    scripted(|kind, _| {
        let real = usual(kind);
        let Some(good) = real.first() else { return real };
        vec![
            Reply { stray: true, ..good.clone() },
            Reply { length: 245, ..good.clone() },
            Reply { length: 3, ..good.clone() },
            Reply { address: [127, 0, 0, 1], ..good.clone() },
            good.clone().with(code::SUBNET_MASK, &[255, 0, 255, 0]),
            good.clone().with(code::OVERLOAD, &[3]).with(code::MESSAGE_TYPE, &[99]),
            Reply { kind: Kind::Nak, ..good.clone() }.with(code::SERVER, &[10, 3, 0, 66]),
            good.clone(),
        ]
    });
    let granted = client(&wire).acquire(None, within(30.0)).unwrap();
    assert_eq!(granted.terms.address.to_string(), "10.3.0.77/24");
    assert_eq!(granted.terms.times.unwrap().renewal, 2);
}

#[test]
fn silence_has_an_end_and_says_what_was_heard() {
    let Some(wire) = link() else { return };
    scripted(|kind, _| match kind {
        1 => vec![Reply::new(Kind::Offer).with(code::SUBNET_MASK, &[255, 0, 255, 0])],
        _ => Vec::new(),
    });
    let start = Instant::now();
    let failure = client(&wire).acquire(None, within(4.0)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let Failure::Silence(Some(heard)) = failure else { panic!("{failure:?}") };
    assert!(heard.contains("10.3.0.1") && heard.contains("gaps"), "{heard}");
}

#[test]
fn a_server_that_offers_and_refuses_comes_to_an_end() {
    let Some(wire) = link() else { return };
    scripted(|kind, _| match kind {
        1 => vec![Reply::new(Kind::Offer)],
        3 => vec![Reply::new(Kind::Nak).with(code::MESSAGE, b"not today")],
        _ => Vec::new(),
    });
    let start = Instant::now();
    let failure = client(&wire).acquire(None, within(2.5)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(matches!(&failure, Failure::Refused(why) if why.contains("not today")), "{failure:?}");
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let Some(wire) = link() else { return };
    // The first question of each kind is lost.
    scripted(|kind, number| if matches!((kind, number), (1, 0) | (3, 2)) { Vec::new() } else { usual(kind) });
    let granted = client(&wire).acquire(None, within(60.0)).unwrap();
    assert_eq!(granted.terms.address.to_string(), "10.3.0.77/24");
}

#[test]
fn a_refusal_ends_the_address() {
    let Some(wire) = link() else { return };
    scripted(|kind, number| match number {
        0 | 1 => usual(kind),
        _ => vec![Reply::new(Kind::Nak).with(code::MESSAGE, b"gone")],
    });
    let Granted { terms, server_mac } = client(&wire).acquire(None, within(30.0)).unwrap();
    for whom in [Whom::Server(server_mac), Whom::Anyone] {
        let failure = client(&wire).renew(&terms, whom, within(30.0)).unwrap_err();
        assert!(matches!(&failure, Failure::Refused(why) if why.contains("gone")), "{failure:?}");
    }
}

#[test]
fn another_address_than_asked_for_is_no_extension() {
    let Some(wire) = link() else { return };
    scripted(|kind, number| match number {
        0 | 1 => usual(kind),
        _ => vec![Reply { address: [10, 3, 0, 99], ..Reply::new(Kind::Ack) }],
    });
    let Granted { terms, server_mac } = client(&wire).acquire(None, within(30.0)).unwrap();
    let failure = client(&wire).renew(&terms, Whom::Server(server_mac), within(4.0)).unwrap_err();
    assert!(matches!(&failure, Failure::Silence(Some(why)) if why.contains("10.3.0.99")), "{failure:?}");
}

/// A server that grants one address after the other, from 10.3.0.77 on; the addresses that are declined, as its
/// questions come.
fn one_after_the_other() -> mpsc::Receiver<Ipv4Addr> {
    let (sender, declined) = mpsc::channel();
    let last = Cell::new(77);
    scripted_by(move |question, _| {
        let granted =
            usual(question[242]).into_iter().map(|reply| Reply { address: [10, 3, 0, last.get()], ..reply });
        if question[242] == Kind::Decline as u8 {
            assert_eq!(question[12..16], [0; 4], "a client that declines has no address");
            assert_eq!(question[243..249], [code::REQUESTED_ADDRESS, 4, 10, 3, 0, last.get()]);
            assert_eq!(question[249..255], [code::SERVER, 4, 10, 3, 0, 1]);
            sender.send(Ipv4Addr::new(10, 3, 0, last.get())).unwrap();
            last.set(last.get() + 1);
        }
        granted.collect()
    });
    declined
}

#[test]
fn an_address_that_somebody_has_is_declined_and_another_taken() {
    let Some(wire) = link() else { return };
    let arp = Arp::open("c0").unwrap();
    // The machine at the other end answers for it.
    ip("addr add 10.3.0.77/24 dev s0");
    let declined = one_after_the_other();
    let client = Client { arp: Some(&arp), ..client(&wire) };
    let start = Instant::now();
    let granted = client.acquire(None, within(5.0)).unwrap();
    assert_eq!(granted.terms.address.to_string(), "10.3.0.78/24");
    assert_eq!(declined.try_iter().collect::<Vec<_>>(), [Ipv4Addr::new(10, 3, 0, 77)]);
    // Silence is waited for once, the one who answers not at all.
    assert!((180..900).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());

    // So is one that the client had before, and whose server confirms it.
    ip("addr add 10.3.0.78/24 dev s0");
    let previous = Previous { address: [10, 3, 0, 78].into(), is_held: true };
    let granted = client.acquire(Some(previous), within(5.0)).unwrap();
    assert_eq!(granted.terms.address.to_string(), "10.3.0.79/24");
    assert_eq!(declined.try_iter().collect::<Vec<_>>(), [Ipv4Addr::new(10, 3, 0, 78)]);
}

#[test]
fn a_link_where_somebody_has_every_address_is_given_up() {
    let Some(wire) = link() else { return };
    let arp = Arp::open("c0").unwrap();
    (77..99).for_each(|last| ip(&format!("addr add 10.3.0.{last}/24 dev s0")));
    let declined = one_after_the_other();
    let client = Client { arp: Some(&arp), ..client(&wire) };
    let failure = client.acquire(None, within(5.0)).unwrap_err();
    let Failure::Taken(address, owner) = failure else { panic!("{failure:?}") };
    assert_eq!(address, Ipv4Addr::new(10, 3, 0, 79));
    let shown = Command::new("ip").args(["link", "show", "s0"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&owner.to_string()), "{owner}: {shown}");
    // The last of them too, though nobody asks for another.
    for last in 77..80 {
        assert_eq!(declined.recv_timeout(Duration::from_secs(10)).unwrap(), Ipv4Addr::new(10, 3, 0, last));
    }
    assert!(declined.try_recv().is_err());
}
