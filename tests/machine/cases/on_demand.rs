//! Containers and pods that are started by the first connection, and stopped when nobody uses them: `Activation=on-demand`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, Shared, install, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("on_demand::{name}"), case);
    vec![
        test("the_first_connection_waits_for_the_program", first_connection_waits),
        test("clients_of_a_running_container_are_seen_as_they_are", clients_are_seen),
        test("no_connection_is_lost_while_it_stops_and_starts", no_connection_is_lost),
        test("a_connection_in_use_keeps_it_running", connection_keeps_it_running),
        test("a_container_that_fails_sends_its_clients_away", failing_container),
        test("systemctl_means_what_it_says", systemctl_means_what_it_says),
        test("each_port_and_instance_has_its_own_socket", each_port_and_instance),
        test("a_port_of_someone_else_is_not_taken", port_of_someone_else),
        test("the_first_connection_starts_a_pod_with_its_containers", first_connection_starts_a_pod),
        test("no_connection_to_a_pod_is_lost_while_it_stops_and_starts", no_connection_to_a_pod_is_lost),
        test("a_pod_that_fails_sends_its_clients_away", failing_pod),
    ]
}

/// Listens on the ports that it is given, after `$LATE` seconds. A client sends lines, and gets the address that it has
/// here and the process that answers for each.
const SERVER: &str = r#"use strict; use IO::Socket::INET; use IO::Select; $SIG{CHLD} = "IGNORE"; $SIG{TERM} = sub { exit 0 };
select(undef, undef, undef, $ENV{LATE} || 0);
my $all = IO::Select->new(map { IO::Socket::INET->new(Listen => 100, LocalPort => $_, ReuseAddr => 1) or die } @ARGV);
while (my @ready = $all->can_read) { for my $listener (@ready) {
    my $client = $listener->accept or next;
    next if fork;
    while (<$client>) { print $client $client->peerhost, " ", $client->sockport, "\n"; }
    exit 0;
} }
"#;

/// Asks once and prints the answer, or why there is none.
const CLIENT: &str = r#"use strict; use IO::Socket::INET;
my ($host, $port, $rounds, $pause) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 20) or die "connect: $!\n";
for (1 .. $rounds || 1) {
    print $socket "ask\n"; my $answer = <$socket>; defined $answer or die "no answer: $!\n"; print $answer;
    select(undef, undef, undef, $pause || 0);
}
"#;

/// Asks again and again with pauses around the time after which the container is stopped.
const TRIES: &str = r#"use strict; use IO::Socket::INET; srand 7;
my ($port, $count, $least, $most) = @ARGV; my $lost = 0;
for (1 .. $count) {
    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port, Timeout => 20);
    my $answer = $socket && print($socket "ask\n") ? <$socket> : undef;
    unless ($answer) { $lost++; print "lost at ", time, ": $!\n"; last } # the journal ends here then
    close $socket if $socket;
    select(undef, undef, undef, $least + rand($most - $least));
}
print "$lost lost\n";
"#;

fn scripts(machine: &Machine) -> Result<()> {
    for (file, text) in [("server.pl", SERVER), ("client.pl", CLIENT), ("tries.pl", TRIES)] {
        machine.write(&format!("/srv/demand/{file}"), text)?;
    }
    Ok(())
}

/// Installs `NAME.container` that serves `ports` on demand and puts its socket into service.
fn serve(machine: &Machine, name: &str, ports: &str, more: &str) -> Result<()> {
    scripts(machine)?;
    let text = format!(
        "[Container]\nImage=localhost:5000/debian\nVolume=/srv/demand:/srv/demand:ro\nActivation=on-demand\n\
         Exec=perl /srv/demand/server.pl {ports}\n{more}\n"
    );
    install(machine, &[(&format!("{name}.container"), &text)])?;
    start(machine, &format!("{name}.socket"))
}

fn ask(machine: &Machine, port: &str) -> Result<String> {
    machine.ok(&["perl", "/srv/demand/client.pl", "127.0.0.1", port])
}

fn is(machine: &Machine, unit: &str, state: &str) -> Result<()> {
    machine.wait(&format!("{unit} is {state}"), Duration::from_secs(15), |m| {
        Ok(m.property(unit, "ActiveState")? == state)
    })
}

fn done(machine: &Machine, name: &str) -> Result<()> {
    machine.ok(&["systemctl", "stop", &format!("{name}.socket"), &format!("{name}.service")])?;
    uninstall(machine, &[&format!("{name}.container")])
}

