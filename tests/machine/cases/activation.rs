//! Sockets that systemd holds for containers.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, fetch, install, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("activation::{name}"), case);
    vec![
        test("sockets_reach_the_program_and_nothing_else", sockets_reach_the_program),
        test("sockets_reach_every_kind_of_container", sockets_reach_every_kind),
        test("the_socket_stays_while_the_service_restarts", socket_stays),
        test("a_container_for_each_connection", container_for_each_connection),
        test("nobody_else_keeps_a_socket", nobody_else_keeps_a_socket),
    ]
}

/// Answers on all sockets that it is passed, with what it knows of them and which descriptors it has.
const SERVER: &str = r#"use strict; use IO::Handle; use IO::Select;
my $count = $ENV{LISTEN_PID} == $$ ? $ENV{LISTEN_FDS} : 0;
my @fds;
for my $fd (0 .. 99) {
    my $target = readlink("/proc/self/fd/$fd"); push @fds, $fd if defined $target && $target !~ m{^/srv/} }
my $fds = join ",", @fds;
my $select = IO::Select->new;
for my $fd (3 .. 2 + $count) { open(my $socket, "+<&=", $fd) or die; $select->add($socket) }
if ($ENV{NOTIFY_SOCKET}) { system("printf READY=1 | perl -MIO::Socket::UNIX -e '
    IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => \$ENV{NOTIFY_SOCKET})->send(q(READY=1))'") }
while (my @ready = $select->can_read) { for my $listener (@ready) {
    accept(my $client, $listener) or next;
    sysread($client, my $request, 4096);
    my $body = "$count of $ENV{LISTEN_FDNAMES}, descriptors $fds, uid $<\n";
    print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $client;
    exit 0 if $ENV{ONCE};
} }
"#;

/// What the server answers that was passed one socket by this name.
fn answer(name: &str, uid: &str) -> String {
    format!("1 of {name}, descriptors 0,1,2,3, uid {uid}\n")
}

/// Installs `NAME.container`, which runs the server, and `NAME.socket`.
fn server(machine: &Machine, name: &str, socket: &str, more: &str) -> Result<()> {
    machine.write("/srv/activation/server.pl", SERVER)?;
    machine.write(&format!("/etc/systemd/system/{name}.socket"), &format!("[Socket]\n{socket}\n"))?;
    let text = format!(
        "[Container]\nImage=localhost:5000/debian\nContainerName={name}\nVolume=/srv/activation:/srv/activation:ro\n\
         Exec=perl /srv/activation/server.pl\n{more}\n"
    );
    install(machine, &[(&format!("{name}.container"), &text)])?;
    start(machine, &format!("{name}.socket"))
}

fn done(machine: &Machine, name: &str) -> Result<()> {
    machine.ok(&["systemctl", "stop", &format!("{name}.socket"), &format!("{name}.service")])?;
    std::fs::remove_file(machine.path(&format!("/etc/systemd/system/{name}.socket")))?;
    uninstall(machine, &[&format!("{name}.container")])
}

fn sockets_reach_the_program(machine: &Machine) -> Result<()> {
    let socket = "ListenStream=127.0.0.1:7101\nListenStream=/run/both.sock\nFileDescriptorName=pages";
    server(machine, "both", socket, "Network=none")?;
    ensure!(machine.property("both.service", "ActiveState")? == "inactive", "it started on its own");
    let expected = "2 of pages:pages, descriptors 0,1,2,3,4, uid 0\n";
    for ask in [&["http://127.0.0.1:7101/"][..], &["--unix-socket", "/run/both.sock", "http://x/"]] {
        let page = machine.ok(&[&["curl", "-sS", "--max-time", "5"], ask].concat())?;
        ensure!(page == expected, "{page}");
    }
    // A program that someone runs in the container has nothing of it.
    let script = "env | grep LISTEN_; ls /proc/self/fd | wc -l";
    let inside = machine.ok(&["sampan", "exec", "both", "sh", "-c", script])?;
    ensure!(inside.trim() == "4", "0, 1, 2 and the folder itself, but: {inside}");
    done(machine, "both")
}

fn sockets_reach_every_kind(machine: &Machine) -> Result<()> {
    // For UserNS=auto.
    machine.shell("echo containers:2147483647:2147483648 | tee -a /etc/subuid >>/etc/subgid")?;
    for (name, more, uid) in [
        ("kbridge", "", "0"),
        ("khost", "Network=host", "0"),
        ("kuser", "User=33\nNetwork=none", "33"),
        ("kusers", "UserNS=auto", "0"),
        ("knotify", "Notify=yes\nNetwork=none", "0"),
        ("khealthy", "Notify=healthy\nHealthCmd=true\nNetwork=none", "0"),
        ("kpids", "PodmanArgs=--pid=host\nNetwork=none", "0"),
        ("konce", "Environment=ONCE=1\nNetwork=none\n[Service]\nType=oneshot", "0"),
        ("kservice", "Network=none\n[Service]\nUser=nobody", "0"),
    ] {
        server(machine, name, "ListenStream=127.0.0.1:7102", more)?;
        let page = fetch(machine, "http://127.0.0.1:7102/")?;
        ensure!(page == answer(&format!("{name}.socket"), uid), "{name}: {page}");
        done(machine, name)?;
    }
    Ok(())
}

fn socket_stays(machine: &Machine) -> Result<()> {
    server(machine, "stays", "ListenStream=127.0.0.1:7103", "")?;
    let loop_of_requests = "for i in $(seq 40); do curl -sS --max-time 10 http://127.0.0.1:7103/ >>/tmp/pages \
                            || echo lost >>/tmp/pages; done; touch /tmp/over";
    machine.shell(&format!("rm -f /tmp/pages /tmp/over; ({loop_of_requests}) >/dev/null 2>&1 &"))?;
    for _ in 0..3 {
        machine.ok(&["systemctl", "restart", "stays.service"])?;
    }
    machine
        .wait("all requests are through", Duration::from_secs(30), |m| Ok(m.path("/tmp/over").exists()))?;
    let pages = std::fs::read_to_string(machine.path("/tmp/pages"))?;
    let good = pages.lines().filter(|line| answer("stays.socket", "0").starts_with(*line)).count();
    ensure!(good == 40, "{good} of 40:\n{pages}");
    done(machine, "stays")
}

/// `Accept=yes`: the connection is the container's input and output, or its descriptor 3.
fn container_for_each_connection(machine: &Machine) -> Result<()> {
    let echo = "[Container]\nImage=localhost:5000/busybox\nExec=sh -c 'read line; echo \"got $$line from $$REMOTE_ADDR\"'\n\
                Network=none\nEnvironment=HOME=/\n[Service]\nStandardInput=socket\nStandardError=journal\n";
    install(machine, &[("echo@.container", echo)])?;
    let unit = "/etc/systemd/system/echo.socket";
    machine.write(unit, "[Socket]\nListenStream=127.0.0.1:7104\nAccept=yes\n")?;
    machine.ok(&["systemctl", "daemon-reload"])?;
    start(machine, "echo.socket")?;
    for word in ["one", "two"] {
        let answer = machine.shell(&format!("echo {word} | busybox nc -w 5 127.0.0.1 7104"))?;
        ensure!(answer == format!("got {word} from 127.0.0.1\n"), "{answer:?}");
    }
    machine.wait("no container is left", Duration::from_secs(10), |m| {
        Ok(!m.ok(&["sampan", "ps", "-a", "--format", "{{.Names}}"])?.contains("echo"))
    })?;
    machine.ok(&["systemctl", "stop", "echo.socket"])?;
    std::fs::remove_file(machine.path(unit))?;
    uninstall(machine, &["echo@.container"])
}

/// The name server outlives the container that was the first of its network.
fn nobody_else_keeps_a_socket(machine: &Machine) -> Result<()> {
    install(machine, &[("held.network", "[Network]\n")])?;
    let other = "[Container]\nImage=localhost:5000/busybox\nExec=sleep 1000\nNetwork=held.network\n";
    server(machine, "held", "ListenStream=127.0.0.1:7105", "Network=held.network")?;
    fetch(machine, "http://127.0.0.1:7105/")?;
    install(machine, &[("beside.container", other)])?;
    start(machine, "beside")?;
    done(machine, "held")?;
    ensure!(!machine.ok(&["pidof", "aardvark-dns"])?.is_empty(), "there is no name server to look at");
    let listening = machine.shell("cat /proc/net/tcp | grep ':1BC1 .* 0A ' || :")?; // 7105
    ensure!(listening.is_empty(), "somebody still listens: {listening}");
    machine.ok(&["systemctl", "stop", "beside"])?;
    uninstall(machine, &["beside.container", "held.network"])
}
