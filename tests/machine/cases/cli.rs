//! The command line on running containers: Podman's words, fields and exit codes.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, Shared, busybox, own_processes, sampan_json, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("cli::{name}"), case);
    vec![
        test("ps_lists_running_containers", ps_lists_running_containers),
        test("inspect_has_podmans_fields", inspect_has_podmans_fields),
        test("exec_joins_the_container", exec_joins_the_container),
        test("exec_returns_the_exit_code", exec_returns_the_exit_code),
        test("exec_passes_input_on", exec_passes_input_on),
        test("logs_come_from_the_journal", logs_come_from_the_journal),
        test("stop_goes_through_systemd", stop_goes_through_systemd),
        test("rm_force_ends_a_container", rm_force_ends_a_container),
        test("run_from_a_shell", run_from_a_shell),
        test("run_returns_the_exit_code", run_returns_the_exit_code),
        test("images_lists_and_pull_is_idempotent", images_lists_and_pull_is_idempotent),
        test("volumes_are_made_and_removed", volumes_are_made_and_removed),
        test("networks_are_made_and_removed", networks_are_made_and_removed),
        test("unknown_container_is_an_error", unknown_container_is_an_error),
        test("every_command_has_help", every_command_has_help),
    ]
}

/// Starts `NAME.container` with that container name.
fn running(machine: &Machine, name: &str, exec: &str) -> Result<()> {
    busybox(machine, name, exec, &format!("ContainerName={name}"))?;
    start(machine, name)
}

fn done(machine: &Machine, name: &str) -> Result<()> {
    machine.ok(&["systemctl", "stop", name])?;
    uninstall(machine, &[&format!("{name}.container")])
}

fn ps_lists_running_containers(machine: &Machine) -> Result<()> {
    running(machine, "listed", "sleep 1000")?;
    let list = sampan_json(machine, &["ps", "--format", "json"])?;
    let one = list
        .as_array()
        .and_then(|l| l.iter().find(|c| c["Names"][0] == "listed"))
        .cloned()
        .unwrap_or_default();
    ensure!(one["State"] == "running" && one["Image"] == BUSYBOX, "{list}");
    ensure!(one["Pid"] == machine.main_pid("listed")?, "{list}");
    let table = machine.ok(&["sampan", "ps"])?;
    ensure!(
        table.starts_with("CONTAINER ID") && table.contains("listed") && table.contains("Up "),
        "{table}"
    );
    let template = machine.ok(&["sampan", "ps", "--format", "{{.Names}}|{{.State}}"])?;
    ensure!(template.lines().any(|l| l == "listed|running"), "{template}");
    let quiet = machine.ok(&["sampan", "ps", "-q", "--filter", "name=listed"])?;
    ensure!(
        one["Id"].as_str().is_some_and(|id| id.starts_with(quiet.trim())) && quiet.trim().len() == 12,
        "{quiet}"
    );
    done(machine, "listed")
}

fn inspect_has_podmans_fields(machine: &Machine) -> Result<()> {
    running(machine, "looked-at", "sleep 1000")?;
    let all = sampan_json(machine, &["inspect", "looked-at"])?;
    let one = &all[0];
    ensure!(one["Name"] == "looked-at" && one["ImageName"] == BUSYBOX, "{one}");
    ensure!(one["State"]["Status"] == "running" && one["State"]["Running"] == true, "{}", one["State"]);
    ensure!(one["State"]["Pid"] == machine.main_pid("looked-at")?, "{}", one["State"]);
    ensure!(one["Config"]["Cmd"] == serde_json::json!(["sleep", "1000"]), "{}", one["Config"]);
    ensure!(one["Id"].as_str().is_some_and(|id| id.len() == 64), "{}", one["Id"]);
    for (format, expected) in [
        ("{{.State.Status}}", "running"),
        ("{{.Name}} {{.State.Running}}", "looked-at true"),
        ("{{json .Config.Cmd}}", "[\"sleep\",\"1000\"]"),
        ("{{range .Config.Cmd}}<{{.}}>{{end}}", "<sleep><1000>"),
    ] {
        let is = machine.ok(&["sampan", "inspect", "--format", format, "looked-at"])?;
        ensure!(is.trim_end() == expected, "{format} printed {is:?}");
    }
    done(machine, "looked-at")
}