fn first_connection_waits(machine: &Machine) -> Result<()> {
    serve(machine, "late", "80", "PublishPort=7201:80\nIdleTimeout=2s\nEnvironment=LATE=1")?;
    is(machine, "late.service", "inactive")?;
    ensure!(ask(machine, "7201")?.ends_with(" 80\n"), "another answer");
    // Those that come in a row go the same way or the short one.
    for _ in 0..5 {
        ask(machine, "7201")?;
    }
    let listed = machine.ok(&["systemctl", "list-sockets", "--no-pager"])?;
    ensure!(listed.contains("late.socket") && listed.contains("7201"), "{listed}");
    is(machine, "late.service", "inactive")?;
    ensure!(machine.property("late.service", "Result")? == "success", "it was stopped with a failure");
    let journal = machine.journal("late-idle.service")?;
    ensure!(journal.contains("stopping until the next one"), "{journal}");
    ensure!(!machine.ok(&["sampan", "ps", "-a", "--format", "{{.Names}}"])?.contains("late"), "it is left");
    ask(machine, "7201").context("the second start")?;
    done(machine, "late")
}

fn clients_are_seen(machine: &Machine) -> Result<()> {
    machine.shell(
        "ip netns add away; ip link add toaway type veth peer name away0 netns away; \
         ip addr add 198.51.100.1/24 dev toaway; ip link set toaway up; \
         ip -n away addr add 198.51.100.9/24 dev away0; ip -n away link set away0 up; ip -n away link set lo up",
    )?;
    serve(machine, "seen", "80", "PublishPort=7202:80")?;
    let command = ["ip", "netns", "exec", "away", "perl", "/srv/demand/client.pl", "198.51.100.1", "7202"];
    machine.ok(&command)?;
    machine.wait("the client's own address is seen", Duration::from_secs(5), |m| {
        Ok(m.ok(&command)? == "198.51.100.9 80\n")
    })?;
    machine.wait("no process of ours is left", Duration::from_secs(60), |m| {
        Ok(m.shell("pgrep -fa '[s]ocket-proxyd|[s]ampan service' || :")?.is_empty())
    })?;
    ensure!(machine.ok(&command)? == "198.51.100.9 80\n", "another address without the proxy");
    machine.shell("ip netns del away; ip link del toaway 2>/dev/null || :")?;
    done(machine, "seen")
}

fn no_connection_is_lost(machine: &Machine) -> Result<()> {
    serve(machine, "race", "80", "PublishPort=7203:80\nIdleTimeout=1s\n[Service]\nTimeoutStopSec=20")?;
    let said = machine.ok(&["perl", "/srv/demand/tries.pl", "7203", "25", "1.1", "3.6"])?;
    ensure!(said == "0 lost\n", "{said}");
    let starts = machine.journal("race.service")?.matches("Started race.service").count();
    ensure!(starts >= 6, "it was started {starts} times only: nothing was tried");
    let looks = machine.journal("race-idle.service")?;
    ensure!(!looks.contains("Failed"), "who stops it must last until it has ended: {looks}");
    done(machine, "race")
}

fn connection_keeps_it_running(machine: &Machine) -> Result<()> {
    serve(machine, "used", "80", "PublishPort=7204:80\nIdleTimeout=2s")?;
    ask(machine, "7204")?;
    let main = machine.main_pid("used.service")?;
    machine.shell("sleep 6")?; // the proxy is gone or the container was stopped
    let client = ["perl", "/srv/demand/client.pl", "127.0.0.1", "7204", "12", "0.7"];
    let answers = machine.ok(&client)?;
    ensure!(answers.lines().count() == 12, "{answers}");
    ensure!(main > 0, "it had no process");
    is(machine, "used.service", "inactive")?;
    done(machine, "used")
}

fn failing_container(machine: &Machine) -> Result<()> {
    let text = format!(
        "[Container]\nImage={BUSYBOX}\nExec=/no/such/program\nPublishPort=7205:80\nActivation=on-demand\n"
    );
    install(machine, &[("fails.container", &text)])?;
    start(machine, "fails.socket")?;
    for _ in 0..3 {
        let told = machine.run(&["curl", "-sS", "--max-time", "10", "http://127.0.0.1:7205/"])?;
        ensure!(!told.success() && !told.text().contains("timed out"), "{}", told.text());
    }
    ensure!(machine.property("fails.socket", "ActiveState")? == "active", "the socket is out of service");
    let journal = machine.journal("fails-proxy.service")?;
    ensure!(journal.contains("doesn't run") && journal.contains("starts it again"), "{journal}");
    done(machine, "fails")
}

