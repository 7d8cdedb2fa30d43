//! SELinux: the labels of a container's programs and mounts arrive and confine, in a run of the machine with the policy
//! of `tests/vm/policy`.

use std::fs;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use serde_json::json;

use crate::bundle::{Bundle, Driver, ID, Skip, test};
use crate::units::{install, uninstall};

pub fn tests() -> Vec<Trial> {
    vec![
        test("selinux::the_program_has_its_label", the_program_has_its_label),
        test("selinux::exec_has_the_label", exec_has_the_label),
        test("selinux::mounts_have_their_label", mounts_have_their_label),
        test("selinux::the_policy_confines", the_policy_confines),
        test("selinux::a_label_that_the_policy_does_not_know", a_label_that_the_policy_does_not_know),
        test("selinux::labels_of_a_unit_file", labels_of_a_unit_file),
    ]
}

const PROCESS: &str = "system_u:system_r:container_t:s0:c1";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1";

fn bundle(machine: &Machine) -> Result<Bundle> {
    if !fs::exists("/sys/fs/selinux/enforce")? {
        return Err(Skip("SELinux isn't enabled in this run".into()).into());
    }
    let bundle = Bundle::new(machine, Driver::Cgroupfs)?;
    fs::write("/srv/bundle/rootfs/tmp/secret", "a secret\n")?;
    machine.ok(&["chcon", "-R", FILES, "/srv/bundle/rootfs"])?;
    machine.ok(&["chcon", "system_u:object_r:secret_t:s0", "/srv/bundle/rootfs/tmp/secret"])?;
    Ok(bundle)
}

/// The kernel's answer ends with a zero byte.
const SHOW: &str = "cat /proc/self/attr/current; echo; cat /tmp/secret";

fn the_program_has_its_label(machine: &Machine) -> Result<()> {
    let bundle = bundle(machine)?;
    for no_new_privileges in [false, true] {
        let process = json!({"selinuxLabel": PROCESS, "noNewPrivileges": no_new_privileges});
        bundle.write(SHOW, &json!({"process": process, "linux": {"mountLabel": FILES}}))?;
        let run = bundle.run()?;
        ensure!(run.success() && run.stdout.starts_with(PROCESS), "{}", run.text());
    }
    Ok(())
}

fn exec_has_the_label(machine: &Machine) -> Result<()> {
    let bundle = bundle(machine)?;
    let change = json!({"process": {"selinuxLabel": PROCESS}, "linux": {"mountLabel": FILES}});
    bundle.write("exec sleep 1000", &change)?;
    bundle.start()?;
    let run = bundle.exec(&["cat", "/proc/self/attr/current"])?;
    ensure!(run.stdout.starts_with(PROCESS), "{}", run.text());
    let other = "system_u:system_r:container_t:s0:c2";
    let run = bundle.runtime(&["exec", "--process-label", other, ID, "cat", "/proc/self/attr/current"])?;
    ensure!(run.stdout.starts_with(other), "{}", run.text());
    Ok(())
}

fn mounts_have_their_label(machine: &Machine) -> Result<()> {
    let bundle = bundle(machine)?;
    bundle
        .write("cat /proc/mounts; echo shown; exec sleep 1000", &json!({"linux": {"mountLabel": FILES}}))?;
    bundle.start()?;
    bundle.wait_for_line("shown")?;
    let mounts = fs::read_to_string("/srv/log")?;
    for place in ["/dev", "/dev/shm", "/dev/pts"] {
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(place));
        let has = line.is_some_and(|line| line.replace('"', "").contains(&format!("context={FILES}")));
        ensure!(has, "{place} has no such label: {mounts}");
    }
    let queues = format!("/proc/{}/root/dev/mqueue", bundle.pid()?);
    let label = machine.ok(&["stat", "--format=%C", &queues])?;
    ensure!(label.trim() == FILES, "the message queues have {label}");
    Ok(())
}

fn the_policy_confines(machine: &Machine) -> Result<()> {
    let bundle = bundle(machine)?;
    let change = json!({"process": {"selinuxLabel": PROCESS}, "linux": {"mountLabel": FILES}});
    bundle.write(SHOW, &change)?;
    fs::write("/sys/fs/selinux/enforce", "1")?;
    let run = bundle.run();
    fs::write("/sys/fs/selinux/enforce", "0")?;
    let run = run?;
    ensure!(run.stdout.starts_with(PROCESS) && !run.stdout.contains("a secret"), "{}", run.text());
    ensure!(run.stderr.contains("/tmp/secret': Permission denied"), "{}", run.text());
    Ok(())
}

fn a_label_that_the_policy_does_not_know(machine: &Machine) -> Result<()> {
    let bundle = bundle(machine)?;
    bundle.write("echo ran", &json!({"process": {"selinuxLabel": "system_u:system_r:nobody_t:s0"}}))?;
    let run = bundle.run()?;
    let words =
        "the SELinux label \"system_u:system_r:nobody_t:s0\" can't be done: the policy in force has no such";
    ensure!(!run.success() && run.stdout.is_empty() && run.stderr.contains(words), "{}", run.text());
    Ok(())
}

fn labels_of_a_unit_file(machine: &Machine) -> Result<()> {
    bundle(machine)?;
    let lines = "Exec=sleep 1000\nSecurityLabelType=container_t\nSecurityLabelLevel=s0:c2";
    install(machine, "labelled", lines)?;
    machine.ok(&["systemctl", "start", "labelled"])?;
    let main = machine.main_pid("labelled")?;
    let label = fs::read_to_string(format!("/proc/{main}/attr/current"))?;
    ensure!(label.trim_end_matches('\0') == "system_u:system_r:container_t:s0:c2", "{label}");
    uninstall(machine, "labelled")
}
