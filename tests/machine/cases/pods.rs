//! Pods: containers that share a network, `/dev/shm` and a host name, and for which nothing runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::leftovers::Inventory;

use crate::fixture::{
    BUSYBOX, Shared, busybox, fetch, install, sampan_json, shared, start, start_fails, test, uninstall,
};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let own = |name: &str, case| test(&format!("pods::{name}"), case);
    let test = |name: &str, case| shared(&MACHINE, &format!("pods::{name}"), case);
    vec![
        own("killed_at_any_system_call", killed_at_any_system_call),
        own("a_container_killed_at_any_system_call", a_container_killed_at_any_system_call),
        own("a_stop_leaves_nothing", a_stop_leaves_nothing),
        test("containers_share_network_memory_and_name", containers_share),
        test("names_of_pod_and_containers_resolve", names_resolve),
        test("a_restarted_container_finds_the_same_network", a_restart_keeps_the_network),
        test("a_pod_ends_with_its_last_container", a_pod_ends_with_its_last_container),
        test("a_units_end_leaves_the_pod_of_another", the_pod_of_another),
        test("a_pod_stays_if_its_policy_says_so", a_pod_stays),
        test("users_of_a_pod_are_shared", users_are_shared),
        test("a_service_with_mounts_of_its_own", a_service_with_mounts_of_its_own),
        test("what_the_pod_decides_is_refused_in_a_container", what_the_pod_decides),
        test("volumes_of_a_pod_are_in_each_container", volumes_are_in_each),
        test("pods_by_hand", pods_by_hand),
    ]
}

const READY: Duration = Duration::from_secs(10);
const FILES: &[&str] = &["app.pod", "app-web.container", "app-client.container"];

/// Installs a pod with a web server and a shell that waits; `pod` are further lines of `[Pod]`.
fn app(machine: &Machine, pod: &str) -> Result<()> {
    let web = "[Container]\nImage=localhost:5000/web\nContainerName=web\nPod=app.pod\n";
    let client = format!(
        "[Container]\nImage={BUSYBOX}\nContainerName=client\nPod=app.pod\nExec=sh -c 'trap \"exit 0\" TERM; sleep 1000 & wait'\n"
    );
    let pod = format!("[Pod]\nPodName=app\nPublishPort=8400:80\n{pod}\n");
    install(machine, &[("app.pod", &pod), ("app-web.container", web), ("app-client.container", &client)])
}

/// Starts the pod and waits for its page.
fn serve(machine: &Machine) -> Result<()> {
    start(machine, "app-pod")?;
    page(machine)
}

fn page(machine: &Machine) -> Result<()> {
    machine.wait("the page of the pod", READY, |m| {
        Ok(fetch(m, "http://127.0.0.1:8400/").is_ok_and(|page| page.contains("It floats")))
    })
}

fn done(machine: &Machine) -> Result<()> {
    machine.ok(&["systemctl", "stop", "app-pod"])?;
    uninstall(machine, FILES)
}

fn exec(machine: &Machine, name: &str, command: &str) -> Result<String> {
    machine.ok(&["sampan", "exec", name, "sh", "-c", command])
}

fn ends(machine: &Machine, unit: &str) -> Result<()> {
    machine.wait(&format!("{unit} ends"), READY, |m| {
        Ok(["inactive", "failed"].contains(&m.property(unit, "ActiveState")?.as_str()))
    })
}

