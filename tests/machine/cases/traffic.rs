//! Networks with much going on in them, and what a real server sees of who asks it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::leftovers::Inventory;

use crate::fixture::{BUSYBOX, busybox, install, start, test};
use crate::leftovers::nothing_new;

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test(&format!("traffic::{name}"), case);
    vec![
        test("many_containers_come_go_and_are_killed", many_come_go_and_are_killed),
        test("nginx_sees_who_asks", nginx_sees_who_asks),
        test("namespaces_of_others_are_reached", namespaces_of_others_are_reached),
    ]
}

const READY: Duration = Duration::from_secs(20);

/// The instances of the template; the scripts below count alike.
const INSTANCES: std::ops::Range<u64> = 10..50;

/// Its port on the host has the instance's name in it; it ends at once when it is stopped.
const TEMPLATE: &str = "[Unit]\nStartLimitIntervalSec=0\n[Container]\nImage=localhost:5000/busybox:latest\n\
    ContainerName=c%i\nNetwork=app.network\nPublishPort=90%i:80\nStopSignal=KILL\n\
    Exec=sh -c 'echo c%i >/www/name; exec httpd -f -p 80 -h /www'\n\
    [Service]\nRestart=always\nRestartSec=100ms\n";

/// Numbers that follow from a seed, which a failure tells.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// The units of about one in `among` instances.
    fn pick(&mut self, among: u64) -> Vec<String> {
        INSTANCES.filter(|_| self.next().is_multiple_of(among)).map(unit).collect()
    }

    /// Marsaglia's xorshift64.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }
}

fn unit(instance: u64) -> String {
    format!("c@{instance}.service")
}

/// `systemctl VERB… UNIT…`, or nothing if there is no unit.
fn systemctl(machine: &Machine, verb: &[&str], units: &[String]) -> Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    let mut command = vec!["systemctl"];
    command.extend(verb);
    command.extend(units.iter().map(String::as_str));
    machine.ok(&command).map(drop)
}

/// Each port of the host leads to its own container, and each name is known to a neighbour with
/// the one address that its container has.
fn all_is_well(machine: &Machine, when: &str) -> Result<()> {
    let mut wrong = String::new();
    let ask = "for i in $(seq 10 49); do [ \"$(curl -s --max-time 2 http://127.0.0.1:90$i/name)\" = c$i ] \
         || echo port 90$i; done";
    let ports = machine.wait("ports", READY, |m| {
        wrong = m.shell(ask)?;
        Ok(wrong.is_empty())
    });
    ensure!(ports.is_ok(), "{when}, without answer or with another container's: {wrong}");
    let addresses = "sampan inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \
                     $(seq -f c%g 10 49)";
    let addresses = machine.shell(addresses)?;
    let names = "for i in $(seq 10 49); do nslookup -type=a c$i | \
                 sed -n '/^Name/,$s/^Address: *//p'; done";
    let names = machine.ok(&["sampan", "exec", "c10", "sh", "-c", names])?;
    ensure!(addresses == names, "{when}, the addresses are\n{addresses}but by name\n{names}");
    Ok(())
}

/// Kills, restarts and stops containers at random, without waiting for what becomes of them.
fn disturb(machine: &Machine, dice: &mut Dice) -> Result<()> {
    let kill = |units: Vec<String>| {
        // Of a unit that is stopped at this moment there is nothing to kill.
        let _ = systemctl(machine, &["kill", "--signal=KILL"], &units);
    };
    kill(dice.pick(3));
    systemctl(machine, &["restart", "--no-block"], &dice.pick(3))?;
    // In the midst of their starts and stops.
    std::thread::sleep(Duration::from_millis(dice.next() % 300));
    kill(dice.pick(4));
    systemctl(machine, &["stop"], &dice.pick(5))
}

fn many_come_go_and_are_killed(machine: &Machine) -> Result<()> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let seed = u64::try_from(seed % u128::from(u64::MAX))?;
    come_go_and_are_killed(machine, &mut Dice(seed)).with_context(|| format!("the dice's seed was {seed}"))
}

