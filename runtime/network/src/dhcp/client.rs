//! The conversation of a client with servers (RFC 2131, sections 3 and 4.4).

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};

use super::arp::Arp;
use super::frame::{EVERYONE, Way};
use super::message::{Answer, Kind, Question, code};
use super::terms::Terms;
use super::wire::{Received, Wire, is_passing};
use crate::mac::Mac;

/// Before the same is said again for the first time; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// For an address that we had before: its server answers at once, others may not at all.
const REBOOT_PATIENCE: Duration = Duration::from_millis(1500);
/// For the answer to a request, before we look for another server.
const REQUEST_PATIENCE: Duration = Duration::from_secs(4);
/// So many addresses of a server may be in use by others before we give up. RFC 2131 (section 3.1) wants ten seconds
/// between two of them, lest a client goes on for ever; this one comes to an end.
const MOST_DECLINED: usize = 3;
/// The longest message that we take: what an Ethernet frame carries.
const MAXIMUM_SIZE: [u8; 2] = 1472_u16.to_be_bytes();

/// What we would like to know.
const PARAMETERS: [u8; 10] = [
    // First, as RFC 3442 wants it.
    code::CLASSLESS_ROUTES,
    code::SUBNET_MASK,
    code::ROUTER,
    code::DNS_SERVER,
    code::DOMAIN,
    code::SEARCH,
    code::MTU,
    code::LEASE_TIME,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
];

/// Who we are to a server.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) wire: &'a Wire,
    /// Asks whether somebody has an address; absent where a server's word is enough.
    pub(super) arp: Option<&'a Arp>,
    /// The client identifier (RFC 4361).
    pub(super) id: &'a [u8],
    pub(super) hostname: Option<&'a str>,
    /// Only broadcasts reach the interface until it has its address.
    pub(super) broadcast: bool,
}

/// An address that this client had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    pub(super) address: Ipv4Addr,
    /// Whether it is still ours, as far as we know.
    pub(super) is_held: bool,
}

/// What a server has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) terms: Terms,
    /// The machine that leads to the server.
    pub(super) server_mac: [u8; 6],
}

/// Why there is no lease.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody has answered, but perhaps with nonsense: the last of it in words.
    Silence(Option<String>),
    /// A server doesn't want us to have the address.
    Refused(String),
    /// Somebody else has each of the addresses; the last of them, and who it is.
    Taken(Ipv4Addr, Mac),
    Kernel(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error)
    }
}

/// Whom to ask for more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The server that has granted it, over this machine.
    Server([u8; 6]),
    Anyone,
}

/// One exchange: questions that have the same `xid`.
struct Exchange<'a> {
    client: &'a Client<'a>,
    xid: u32,
    start: Instant,
    /// The last answer that wasn't taken, and why.
    nonsense: Option<String>,
}

