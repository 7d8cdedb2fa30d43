//! Logging in to a registry, and that nobody sees the password meanwhile or afterwards.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{install, start, start_fails, test};

pub fn tests() -> Vec<Trial> {
    let alone = |name: &str, case| test(&format!("login::{name}"), case);
    vec![
        alone("a_unit_pulls_with_what_a_login_kept", a_unit_pulls),
        alone("a_helper_serves_a_unit", a_helper_serves_a_unit),
    ]
}

/// A second registry with the same images, which knows one user.
const REGISTRY: &str = "localhost:5001";
const PASSWORD: &str = "hunter2-s3cret";
/// `alice:hunter2-s3cret`
const ENCODED: &str = "YWxpY2U6aHVudGVyMi1zM2NyZXQ=";
/// As htpasswd(1) writes it, with bcrypt.
const KNOWN: &str = "alice:$2y$05$xb5jRl7r5qSIJ9DTFbgcSeXx5BM1U51E/Nxxh7d41GxRbjBJmXf7O\n";
const UNIT: &str = "[Container]\nImage=localhost:5001/busybox\nExec=sleep 1000\n";

fn serve(machine: &Machine) -> Result<()> {
    machine.write("/etc/test-registry/htpasswd", KNOWN)?;
    machine.write("/root/password", PASSWORD)?;
    let insecure = format!("[[registry]]\nlocation = \"{REGISTRY}\"\ninsecure = true\n");
    machine.write("/etc/containers/registries.conf.d/60-login.conf", &insecure)?;
    machine.write(
        "/etc/systemd/system/registry-login.service",
        "[Service]\nEnvironment=REGISTRY_HTTP_ADDR=127.0.0.1:5001 REGISTRY_AUTH=htpasswd \
         REGISTRY_AUTH_HTPASSWD_REALM=test REGISTRY_AUTH_HTPASSWD_PATH=/etc/test-registry/htpasswd\n\
         ExecStart=/usr/bin/docker-registry serve /etc/test-registry/registry.yml\n",
    )?;
    machine.ok(&["systemctl", "daemon-reload"])?;
    machine.ok(&["systemctl", "start", "registry-login"])?;
    machine.wait("it listens", Duration::from_secs(10), |m| {
        Ok(m.run(&["curl", "-s", &format!("http://{REGISTRY}/v2/")])?.success())
    })
}

/// Looks for the password, plain and encoded, wherever it could have been left.
fn nobody_knows(machine: &Machine) -> Result<()> {
    machine.write("/root/patterns", &format!("{PASSWORD}\n{ENCODED}\n"))?;
    let found = machine.shell(
        "set +e; journalctl --sync; journalctl --no-pager --output=export | grep -a -F -f /root/patterns; \
         cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -a -o -F -f /root/patterns; \
         grep -r -l -s -F -f /root/patterns /etc /run /tmp /var/lib/sampan /var/cache /var/log \
           --exclude-dir=layers --exclude-dir=registry --exclude-dir=journal; true",
    )?;
    let places: Vec<_> = found.lines().filter(|line| *line != "/run/containers/0/auth.json").collect();
    ensure!(places.is_empty(), "the password is in {places:?}");
    Ok(())
}

fn a_unit_pulls(machine: &Machine) -> Result<()> {
    serve(machine)?;
    install(machine, &[("private.container", UNIT)])?;
    let told = start_fails(machine, "private")?;
    ensure!(told.contains("it asks for credentials, and there are none"), "{told}");
    ensure!(told.contains("/run/containers/0/auth.json"), "it doesn't say where they belong: {told}");

    let wrong = machine.run(&[
        "sh",
        "-c",
        &format!("echo wrong | sampan login -u alice --password-stdin {REGISTRY}"),
    ])?;
    ensure!(!wrong.success() && wrong.text().contains("refused"), "{}", wrong.text());
    ensure!(!machine.path("/run/containers/0/auth.json").exists(), "a wrong password was kept");

    // As in a session of root's, where $XDG_RUNTIME_DIR is not what services have.
    let login = format!(
        "XDG_RUNTIME_DIR=/run/user/0 sampan login -u alice --password-stdin {REGISTRY} </root/password"
    );
    ensure!(machine.shell(&login)? == "Login Succeeded!\n");
    ensure!(machine.shell("stat -c '%a %U' /run/containers/0/auth.json")? == "600 root\n");
    start(machine, "private")?;
    nobody_knows(machine)?;
    machine.ok(&["systemctl", "stop", "private"])?;

    machine.ok(&["sampan", "logout", REGISTRY])?;
    machine.shell("sampan rmi --all --force")?;
    start_fails(machine, "private")?;
    nobody_knows(machine)?;
    ensure!(!machine.shell("cat /run/containers/0/auth.json")?.contains(ENCODED), "it is still there");
    Ok(())
}

/// A helper that keeps one entry, and complains about it where the journal could hear.
const HELPER: &str = "#!/bin/sh
case $1 in
get) cat /srv/kept; cat /srv/kept >&2 ;;
store) cat >/srv/kept ;;
esac
";

fn a_helper_serves_a_unit(machine: &Machine) -> Result<()> {
    serve(machine)?;
    machine.write("/usr/local/bin/docker-credential-test", HELPER)?;
    machine.ok(&["chmod", "755", "/usr/local/bin/docker-credential-test"])?;
    let helpers = "credential-helpers = [\"test\"]\n";
    machine.write("/etc/containers/registries.conf.d/70-helper.conf", helpers)?;
    machine.shell("printf '{}' >/srv/kept")?;
    machine.shell(&format!("sampan login -u alice --password-stdin {REGISTRY} </root/password"))?;
    ensure!(!machine.path("/run/containers/0/auth.json").exists(), "it is in the file too");
    install(machine, &[("private.container", UNIT)])?;
    start(machine, "private")?;
    nobody_knows(machine)
}
