//! `kill -9` before each system call by which a start, a renewal or a release changes anything:
//! the next start works, and after its release nothing is left.
//!
//! The victim is this program itself, executed with [`VERB`] set, under strace(1),
//! which kills it at the N-th call of a kind, for N = 1, 2, … until it survives.

mod dhcp_server;
mod host;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dhcp_server::DhcpServer;
use host::{Container, Host, container, eventually, ip, name_server, on, open, parse};
use libtest_mimic::{Arguments, Failed, Trial};
use sampan_network::{Config, Driver, Request, Subnet};

const VERB: &str = "SAMPAN_TEST_VERB";
const DIRECTORY: &str = "SAMPAN_TEST_DIRECTORY";
const NETNS: &str = "SAMPAN_TEST_NETNS";
const SITUATION: &str = "SAMPAN_TEST_SITUATION";

/// Messages to the kernel, files, processes: all that outlives the process.
const CALLS: [&str; 9] =
    ["sendto", "rename", "symlink", "unlink", "rmdir", "mkdir", "write", "setns", "wait4"];

/// Where the container starts.
#[derive(Clone, Copy)]
struct Situation {
    name: &'static str,
    networks: &'static [&'static str],
    ports: &'static [&'static str],
    /// Whether names are answered.
    names: bool,
    /// Whether another container is on the networks already.
    beside: bool,
    /// Every how many calls the victim is killed.
    stride: usize,
}

const SITUATIONS: [Situation; 6] = [
    Situation {
        name: "first_on_a_network",
        networks: &["one"],
        ports: &["8080:80"],
        names: false,
        beside: false,
        stride: 1,
    },
    Situation {
        name: "beside_another",
        networks: &["one"],
        ports: &["8080:80", "5353:53/udp"],
        names: false,
        beside: true,
        stride: 2,
    },
    Situation {
        name: "first_on_two_networks_with_names",
        networks: &["one", "two"],
        ports: &["8080:80"],
        names: true,
        beside: false,
        stride: 3,
    },
    Situation {
        name: "beside_another_with_names",
        networks: &["one", "two"],
        ports: &["8080:80"],
        names: true,
        beside: true,
        stride: 5,
    },
    Situation {
        name: "first_on_a_link_of_the_hosts_and_a_bridge",
        networks: &[LINK, "one"],
        ports: &["8080:80"],
        names: false,
        beside: false,
        stride: 2,
    },
    Situation {
        name: "first_on_a_link_with_a_dhcp_server_and_a_bridge",
        networks: &[DHCP, "one"],
        ports: &["8080:80"],
        names: false,
        beside: false,
        stride: 1,
    },
];

/// The name of a network that is macvlan, and of one that has its addresses from a DHCP server too; the others are
/// bridges.
const LINK: &str = "link";
const DHCP: &str = "dhcp";