fn exec_joins_the_container(machine: &Machine) -> Result<()> {
    running(machine, "joined", "sleep 1000")?;
    let pid = machine.main_pid("joined")?;
    for kind in ["mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        let inside =
            machine.ok(&["sampan", "exec", "joined", "readlink", &format!("/proc/self/ns/{kind}")])?;
        let of_main = machine.ok(&["readlink", &format!("/proc/{pid}/ns/{kind}")])?;
        ensure!(inside == of_main, "{kind}: {inside} and {of_main}");
    }
    let of = |command: &[&str]| machine.ok(command);
    let caps = of(&[
        "sampan",
        "exec",
        "joined",
        "sh",
        "-c",
        "grep -E '^(Cap(Inh|Prm|Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status",
    ])?;
    let main = of(&[
        "sh",
        "-c",
        &format!("grep -E '^(Cap(Inh|Prm|Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/{pid}/status"),
    ])?;
    ensure!(caps == main, "exec has\n{caps}the container has\n{main}");
    let user = of(&[
        "sampan",
        "exec",
        "--user",
        "web",
        "--workdir",
        "/tmp",
        "--env",
        "A=b",
        "joined",
        "sh",
        "-c",
        "id -u; pwd; echo $A",
    ])?;
    ensure!(user == "1000\n/tmp\nb\n", "user, folder, environment: {user}");
    ensure!(
        own_processes(machine)?.iter().all(|p| p.contains("sampand") || p.contains("aardvark")),
        "something stays"
    );
    done(machine, "joined")
}

fn exec_returns_the_exit_code(machine: &Machine) -> Result<()> {
    running(machine, "codes", "sleep 1000")?;
    for (command, code) in [("exit 3", 3), ("kill -TERM $$", 143)] {
        let run = machine.run(&["sampan", "exec", "codes", "sh", "-c", command])?;
        ensure!(run.code == Some(code), "{command}: {:?} {}", run.code, run.text());
    }
    let missing = machine.run(&["sampan", "exec", "codes", "/no/such"])?;
    ensure!(missing.code == Some(127), "a missing program: {:?} {}", missing.code, missing.text());
    let denied = machine.run(&["sampan", "exec", "codes", "/etc/passwd"])?;
    ensure!(denied.code == Some(126), "a file that is no program: {:?} {}", denied.code, denied.text());
    done(machine, "codes")
}

fn exec_passes_input_on(machine: &Machine) -> Result<()> {
    running(machine, "piped", "sleep 1000")?;
    let answer = machine.shell("echo through | sampan exec -i piped tr a-z A-Z")?;
    ensure!(answer == "THROUGH\n", "{answer:?}");
    done(machine, "piped")
}

fn logs_come_from_the_journal(machine: &Machine) -> Result<()> {
    running(machine, "speaker", "sh -c 'echo one; echo two >&2; sleep 1000'")?;
    machine.wait("its lines", Duration::from_secs(5), |m| {
        let logs = m.run(&["sampan", "logs", "speaker"])?;
        Ok(logs.success() && logs.text().contains("one") && logs.text().contains("two"))
    })?;
    let tail = machine.ok(&["sampan", "logs", "--tail", "1", "speaker"])?;
    ensure!(tail == "two\n", "the last line: {tail:?}");
    done(machine, "speaker")
}

fn stop_goes_through_systemd(machine: &Machine) -> Result<()> {
    running(machine, "stoppable", "sleep 1000")?;
    machine.ok(&["sampan", "stop", "stoppable"])?;
    let state = (machine.property("stoppable", "ActiveState")?, machine.property("stoppable", "Result")?);
    ensure!(state == ("inactive".into(), "success".into()), "{state:?}");
    uninstall(machine, &["stoppable.container"])
}

fn rm_force_ends_a_container(machine: &Machine) -> Result<()> {
    running(machine, "removed", "sleep 1000")?;
    let refused = machine.run(&["sampan", "rm", "removed"])?;
    ensure!(
        refused.code == Some(2) || refused.code == Some(125),
        "a running one: {:?} {}",
        refused.code,
        refused.text()
    );
    machine.ok(&["sampan", "rm", "--force", "removed"])?;
    let list = machine.ok(&["sampan", "ps", "--all", "--format", "{{.Names}}"])?;
    ensure!(!list.contains("removed"), "{list}");
    ensure!(machine.property("removed", "ActiveState")? == "inactive", "its unit still runs");
    uninstall(machine, &["removed.container"])
}