impl Client<'_> {
    /// Gets an address that nobody else has, the previous one if possible.
    pub(super) fn acquire(&self, previous: Option<Previous>, deadline: Instant) -> Result<Granted, Failure> {
        let mut previous = previous;
        let mut declined = 0;
        loop {
            let granted = self.agree(previous.take(), deadline)?;
            let Some((address, owner)) = self.owner(&granted.terms)? else { return Ok(granted) };
            log::warn!("{} grants {address}, which {owner} has: it is declined", granted.terms.server);
            self.decline(address, granted.terms.server)?;
            declined += 1;
            if declined == MOST_DECLINED || Instant::now() >= deadline {
                return Err(Failure::Taken(address, owner));
            }
        }
    }

    /// Comes to an agreement with a server, upon the previous address if possible.
    fn agree(&self, previous: Option<Previous>, deadline: Instant) -> Result<Granted, Failure> {
        let mut refused = None;
        match self.try_to_agree(previous, deadline, &mut refused) {
            // The time was over before the same was said once more.
            Err(Failure::Silence(heard)) => Err(refused.map_or(Failure::Silence(heard), Failure::Refused)),
            other => other,
        }
    }

    /// The same; `refused` is why a server has refused what it had offered.
    fn try_to_agree(
        &self,
        previous: Option<Previous>,
        deadline: Instant,
        refused: &mut Option<String>,
    ) -> Result<Granted, Failure> {
        let mut wanted = previous.map(|previous| previous.address);
        if let Some(Previous { address, is_held: true }) = previous {
            let until = deadline.min(Instant::now() + REBOOT_PATIENCE);
            match self.confirm(address, until) {
                Err(Failure::Silence(_)) => {}
                Err(Failure::Refused(_)) => wanted = None,
                other => return other,
            }
        }
        loop {
            let mut exchange = Exchange::new(self)?;
            let offer = exchange.discover(wanted, deadline)?;
            let until = deadline.min(Instant::now() + REQUEST_PATIENCE);
            match exchange.request(&offer, until) {
                // The server has changed its mind, or lost its tongue: once more from the start.
                Err(Failure::Silence(_)) if Instant::now() < deadline => {}
                Err(Failure::Refused(why)) => {
                    wanted = None;
                    let until = deadline.min(Instant::now() + FIRST_PAUSE);
                    if until == deadline {
                        return Err(Failure::Refused(why));
                    }
                    *refused = Some(why);
                    // A server that offers and refuses in a circle must not keep us busy.
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                }
                other => return other,
            }
        }
    }

    /// Who else has an address that was granted.
    fn owner(&self, terms: &Terms) -> io::Result<Option<(Ipv4Addr, Mac)>> {
        let (Some(arp), IpAddr::V4(address)) = (self.arp, terms.address.address) else { return Ok(None) };
        Ok(arp.owner(address)?.map(|owner| (address, owner)))
    }

    /// Tells the server that somebody else has the address (RFC 2131, section 4.4.4). Nobody answers.
    fn decline(&self, address: Ipv4Addr, server: Ipv4Addr) -> io::Result<()> {
        let (octets, server) = (address.octets(), server.octets());
        let question = Question {
            kind: Kind::Decline,
            xid: random()?,
            seconds: 0,
            broadcast: false,
            address: Ipv4Addr::UNSPECIFIED,
            mac: self.wire.mac(),
            options: vec![
                (code::REQUESTED_ADDRESS, &octets),
                (code::SERVER, &server),
                (code::CLIENT, self.id),
                (code::MESSAGE, b"another machine answers for it"),
            ],
        };
        match self.wire.send(&to_everyone(self.wire.mac()), &question.encode()) {
            // Lost, as any packet may be: the server offers it again, and hears it again.
            Err(error) if is_passing(&error) => Ok(()),
            sent => sent,
        }
    }

    /// INIT-REBOOT: whether an address is still ours.
    fn confirm(&self, address: Ipv4Addr, until: Instant) -> Result<Granted, Failure> {
        let mut exchange = Exchange::new(self)?;
        let octets = address.octets();
        let question = exchange.question(Kind::Request, vec![(code::REQUESTED_ADDRESS, &octets[..])]);
        exchange.ask(question, &to_everyone(self.wire.mac()), until, |answer, _| match answer.kind {
            Kind::Ack => Some(granted_address(answer, address)),
            Kind::Nak => Some(Err(Refusal::Final(words(answer)))),
            _ => None,
        })
    }

    /// Asks for more time; the same address, or none.
    pub(super) fn renew(&self, terms: &Terms, whom: Whom, deadline: Instant) -> Result<Granted, Failure> {
        let IpAddr::V4(address) = terms.address.address else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        };
        let mac = self.wire.mac();
        let way = match whom {
            Whom::Server(destination_mac) => {
                Way { source_mac: mac, destination_mac, source: address, destination: terms.server }
            }
            Whom::Anyone => Way { source: address, ..to_everyone(mac) },
        };
        let mut exchange = Exchange::new(self)?;
        let question = Question {
            address,
            // We have an address to answer to.
            broadcast: false,
            ..exchange.question(Kind::Request, Vec::new())
        };
        exchange.ask(question, &way, deadline, |answer, _| match answer.kind {
            Kind::Ack => Some(granted_address(answer, address)),
            Kind::Nak => Some(Err(Refusal::Final(words(answer)))),
            _ => None,
        })
    }
}

/// Gives an address back, in the name of an interface that may be gone: `wire` is one that leads to
/// the server. Nobody answers.
pub(super) fn release(
    wire: &Wire,
    mac: [u8; 6],
    id: &[u8],
    terms: &Terms,
    server_mac: [u8; 6],
) -> io::Result<()> {
    let IpAddr::V4(address) = terms.address.address else { return Ok(()) };
    let server = terms.server.octets();
    let question = Question {
        kind: Kind::Release,
        xid: random()?,
        seconds: 0,
        broadcast: false,
        address,
        mac,
        options: vec![(code::SERVER, &server), (code::CLIENT, id)],
    };
    let way =
        Way { source_mac: mac, destination_mac: server_mac, source: address, destination: terms.server };
    wire.send(&way, &question.encode())
}

/// Why an answer isn't taken.
enum Refusal {
    /// It makes no sense; another server may answer better.
    Nonsense(String),
    Final(String),
}

impl<'a> Exchange<'a> {
    fn new(client: &'a Client<'a>) -> io::Result<Self> {
        Ok(Self { client, xid: random()?, start: Instant::now(), nonsense: None })
    }