fn systemctl_means_what_it_says(machine: &Machine) -> Result<()> {
    serve(machine, "ctl", "80", "PublishPort=7206:80")?;
    ask(machine, "7206")?;
    machine.ok(&["systemctl", "stop", "ctl.service"])?;
    is(machine, "ctl.service", "inactive")?;
    ask(machine, "7206").context("after systemctl stop ctl.service")?;
    // A crash takes the proxy with it, and the next client gets a new container.
    let main = machine.main_pid("ctl.service")?;
    machine.ok(&["kill", "-9", &main.to_string()])?;
    machine.wait("the end of the proxy", Duration::from_secs(60), |m| {
        Ok(["inactive", "failed"].contains(&m.property("ctl-proxy.service", "ActiveState")?.as_str()))
    })?;
    machine.run(&["systemctl", "reset-failed"])?;
    ask(machine, "7206").context("after a crash")?;
    machine.ok(&["systemctl", "stop", "ctl.socket"])?;
    is(machine, "ctl.service", "inactive")?;
    ensure!(ask(machine, "7206").is_err(), "it is out of service and answers");
    start(machine, "ctl.service")?;
    ask(machine, "7206").context("after systemctl start ctl.service")?;
    done(machine, "ctl")
}

fn each_port_and_instance(machine: &Machine) -> Result<()> {
    serve(machine, "many", "80 81", "PublishPort=7207:80\nPublishPort=127.0.0.1:7208:81")?;
    for (port, inside) in [("7208", "81"), ("7207", "80")] {
        ensure!(ask(machine, port)?.ends_with(&format!(" {inside}\n")), "{port}");
    }
    done(machine, "many")?;
    // Who passes on what came to a port that nobody has asked for ends as well.
    serve(machine, "one", "80 81", "PublishPort=7211:80\nPublishPort=7212:81\nIdleTimeout=2s")?;
    ensure!(ask(machine, "7211")?.ends_with(" 80\n"), "7211");
    is(machine, "one.service", "inactive")?;
    done(machine, "one")?;
    let text = "[Container]\nImage=localhost:5000/debian\nVolume=/srv/demand:/srv/demand:ro\nActivation=on-demand\n\
                Exec=perl /srv/demand/server.pl 80\nPublishPort=72%i:80\n";
    install(machine, &[("inst@.container", text)])?;
    start(machine, "inst@09.socket")?;
    ask(machine, "7209")?;
    is(machine, "inst@09.service", "active")?;
    machine.ok(&["systemctl", "stop", "inst@09.socket"])?;
    uninstall(machine, &["inst@.container"])
}

fn port_of_someone_else(machine: &Machine) -> Result<()> {
    machine
        .write("/etc/systemd/system/theirs.socket", "[Socket]\nListenStream=127.0.0.1:7210\nAccept=yes\n")?;
    machine.write(
        "/etc/systemd/system/theirs@.service",
        "[Service]\nExecStart=/bin/echo theirs\nStandardInput=socket\n",
    )?;
    let text =
        format!("[Container]\nImage={BUSYBOX}\nExec=sleep 100\nPublishPort=7210:80\nActivation=on-demand\n");
    install(machine, &[("mine.container", &text)])?;
    start(machine, "theirs.socket")?;
    let told = machine.run(&["systemctl", "start", "mine.service"])?;
    ensure!(!told.success(), "it took the port");
    let journal = machine.journal("mine.service")?;
    ensure!(journal.contains("7210"), "{journal}");
    let page = machine.ok(&["busybox", "nc", "-w", "3", "127.0.0.1", "7210"])?;
    ensure!(page == "theirs\n", "{page}");
    machine.ok(&["systemctl", "stop", "theirs.socket"])?;
    machine.shell("rm /etc/systemd/system/theirs*")?;
    uninstall(machine, &["mine.container"])
}

/// The files of a pod `NAME` with two containers that serve port 80 and port 81 on demand; `late` is when the second
/// one begins to, in seconds.
fn pod_files(name: &str, pod: &str, late: &str) -> [(String, String); 3] {
    let member = |port: u16, late: &str| {
        format!(
            "[Container]\nImage=localhost:5000/debian\nVolume=/srv/demand:/srv/demand:ro\nPod={name}.pod\n\
             Exec=perl /srv/demand/server.pl {port}\nEnvironment=LATE={late}\n"
        )
    };
    [
        (format!("{name}.pod"), format!("[Pod]\nPodName={name}\nActivation=on-demand\n{pod}\n")),
        (format!("{name}-one.container"), member(80, "0")),
        (format!("{name}-two.container"), member(81, late)),
    ]
}

fn serve_pod(machine: &Machine, name: &str, pod: &str, late: &str) -> Result<()> {
    scripts(machine)?;
    let files = pod_files(name, pod, late);
    install(machine, &files.each_ref().map(|(file, text)| (file.as_str(), text.as_str())))?;
    start(machine, &format!("{name}-pod.socket"))
}

fn pod_done(machine: &Machine, name: &str) -> Result<()> {
    machine.ok(&["systemctl", "stop", &format!("{name}-pod.socket"), &format!("{name}-pod.service")])?;
    let files = pod_files(name, "", "");
    uninstall(machine, &files.each_ref().map(|(file, _)| file.as_str()))
}

