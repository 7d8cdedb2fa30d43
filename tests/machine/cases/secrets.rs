//! `Secret=`: credentials of the service in the container.
//!
//! A systemd in namespaces makes the directory of credentials and leaves it empty, so these tests fill one by hand; that
//! the generator asks systemd for them, the fixtures show.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, busybox, shared, start, start_fails, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("secrets::{name}"), case);
    vec![
        test("files_and_variables", files_and_variables),
        test("the_units_user_reads_them", with_a_user),
        test("one_that_is_missing_is_named", missing),
    ]
}

const DIRECTORY: &str = "Environment=CREDENTIALS_DIRECTORY=/srv/credentials";

fn prepare(machine: &Machine) -> Result<()> {
    machine.shell(
        "mkdir -p -m 700 /srv/credentials; echo hush >/srv/credentials/db; chmod 400 /srv/credentials/db",
    )?;
    Ok(())
}

/// What the container has printed, once it has printed `end`.
fn printed(machine: &Machine, unit: &str) -> Result<String> {
    start(machine, unit)?;
    machine.wait("it prints all", Duration::from_secs(10), |m| {
        Ok(m.journal(unit)?.lines().any(|line| line == "end"))
    })?;
    machine.journal(unit)
}

fn files_and_variables(machine: &Machine) -> Result<()> {
    prepare(machine)?;
    let script = "sh -c 'cat /run/secrets/db; stat -c %%u:%%g:%%a /run/secrets/db /run/secrets/other /etc/third; \
                  echo variable-$PASSWORD; echo no >/run/secrets/db; env | grep -c CREDENTIALS; echo end; sleep 1000'";
    let more = format!(
        "Secret=db\nSecret=db,target=other,uid=5,gid=6,mode=0400\nSecret=db,target=/etc/third\n\
         Secret=db,type=env,target=PASSWORD\n[Service]\n{DIRECTORY}"
    );
    busybox(machine, "secret", script, &more)?;
    let printed = printed(machine, "secret")?;
    for line in ["hush", "0:0:444", "5:6:400", "variable-hush", "0"] {
        ensure!(printed.lines().any(|printed| printed == line), "no {line:?} in {printed}");
    }
    ensure!(printed.contains("Read-only file system"), "a secret can be overwritten: {printed}");
    ensure!(machine.ok(&["cat", "/srv/credentials/db"])? == "hush\n", "the credential was changed");
    // A secret shows neither in arguments nor in what others may read.
    let seen =
        machine.shell("grep -l '[h]ush' /proc/[0-9]*/cmdline /run/systemd/generator/* 2>/dev/null || :")?;
    ensure!(seen.is_empty(), "it stands in {seen}");
    machine.ok(&["systemctl", "stop", "secret"])?;
    let left = machine.shell("grep -rl '[h]ush' /run/sampan /var/lib/sampan/containers 2>/dev/null || :")?;
    ensure!(left.is_empty(), "it is left in {left}");
    uninstall(machine, &["secret.container"])
}

fn with_a_user(machine: &Machine) -> Result<()> {
    prepare(machine)?;
    let more = format!("Secret=db,mode=0400\n[Service]\nUser=www-data\n{DIRECTORY}");
    busybox(machine, "user", "sh -c 'cat /run/secrets/db; echo end; sleep 1000'", &more)?;
    let printed = printed(machine, "user")?;
    ensure!(printed.lines().any(|line| line == "hush"), "{printed}");
    machine.ok(&["systemctl", "stop", "user"])?;
    uninstall(machine, &["user.container"])
}

fn missing(machine: &Machine) -> Result<()> {
    busybox(machine, "missing", "sleep 1000", "Secret=nowhere,type=env")?;
    let said = start_fails(machine, "missing")?;
    for part in [
        "missing.container:4:8",
        "there is no secret \"nowhere\"",
        "/etc/credstore/nowhere",
        "podman secret inspect",
    ] {
        ensure!(said.contains(part), "no {part:?} in {said}");
    }
    uninstall(machine, &["missing.container"])
}