    /// DISCOVER, up to an offer that makes sense.
    fn discover(&mut self, wanted: Option<Ipv4Addr>, until: Instant) -> Result<Granted, Failure> {
        let octets = wanted.map(|address| address.octets());
        let options = octets.iter().map(|octets| (code::REQUESTED_ADDRESS, &octets[..])).collect();
        let question = self.question(Kind::Discover, options);
        self.ask(question, &to_everyone(self.client.wire.mac()), until, |answer, _| {
            (answer.kind == Kind::Offer).then(|| Terms::read(answer).map_err(Refusal::Nonsense))
        })
    }

    /// REQUEST of what was offered.
    fn request(&mut self, offer: &Granted, until: Instant) -> Result<Granted, Failure> {
        let IpAddr::V4(address) = offer.terms.address.address else { return Err(Failure::Silence(None)) };
        let (octets, server) = (address.octets(), offer.terms.server.octets());
        let options = vec![(code::REQUESTED_ADDRESS, &octets[..]), (code::SERVER, &server[..])];
        let question = self.question(Kind::Request, options);
        self.ask(question, &to_everyone(self.client.wire.mac()), until, |answer, _| {
            if answer.server() != Some(offer.terms.server) {
                return None;
            }
            match answer.kind {
                Kind::Ack => Some(granted_address(answer, address)),
                Kind::Nak => Some(Err(Refusal::Final(words(answer)))),
                _ => None,
            }
        })
    }

    fn question<'q>(&self, kind: Kind, mut options: Vec<(u8, &'q [u8])>) -> Question<'q>
    where
        'a: 'q,
    {
        options.extend([
            (code::CLIENT, self.client.id),
            (code::MAXIMUM_SIZE, &MAXIMUM_SIZE[..]),
            (code::PARAMETERS, &PARAMETERS[..]),
        ]);
        options.extend(self.client.hostname.map(|name| (code::HOST_NAME, name.as_bytes())));
        Question {
            kind,
            xid: self.xid,
            seconds: 0,
            broadcast: self.client.broadcast,
            address: Ipv4Addr::UNSPECIFIED,
            mac: self.client.wire.mac(),
            options,
        }
    }

    /// Says the same until it is answered; `accept` leaves out (`None`) what isn't meant.
    fn ask(
        &mut self,
        mut question: Question<'_>,
        way: &Way,
        until: Instant,
        accept: impl Fn(&Answer, &Received) -> Option<Result<Terms, Refusal>>,
    ) -> Result<Granted, Failure> {
        let wire = self.client.wire;
        let mut pause = FIRST_PAUSE;
        while Instant::now() < until {
            question.seconds = u16::try_from(self.start.elapsed().as_secs()).unwrap_or(u16::MAX);
            match wire.send(way, &question.encode()) {
                Err(error) if is_passing(&error) => {}
                sent => sent?,
            }
            let again = until.min(Instant::now() + jittered(pause)?);
            while let Some(received) = wire.receive(again)? {
                let Some(answer) = Answer::parse(&received.message, self.xid, question.mac) else { continue };
                match accept(&answer, &received) {
                    Some(Ok(terms)) => return Ok(Granted { terms, server_mac: received.from }),
                    Some(Err(Refusal::Nonsense(why))) => {
                        self.nonsense =
                            Some(format!("the answer of {} is not usable: {why}", received.source));
                    }
                    Some(Err(Refusal::Final(why))) => return Err(Failure::Refused(why)),
                    None => {}
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Failure::Silence(self.nonsense.take()))
    }
}

/// An acknowledgement that grants this address and no other.
fn granted_address(answer: &Answer, address: Ipv4Addr) -> Result<Terms, Refusal> {
    if answer.address != address {
        let other = answer.address;
        return Err(Refusal::Nonsense(format!("it grants {other} where {address} was asked for")));
    }
    Terms::read(answer).map_err(Refusal::Nonsense)
}

/// A server's refusal.
fn words(answer: &Answer) -> String {
    let server = answer.server().map_or_else(|| "a DHCP server".to_owned(), |server| server.to_string());
    match answer.words() {
        Some(words) => format!("{server} refuses it: {words}"),
        None => format!("{server} refuses it"),
    }
}

fn to_everyone(mac: [u8; 6]) -> Way {
    Way {
        source_mac: mac,
        destination_mac: EVERYONE,
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::BROADCAST,
    }
}

/// A pause with a quarter more or less, so that machines that start together don't speak together.
fn jittered(pause: Duration) -> io::Result<Duration> {
    Ok(pause.mul_f64(0.75 + 0.5 * f64::from(random()?) / f64::from(u32::MAX)))
}

fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u32::from_ne_bytes(bytes))
}