fn main() -> ExitCode {
    if let Ok(verb) = std::env::var(VERB) {
        be_the_victim(&verb);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = SITUATIONS
        .into_iter()
        .flat_map(|situation| {
            let start = move || kill_at_every_step(situation, "start");
            let release = move || kill_at_every_step(situation, "release");
            [
                Trial::test(format!("a_start_{}", situation.name), start),
                Trial::test(format!("a_release_{}", situation.name), release),
            ]
        })
        .collect();
    for situation in SITUATIONS.into_iter().filter(|situation| situation.networks.contains(&DHCP)) {
        let renewal = move || kill_at_every_step(situation, "renew");
        trials.push(Trial::test(format!("a_renewal_{}", situation.name), renewal));
    }
    trials.push(Trial::test("an_nft_outlives_its_parent", an_nft_outlives_its_parent));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn be_the_victim(verb: &str) {
    let variable = |name| std::env::var(name).unwrap();
    let situation = SITUATIONS[variable(SITUATION).parse::<usize>().unwrap()];
    let networks = open(variable(DIRECTORY).as_ref());
    let holder = host::holder("victim");
    if verb == "release" {
        return networks.release(&holder.id).unwrap();
    }
    let netns = File::open(variable(NETNS)).unwrap();
    if verb == "renew" {
        let renewals = networks.renew(&holder.id, netns.as_fd(), false).unwrap();
        return assert!(renewals[0].succeeded, "{renewals:?}");
    }
    let lease = networks.reserve(&holder, &situation.requests(), &parse(situation.ports)).unwrap();
    networks.attach(&lease, netns.as_fd()).unwrap();
}

impl Situation {
    fn requests(&self) -> Vec<Request> {
        self.networks.iter().map(|network| on(network)).collect()
    }

    /// A host of its own for each kill, so that it comes at the same step each time.
    fn host(&self) -> Option<(Host, Option<Container>, Option<DhcpServer>)> {
        let host = Host::new()?;
        let mut server = None;
        for name in self.networks {
            let mut config =
                Config { name: (*name).to_owned(), disable_dns: !self.names, ..Config::default() };
            if [LINK, DHCP].contains(name) {
                ip("link add uplink type veth peer name beyond");
                ip("link set uplink up");
                config.driver = Driver::Macvlan;
                config.interface = Some("uplink".to_owned());
                if *name == LINK {
                    config.subnets = vec!["192.0.2.0/24".parse::<Subnet>().unwrap().into()];
                } else {
                    server = Some(DhcpServer::start("beyond"));
                }
            }
            host.networks.create(&config, false).unwrap();
        }
        let other = self.beside.then(|| host.start("other", &self.requests(), &["8081:80"]).0);
        Some((host, other, server))
    }

    /// Does `verb` in a process of its own, which is killed at the n-th call of a kind.
    fn run(&self, host: &Host, netns: &Container, verb: &str, (call, n): (&str, usize)) -> ExitStatus {
        let mut strace = Command::new("strace");
        strace
            .args(["-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
            .arg(std::env::current_exe().unwrap());
        self.command(host, netns, verb, strace).status().unwrap()
    }

    /// Lets `command` be the victim.
    fn command(&self, host: &Host, netns: &Container, verb: &str, mut command: Command) -> Command {
        let place = SITUATIONS.iter().position(|other| other.name == self.name).unwrap();
        command
            .env(VERB, verb)
            .env(DIRECTORY, host.directory())
            .env(NETNS, format!("/proc/{}/fd/{}", std::process::id(), netns.netns.as_raw_fd()))
            .env(SITUATION, place.to_string())
            .stdin(Stdio::null());
        command
    }
}

fn kill_at_every_step(situation: Situation, verb: &str) -> Result<(), Failed> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIP: strace, which kills at a given step, is not installed");
        return Ok(());
    }
    let Some((host, _other, _server)) = situation.host() else { return Ok(()) };
    start_and_release(&host, &situation);
    let nothing = left(&host);
    let mut kills = BTreeMap::new();
    let mut start_again = false;
    for call in CALLS {
        for n in (1..).step_by(situation.stride) {
            let (host, _other, server) = situation.host().unwrap();
            let victim = if verb == "start" {
                container("victim")
            } else {
                host.start("victim", &situation.requests(), situation.ports).0
            };
            let status = situation.run(&host, &victim, verb, (call, n));
            match status.signal() {
                Some(_) => *kills.entry(call).or_insert(0) += 1,
                None if status.success() => break,
                None => return Err(format!("{verb} failed at {call} {n}: {status}").into()),
            }
            let id = victim.holder.id.clone();
            // Its namespace ends with its process, and with it what is in it.
            drop(victim);
            // Half of them are never started again.
            start_again = !start_again;
            if start_again {
                start_and_release(&host, &situation);
                assert!(server.is_none_or(|server| server.is_free_soon()), "the address came back");
            } else {
                // A server whose answer came to nobody has the address back when its time is over.
                host.networks.release(&id).unwrap();
            }
            let stays = more_than(&nothing, &host);
            if !stays.is_empty() {
                return Err(format!("killed at {call} {n}, it left {stays:#?}").into());
            }
        }
    }
    // A kind of call that isn't seen any more would be a test that proves nothing.
    let changes = if verb == "renew" { "rename" } else { "unlink" };
    if !kills.contains_key("sendto") || !kills.contains_key(changes) {
        return Err(format!("the victim was killed at {kills:?} only").into());
    }
    eprintln!("{verb} {}: killed at {kills:?}", situation.name);
    Ok(())
}

/// The start that calls `nft` is killed, and `nft` comes to its end much later: it must not
/// take away what others have added since.
fn an_nft_outlives_its_parent() -> Result<(), Failed> {
    let situation = &SITUATIONS[0];
    let Some((host, ..)) = situation.host() else { return Ok(()) };
    let slow = host.directory().join("slow");
    let called = slow.join("called");
    std::fs::create_dir(&slow)?;
    let done = slow.join("done");
    let script = format!(
        "#!/bin/sh\n: >{}\nsleep 1\nPATH=$LATER nft \"$@\"\n: >{}\n",
        called.display(),
        done.display()
    );
    std::fs::write(slow.join("nft"), script)?;
    std::fs::set_permissions(slow.join("nft"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;

    let victim = container("victim");
    let path = std::env::var("PATH")?;
    let mut command = situation.command(&host, &victim, "start", Command::new(std::env::current_exe()?));
    let mut process = command.env("PATH", format!("{}:{path}", slow.display())).env("LATER", path).spawn()?;
    eventually("that nft is called", || called.exists());
    process.kill()?;
    process.wait()?;
    let (second, _) = host.start("second", &situation.requests(), &["8081:80"]);
    eventually("the end of the nft that was left alone", || done.exists());
    assert!(reaches(&second, 8081), "its published port is gone");
    for container in [victim, second] {
        host.networks.release(&container.holder.id)?;
    }
    Ok(())
}

/// Whether a server in the container is reached by this port of the host.
fn reaches(container: &Container, port: u16) -> bool {
    let _listener = container.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
    let port = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&port, Duration::from_secs(30)).is_ok()
}

/// The same container once more, in a new namespace: it is reached by its port.
fn start_and_release(host: &Host, situation: &Situation) {
    let (again, _) = host.start("victim", &situation.requests(), situation.ports);
    assert!(reaches(&again, 8080));
    host.networks.release(&again.holder.id).unwrap();
}

/// What is left on the host, and whether a name server runs.
fn left(host: &Host) -> String {
    let directory = host.directory();
    let server =
        name_server(directory).is_some_and(|pid| std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    let traces = host.traces().replace(&*directory.to_string_lossy(), "");
    format!("name server: {server}\n{traces}")
}

/// What is left on the host beyond `nothing`, and stays: a name server takes a moment to
/// end, and so does an `nft` whose parent was killed.
fn more_than(nothing: &str, host: &Host) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left = left(host);
        let more: Vec<String> = left
            .lines()
            .filter(|line| !nothing.lines().any(|known| known == *line))
            .map(str::to_owned)
            .collect();
        if more.is_empty() || Instant::now() > deadline {
            return more;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