fn come_go_and_are_killed(machine: &Machine, dice: &mut Dice) -> Result<()> {
    install(machine, &[("app.network", "[Network]\nIPv6=true\n"), ("c@.container", TEMPLATE)])?;
    start(machine, "c@99")?;
    machine.ok(&["systemctl", "stop", "c@99"])?;
    let before = Inventory::take(machine)?;
    let all: Vec<String> = INSTANCES.map(unit).collect();
    systemctl(machine, &["start"], &all)?;
    all_is_well(machine, "at first")?;
    for round in 1..=4 {
        disturb(machine, dice)?;
        if round % 2 == 0 {
            machine.ok(&["nft", "delete", "table", "inet", "sampan"])?;
            disturb(machine, dice)?;
        }
        if round == 2 {
            machine.ok(&["sampan", "network", "reload", "--all"])?;
        }
        systemctl(machine, &["start"], &all)?;
        all_is_well(machine, &format!("after round {round}"))?;
    }
    // A last kill spares those who tidy up: what they leave if killed waits for the next start.
    systemctl(machine, &["kill", "--kill-whom=main", "--signal=KILL"], &dice.pick(3))?;
    systemctl(machine, &["stop"], &all)?;
    // What was killed and then stopped counts as failed.
    machine.ok(&["systemctl", "reset-failed"])?;
    let killed = machine.journal("c@*")?.matches("was killed by SIGKILL").count();
    ensure!(killed > 10, "only {killed} containers were killed");
    nothing_new(machine, &before, "many containers")
}

/// A machine elsewhere, whose way to the containers leads by the host.
const FAR: &str = "ip netns add far; ip link add near0 type veth peer name far0 netns far; \
    ip addr add 198.51.100.1/24 dev near0; ip addr add 2001:db8::1/64 dev near0 nodad; \
    ip link set near0 up; ip -n far addr add 198.51.100.9/24 dev far0; \
    ip -n far addr add 2001:db8::9/64 dev far0 nodad; ip -n far link set far0 up; \
    ip -n far link set lo up; ip -n far route add default via 198.51.100.1; \
    ip -n far -6 route add default via 2001:db8::1";

/// The client's address in the line of nginx's access log that has `path` in it.
fn logged(machine: &Machine, path: &str) -> Result<String> {
    let mut client = None;
    let line = format!("\"GET {path} HTTP/1.1\"");
    machine.wait(&format!("nginx logs {path}"), READY, |m| {
        let log = m.journal("seen")?;
        client = log.lines().find(|l| l.contains(&line)).and_then(|l| Some(l.split_once(' ')?.0.to_owned()));
        Ok(client.is_some())
    })?;
    client.context("no client")
}