fn run_from_a_shell(machine: &Machine) -> Result<()> {
    let output = machine.ok(&[
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        "sampan",
        "run",
        "--rm",
        BUSYBOX,
        "echo",
        "hello",
    ])?;
    ensure!(output.lines().any(|line| line == "hello"), "{output}");
    let list = machine.ok(&["sampan", "ps", "--all", "-q"])?;
    ensure!(list.is_empty(), "left after --rm: {list}");
    Ok(())
}

fn run_returns_the_exit_code(machine: &Machine) -> Result<()> {
    let unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect"];
    let sampan = ["sampan", "run", "--rm", BUSYBOX, "sh", "-c", "exit 42"];
    for command in [[&unit[..], &sampan].concat(), sampan.to_vec()] {
        let run = machine.run(&command)?;
        ensure!(run.code == Some(42), "{}: {:?} {}", command[0], run.code, run.text());
    }
    let missing = machine.run(&["sampan", "run", "--rm", BUSYBOX, "/no/such"])?;
    ensure!(missing.code == Some(127), "a missing program: {:?} {}", missing.code, missing.text());
    Ok(())
}

fn images_lists_and_pull_is_idempotent(machine: &Machine) -> Result<()> {
    let first = machine.ok(&["sampan", "pull", "localhost:5000/web"])?;
    let again = machine.ok(&["sampan", "pull", "localhost:5000/web"])?;
    ensure!(first.trim().len() == 64 && first == again, "{first:?} then {again:?}");
    let list = sampan_json(machine, &["images", "--format", "json"])?;
    let names = list.to_string();
    ensure!(names.contains("localhost:5000/web:latest") && names.contains(first.trim()), "{list}");
    machine.ok(&["sampan", "rmi", "localhost:5000/web"])?;
    ensure!(!machine.ok(&["sampan", "images"])?.contains("localhost:5000/web"), "it is still listed");
    Ok(())
}

fn volumes_are_made_and_removed(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "volume", "create", "things"])?;
    let place = machine.ok(&["sampan", "volume", "inspect", "--format", "{{.Mountpoint}}", "things"])?;
    ensure!(place.trim() == "/var/lib/sampan/volumes/things/_data", "{place}");
    ensure!(machine.ok(&["sampan", "volume", "ls", "-q"])?.lines().any(|l| l == "things"), "not listed");
    machine.ok(&["sampan", "volume", "rm", "things"])?;
    ensure!(!machine.path("/var/lib/sampan/volumes/things").exists(), "its folder stays");
    Ok(())
}

fn networks_are_made_and_removed(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "network", "create", "--subnet", "10.88.77.0/24", "plan"])?;
    let one = sampan_json(machine, &["network", "inspect", "plan"])?;
    ensure!(one[0]["subnets"][0]["subnet"] == "10.88.77.0/24", "{one}");
    ensure!(one[0]["driver"] == "bridge", "{one}");
    let again = machine.run(&["sampan", "network", "create", "plan"])?;
    ensure!(again.code == Some(125), "made twice: {:?} {}", again.code, again.text());
    machine.ok(&["sampan", "network", "rm", "plan"])?;
    ensure!(!machine.ok(&["sampan", "network", "ls"])?.contains("plan"), "it is still listed");
    Ok(())
}

fn unknown_container_is_an_error(machine: &Machine) -> Result<()> {
    for (command, code) in [
        ("inspect nobody", 125),
        ("exec nobody true", 125),
        ("stop nobody", 125),
        ("rm nobody", 1),
        ("logs nobody", 125),
    ] {
        let mut words = vec!["sampan"];
        words.extend(command.split(' '));
        let run = machine.run(&words)?;
        ensure!(run.code == Some(code), "{command}: {:?} {}", run.code, run.text());
        ensure!(run.stderr.contains("nobody"), "{command} says {}", run.text());
    }
    Ok(())
}

fn every_command_has_help(machine: &Machine) -> Result<()> {
    for command in [
        "run", "ps", "inspect", "exec", "logs", "stop", "kill", "rm", "pull", "images", "rmi", "network",
        "volume", "image",
    ] {
        let help = machine.ok(&["sampan", command, "--help"])?;
        ensure!(help.contains("Usage: sampan"), "{command}: {help}");
    }
    Ok(())
}