fn containers_share(machine: &Machine) -> Result<()> {
    app(machine, "ShmSize=8m")?;
    serve(machine)?;
    let page = exec(machine, "client", "wget -q -O - http://localhost/")?;
    ensure!(page.contains("It floats"), "over localhost: {page}");
    exec(machine, "client", "echo here >/dev/shm/note")?;
    ensure!(exec(machine, "web", "cat /dev/shm/note")?.trim() == "here", "another /dev/shm");
    let size = exec(machine, "web", "df -m /dev/shm | tail -n 1")?;
    ensure!(size.split_whitespace().nth(1) == Some("8"), "{size}");
    for name in ["web", "client"] {
        ensure!(
            exec(machine, name, "hostname; cat /etc/hostname")? == "app\napp\n",
            "the host name of {name}"
        );
        let spaces =
            |name| exec(machine, name, "cd /proc/self/ns; for n in net ipc uts; do readlink $n; done");
        ensure!(spaces(name)? == spaces("web")?, "{}", spaces(name)?);
    }
    // Nothing of ours runs for it, and the pod's service has no process.
    ensure!(machine.property("app-pod", "SubState")? == "exited");
    ensure!(machine.property("app-pod", "MainPID")? == "0");
    let row = &sampan_json(machine, &["pod", "ps", "--format", "json"])?[0];
    ensure!(row["Name"] == "app" && row["Status"] == "Running", "{row}");
    ensure!(row["Containers"].as_array().is_some_and(|all| all.len() == 2), "{row}");
    let one = &sampan_json(machine, &["pod", "inspect", "app"])?[0];
    ensure!(one["InfraConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "8400", "{one}");
    let text = machine.ok(&["sampan", "ps", "--pod", "--format", "{{.Names}} {{.PodName}}"])?;
    ensure!(text.contains("web app") && text.contains("client app"), "{text}");
    done(machine)
}

fn names_resolve(machine: &Machine) -> Result<()> {
    install(machine, &[("apps.network", "[Network]\nNetworkName=apps\n")])?;
    app(machine, "Network=apps.network\nNetworkAlias=shop")?;
    serve(machine)?;
    busybox(machine, "far", "sleep 1000", "ContainerName=far\nNetwork=apps.network")?;
    start(machine, "far")?;
    for name in ["app", "shop", "web", "client"] {
        let page = exec(machine, "far", &format!("wget -q -O - http://{name}/"))?;
        ensure!(page.contains("It floats"), "{name}: {page}");
    }
    // Inside, the containers know each other and find their neighbours.
    ensure!(exec(machine, "client", "wget -q -O - http://web/")?.contains("It floats"));
    exec(machine, "web", "nslookup far")?;
    machine.ok(&["systemctl", "stop", "app-client"])?;
    machine.wait("the name of a container that has ended is forgotten", READY, |m| {
        Ok(!m.run(&["sampan", "exec", "far", "nslookup", "client"])?.success())
    })?;
    ensure!(exec(machine, "far", "wget -q -O - http://web/")?.contains("It floats"));
    ensure!(!exec(machine, "web", "cat /etc/hosts")?.contains("client"), "in the hosts file");
    machine.ok(&["systemctl", "stop", "far"])?;
    done(machine)?;
    machine.ok(&["systemctl", "stop", "apps-network"])?;
    machine.ok(&["sampan", "network", "rm", "apps"])?;
    uninstall(machine, &["far.container", "apps.network"])
}

fn a_restart_keeps_the_network(machine: &Machine) -> Result<()> {
    app(machine, "")?;
    serve(machine)?;
    let address = || exec(machine, "client", "readlink /proc/self/ns/net; ip -o -4 addr show eth0");
    let before = address()?;
    machine.ok(&["systemctl", "restart", "app-web"])?;
    page(machine)?;
    // A foreign kill: systemd restarts it by itself, and nobody takes the pod for idle meanwhile.
    machine.write("/etc/systemd/system/app-web.service.d/restart.conf", "[Service]\nRestart=always\n")?;
    machine.ok(&["systemctl", "daemon-reload"])?;
    machine.ok(&["systemctl", "stop", "app-client"])?;
    machine.shell("kill -KILL $(systemctl show -P MainPID app-web)")?;
    machine.wait("it is restarted", READY, |m| Ok(m.property("app-web", "NRestarts")? == "1"))?;
    page(machine)?;
    ensure!(machine.property("app-pod", "ActiveState")? == "active");
    start(machine, "app-client")?;
    ensure!(address()? == before, "another network: {before} {}", address()?);
    std::fs::remove_dir_all(machine.path("/etc/systemd/system/app-web.service.d"))?;
    done(machine)
}

fn a_pod_ends_with_its_last_container(machine: &Machine) -> Result<()> {
    app(machine, "")?;
    serve(machine)?;
    machine.ok(&["systemctl", "stop", "app-web"])?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(machine.property("app-pod", "ActiveState")? == "active", "a container is left");
    machine.shell("kill -TERM $(systemctl show -P MainPID app-client)")?;
    ends(machine, "app-pod")?;
    ensure!(machine.property("app-pod", "Result")? == "success");
    ensure!(!machine.run(&["sampan", "pod", "exists", "app"])?.success(), "the pod is still there");
    uninstall(machine, FILES)
}

fn the_pod_of_another(machine: &Machine) -> Result<()> {
    install(machine, &[("first.pod", "[Pod]\nPodName=same\n"), ("second.pod", "[Pod]\nPodName=same\n")])?;
    start(machine, "first-pod")?;
    start(machine, "second-pod")?;
    machine.ok(&["systemctl", "stop", "first-pod"])?;
    machine.ok(&["sampan", "pod", "exists", "same"])?;
    machine.ok(&["systemctl", "stop", "second-pod"])?;
    ensure!(!machine.run(&["sampan", "pod", "exists", "same"])?.success(), "the pod is left");
    uninstall(machine, &["first.pod", "second.pod"])
}

fn a_pod_stays(machine: &Machine) -> Result<()> {
    app(machine, "ExitPolicy=continue")?;
    serve(machine)?;
    machine.ok(&["systemctl", "stop", "app-web", "app-client"])?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(machine.property("app-pod", "ActiveState")? == "active");
    ensure!(machine.ok(&["sampan", "pod", "ps", "--format", "{{.Status}}"])?.trim() == "Created");
    machine.ok(&["sampan", "pod", "start", "app"])?;
    page(machine)?;
    machine.ok(&["sampan", "pod", "stop", "app"])?;
    for unit in ["app-pod", "app-web", "app-client"] {
        ensure!(machine.property(unit, "ActiveState")? == "inactive", "{unit}");
    }
    uninstall(machine, FILES)
}

fn users_are_shared(machine: &Machine) -> Result<()> {
    app(machine, "UIDMap=0:200000:65536\nGIDMap=0:200000:65536")?;
    // Port 80 is the server's: the network belongs to the pod's own root.
    serve(machine)?;
    ensure!(exec(machine, "client", "wget -q -O - http://localhost/")?.contains("It floats"));
    let spaces = |name| exec(machine, name, "readlink /proc/self/ns/user; cat /proc/self/uid_map");
    ensure!(spaces("web")? == spaces("client")?, "{} {}", spaces("web")?, spaces("client")?);
    ensure!(spaces("web")?.contains("200000"), "{}", spaces("web")?);
    exec(machine, "client", "echo x >/dev/shm/x; ls /sys/class/net/eth0; id -u")?;
    let owner = machine.shell("stat -c %u /proc/$(systemctl show -P MainPID app-web)")?;
    ensure!(owner.trim() == "200000", "{owner}");
    machine.ok(&["systemctl", "restart", "app-web"])?;
    page(machine)?;
    done(machine)
}

fn a_service_with_mounts_of_its_own(machine: &Machine) -> Result<()> {
    app(machine, "\n[Service]\nPrivateTmp=yes")?;
    let web =
        "[Container]\nImage=localhost:5000/web\nContainerName=web\nPod=app.pod\n[Service]\nPrivateTmp=yes\n";
    install(machine, &[("app-web.container", web)])?;
    serve(machine)?;
    let mounts = machine.shell("grep -c /run/sampan/pods/app/ /proc/1/mountinfo")?;
    ensure!(
        mounts.trim() == "4",
        "namespaces and memory are kept where the first process sees them: {mounts}"
    );
    done(machine)?;
    let mounts = machine.shell("grep -c /run/sampan/pods/ /proc/*/mountinfo | grep -v ':0$' || :")?;
    ensure!(mounts.is_empty(), "somebody still sees them: {mounts}");
    Ok(())
}

fn what_the_pod_decides(machine: &Machine) -> Result<()> {
    app(machine, "")?;
    serve(machine)?;
    for (line, words) in [
        ("PublishPort=8401:81", "share its network"),
        ("Network=none", "share its network"),
        ("HostName=mine", "share its host name"),
        ("UserNS=auto", "share its users"),
    ] {
        let text = format!("[Container]\nImage={BUSYBOX}\nPod=app.pod\nStartWithPod=no\nExec=true\n{line}\n");
        install(machine, &[("odd.container", &text)])?;
        let said = start_fails(machine, "odd")?;
        ensure!(said.contains(words) && said.contains("odd.container:6"), "{line}: {said}");
    }
    uninstall(machine, &["odd.container"])?;
    done(machine)?;
    let said = machine.run(&["sampan", "run", "--rm", "--pod", "nosuch", BUSYBOX, "true"])?;
    ensure!(said.text().contains("no such pod"), "{}", said.text());
    Ok(())
}

fn volumes_are_in_each(machine: &Machine) -> Result<()> {
    machine.write("/srv/pod/text", "from the host")?;
    app(machine, "Volume=/srv/pod:/data")?;
    serve(machine)?;
    for name in ["web", "client"] {
        ensure!(exec(machine, name, "cat /data/text")? == "from the host", "{name}");
    }
    done(machine)
}

fn pods_by_hand(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pod", "create", "--name", "hand", "-p", "8410:80"])?;
    ensure!(!machine.run(&["sampan", "pod", "create", "hand"])?.success(), "the name is taken twice");
    machine.ok(&[
        "sampan",
        "run",
        "-d",
        "--rm",
        "--name",
        "inhand",
        "--pod",
        "hand",
        "localhost:5000/web",
    ])?;
    machine.wait("its page", READY, |m| Ok(fetch(m, "http://127.0.0.1:8410/").is_ok()))?;
    let refused = machine.run(&["sampan", "pod", "rm", "hand"])?;
    ensure!(refused.code == Some(2), "{}", refused.text());
    machine.ok(&["sampan", "pod", "stop", "hand"])?;
    machine.ok(&["sampan", "pod", "prune", "--force"])?;
    ensure!(machine.run(&["sampan", "pod", "exists", "hand"])?.code == Some(1));
    let refused = machine.run(&["sampan", "pod", "create", "--share", "pid", "x"])?;
    ensure!(!refused.success() && refused.text().contains("PID namespace"), "{}", refused.text());
    Ok(())
}

/// Nothing may be there that wasn't before; what ends by itself gets three seconds for that.
fn nothing_new(machine: &Machine, before: &Inventory, what: &str) -> Result<()> {
    let mut left = Vec::new();
    let gone = machine.wait("nothing is left", Duration::from_secs(3), |m| {
        left = Inventory::take(m)?.since(before);
        Ok(left.is_empty())
    });
    ensure!(gone.is_ok(), "{what} left behind: {left:#?}");
    Ok(())
}

/// A pod that was started and stopped once: images and networks' files stay, on purpose.
fn prepare(machine: &Machine) -> Result<Inventory> {
    app(machine, "")?;
    serve(machine)?;
    machine.ok(&["systemctl", "stop", "app-pod"])?;
    Inventory::take(machine)
}

fn a_stop_leaves_nothing(machine: &Machine) -> Result<()> {
    let before = prepare(machine)?;
    for (what, command) in [
        ("systemctl stop", "systemctl stop app-pod"),
        ("the stop of all containers", "systemctl stop app-web app-client"),
        ("a kill of all containers", "systemctl kill -s KILL app-web app-client"),
        ("sampan pod stop", "sampan pod stop app"),
        ("sampan pod rm --force", "sampan pod rm --force app"),
        ("sampan rm --force", "sampan rm --force web client"),
    ] {
        serve(machine)?;
        machine.shell(command)?;
        for unit in ["app-pod", "app-web", "app-client"] {
            ends(machine, unit)?;
        }
        machine.ok(&["systemctl", "reset-failed"])?;
        nothing_new(machine, &before, what)?;
    }
    Ok(())
}

/// Stands in for `sampan`, as in `leftovers`: the command in /run/kill-what, `podcreate` or `runweb`, is killed when it
/// enters the system call whose number is in /run/kill-at; with "count" there, its calls are counted.
const KILLER: &str = r#"#!/bin/sh
at=$(cat /run/kill-at 2>/dev/null)
what=$1$2
[ "$1" != run ] || what=$1$3
[ "$what" != "$(cat /run/kill-what)" ] || what=$what:$at
case "$what" in
runweb:count) exec strace -D -o /run/trace /usr/bin/sampan.real "$@" ;;
runweb:[0-9]*) exec strace -D -o /dev/null -e inject=all:signal=KILL:when=$at /usr/bin/sampan.real "$@" ;;
podcreate:count) exec strace -o /run/trace /usr/bin/sampan.real "$@" ;;
podcreate:[0-9]*) exec strace -o /dev/null -e inject=all:signal=KILL:when=$at /usr/bin/sampan.real "$@" ;;
esac
exec /usr/bin/sampan.real "$@"
"#;