fn nginx_sees_who_asks(machine: &Machine) -> Result<()> {
    machine.shell(FAR)?;
    let network = |n: u8| format!("[Network]\nSubnet=10.124.{n}.0/24\nSubnet=fd00:124:{n}::/64\n");
    let nginx = "[Container]\nImage=localhost:5000/nginx-stdout\nContainerName=seen\nPublishPort=8210:80\n\
                 Network=app.network:ip=10.124.1.10,ip=fd00:124:1::10\n";
    install(
        machine,
        &[("app.network", &network(1)), ("other.network", &network(2)), ("seen.container", nginx)],
    )?;
    start(machine, "seen")?;
    machine
        .wait("nginx answers", READY, |m| Ok(m.run(&["curl", "-sf", "http://10.124.1.10/"])?.success()))?;
    for (name, network, n) in [("near", "app", 1), ("other", "other", 2)] {
        let more =
            format!("ContainerName={name}\nNetwork={network}.network:ip=10.124.{n}.20,ip=fd00:124:{n}::20");
        busybox(machine, name, "sleep infinity", &more)?;
        start(machine, name)?;
    }
    let far = ["ip", "netns", "exec", "far", "curl", "-s", "--max-time", "5"];
    let host = ["curl", "-s", "--max-time", "5"];
    let near = ["sampan", "exec", "near", "timeout", "5", "wget", "-q", "-O-"];
    let other = ["sampan", "exec", "other", "timeout", "5", "wget", "-q", "-O-"];
    for (who, ask, url, client) in [
        ("far4", &far[..], "http://198.51.100.1:8210", "198.51.100.9"),
        ("far6", &far, "http://[2001:db8::1]:8210", "2001:db8::9"),
        // The host is its bridge's address to a container. The kernel forwards nothing from [::1],
        // which has to be refused at once: then clients go on with 127.0.0.1.
        ("loopback", &host, "http://127.0.0.1:8210", "10.124.1.1"),
        ("localhost", &host, "http://localhost:8210", "10.124.1.1"),
        ("host4", &host, "http://10.124.1.10", "10.124.1.1"),
        ("host6", &host, "http://[fd00:124:1::10]", "fd00:124:1::1"),
        // A neighbour, by name: glibc prefers IPv6.
        ("near", &near, "http://seen", "fd00:124:1::20"),
        ("near4", &near, "http://10.124.1.10", "10.124.1.20"),
        ("near6", &near, "http://[fd00:124:1::10]", "fd00:124:1::20"),
        // By the host's address: from the same network the answer has to come back by the bridge.
        ("hairpin4", &near, "http://198.51.100.1:8210", "10.124.1.1"),
        ("hairpin6", &near, "http://[2001:db8::1]:8210", "fd00:124:1::1"),
        ("other4", &other, "http://198.51.100.1:8210", "10.124.2.20"),
        ("other6", &other, "http://[2001:db8::1]:8210", "fd00:124:2::20"),
    ] {
        let path = format!("/address?{who}");
        let url = format!("{url}{path}");
        let mut command = ask.to_vec();
        command.push(&url);
        let answer = machine.ok(&command)?;
        let seen = logged(machine, &path)?;
        ensure!(
            seen == client && answer.trim() == client,
            "{who} is {client}, nginx logged {seen} and said {answer}"
        );
    }
    Ok(())
}

fn namespaces_of_others_are_reached(machine: &Machine) -> Result<()> {
    machine.shell(FAR)?;
    let server = |port: u16, more: &str| {
        format!("[Container]\nImage={BUSYBOX}\nStopSignal=KILL\nExec=httpd -f -p {port} -h /bin\n{more}\n")
    };
    let units = [
        ("app.network", "[Network]\n".to_owned()),
        (
            "owner.container",
            server(80, "ContainerName=owner\nNetwork=app.network\nPublishPort=8221:81\nPublishPort=8222:82"),
        ),
        ("byunit.container", server(81, "Network=owner.container")),
        (
            "byname.container",
            format!(
                "{}[Unit]\nRequires=owner.service\nAfter=owner.service\n",
                server(82, "Network=container:owner")
            ),
        ),
        ("given.container", server(83, "Network=ns:/run/netns/far")),
    ];
    let units: Vec<(&str, &str)> = units.iter().map(|(name, text)| (*name, text.as_str())).collect();
    install(machine, &units)?;
    for name in ["byname", "byunit", "given"] {
        start(machine, name)?;
    }
    let fetch = |m: &Machine, url: &str| {
        Ok(m.run(&["curl", "-sf", "--max-time", "3", "-o", "/dev/null", &format!("{url}/busybox")])?
            .success())
    };
    // From the host by the owner's ports, and in the namespace that was there before.
    for url in ["http://127.0.0.1:8221", "http://127.0.0.1:8222", "http://198.51.100.9:83"] {
        machine.wait(&format!("{url} answers"), READY, |m| fetch(m, url))?;
    }
    // Its containers don't own the namespace: their end is not its end.
    for (name, url) in [("byname", "http://127.0.0.1:8222"), ("given", "http://198.51.100.9:83")] {
        machine.ok(&["systemctl", "stop", name])?;
        ensure!(!fetch(machine, url)?, "{name} has stopped and answers");
        start(machine, name)?;
        machine.wait(&format!("{url} answers again"), READY, |m| fetch(m, url))?;
    }
    ensure!(fetch(machine, "http://127.0.0.1:8221")?, "the owner's network went with a guest");
    Ok(())
}