fn first_connection_starts_a_pod(machine: &Machine) -> Result<()> {
    serve_pod(machine, "both", "PublishPort=7220:80\nPublishPort=127.0.0.1:7221:81\nIdleTimeout=3s", "1")?;
    is(machine, "both-one.service", "inactive")?;
    ensure!(ask(machine, "7221")?.ends_with(" 81\n"), "another answer of the late container");
    for unit in ["both-pod", "both-one", "both-two"] {
        ensure!(machine.property(&format!("{unit}.service"), "ActiveState")? == "active", "{unit} isn't up");
    }
    // The other port was let through as well, and nothing stands between.
    machine.wait("both ports lead to the pod without a proxy", Duration::from_secs(10), |m| {
        let proxies = m.shell("pgrep -fa '[s]ocket-proxyd|[s]ampan service forward' || :")?;
        Ok(proxies.is_empty() && m.shell("nft list map inet sampan published4")?.contains("7220"))
    })?;
    ensure!(ask(machine, "7220")?.ends_with(" 80\n"), "another answer");
    let client = ["perl", "/srv/demand/client.pl", "127.0.0.1", "7220", "12", "0.7"];
    ensure!(machine.ok(&client)?.lines().count() == 12, "a connection in use didn't keep it running");
    for unit in ["both-pod", "both-one", "both-two"] {
        is(machine, &format!("{unit}.service"), "inactive")?;
        ensure!(machine.property(&format!("{unit}.service"), "Result")? == "success", "{unit} failed");
    }
    let journal = machine.journal("both-pod-unused.service")?;
    ensure!(journal.contains("stopping until the next one"), "{journal}");
    ensure!(!machine.run(&["sampan", "pod", "exists", "both"])?.success(), "the pod is left");
    ask(machine, "7220").context("the second start")?;
    // A container that is restarted by itself leaves the pod and its ports where they are.
    machine.ok(&["systemctl", "restart", "both-one.service"])?;
    machine
        .wait("the restarted container answers", Duration::from_secs(10), |m| Ok(ask(m, "7220").is_ok()))?;
    machine.ok(&["systemctl", "stop", "both-pod.socket"])?;
    is(machine, "both-one.service", "inactive")?;
    ensure!(ask(machine, "7220").is_err(), "it is out of service and answers");
    pod_done(machine, "both")
}

fn no_connection_to_a_pod_is_lost(machine: &Machine) -> Result<()> {
    let ports = "PublishPort=7223:80\nPublishPort=7224:81\nIdleTimeout=1s";
    serve_pod(machine, "podrace", ports, "0")?;
    let said = machine.ok(&["perl", "/srv/demand/tries.pl", "7223", "25", "1.1", "3.6"])?;
    ensure!(said == "0 lost\n", "{said}");
    let starts = machine.journal("podrace-one.service")?.matches("Started podrace-one.service").count();
    ensure!(starts >= 6, "it was started {starts} times only: nothing was tried");
    let looks = machine.journal("podrace-pod-unused.service")?;
    ensure!(!looks.contains("Failed"), "who stops it must last until it has ended: {looks}");
    pod_done(machine, "podrace")
}

fn failing_pod(machine: &Machine) -> Result<()> {
    for (policy, port) in [("stop", "7225"), ("continue", "7226")] {
        let name = format!("bad{policy}");
        let pod = format!("[Pod]\nPublishPort={port}:80\nActivation=on-demand\nExitPolicy={policy}\n");
        let member = format!("[Container]\nImage={BUSYBOX}\nPod={name}.pod\nExec=/no/such/program\n");
        let (pod_file, member_file) = (format!("{name}.pod"), format!("{name}-one.container"));
        install(machine, &[(&pod_file, &pod), (&member_file, &member)])?;
        start(machine, &format!("{name}-pod.socket"))?;
        for _ in 0..3 {
            let told =
                machine.run(&["curl", "-sS", "--max-time", "10", &format!("http://127.0.0.1:{port}/")])?;
            ensure!(!told.success() && !told.text().contains("timed out"), "{policy}: {}", told.text());
        }
        let socket = format!("{name}-pod.socket");
        ensure!(
            machine.property(&socket, "ActiveState")? == "active",
            "{policy}: the socket is out of service"
        );
        let journal = machine.journal(&format!("{name}-pod-proxy.service"))?;
        ensure!(journal.contains("doesn't run") && journal.contains("starts it again"), "{journal}");
        machine.ok(&["systemctl", "stop", &socket, &format!("{name}-pod.service")])?;
        uninstall(machine, &[&pod_file, &member_file])?;
    }
    Ok(())
}