fn killed_at_any_system_call(machine: &Machine) -> Result<()> {
    killed(machine, "podcreate", "app-pod")
}

fn a_container_killed_at_any_system_call(machine: &Machine) -> Result<()> {
    killed(machine, "runweb", "app-web")
}

/// Kills the command, which `unit` executes, at some thirty system calls from its first to its last one.
fn killed(machine: &Machine, command: &str, unit: &str) -> Result<()> {
    let before = prepare(machine)?;
    machine.shell("mv /usr/bin/sampan /usr/bin/sampan.real")?;
    machine.write("/usr/bin/sampan", KILLER)?;
    machine.write("/run/kill-what", command)?;
    machine.shell("chmod 755 /usr/bin/sampan; echo count >/run/kill-at")?;
    start(machine, unit)?;
    machine.shell("systemctl stop app-pod; rm /run/kill-at")?;
    let calls: usize = machine.shell("wc -l </run/trace")?.trim().parse()?;
    ensure!(calls > 50, "only {calls} system calls were traced");
    machine.shell("rm /run/trace")?;
    let steps = 30;
    for step in 0..steps {
        let at = 1 + step * (calls - 1) / (steps - 1);
        machine.write("/run/kill-at", &at.to_string())?;
        machine.run(&["systemctl", "start", unit])?;
        machine
            .shell("rm /run/kill-at; systemctl stop app-pod app-web app-client; systemctl reset-failed")?;
        nothing_new(machine, &before, &format!("a kill at system call {at} of {calls}"))?;
    }
    serve(machine)?;
    machine.ok(&["systemctl", "stop", "app-pod"])?;
    nothing_new(machine, &before, "the last start")
}
