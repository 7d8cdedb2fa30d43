//! The commands for unit files, with the systemd that runs what they install.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::{Machine, Run};

use crate::fixture::{BUSYBOX, Shared, UNITS, sampan_json, shared};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("unit_files::{name}"), case);
    vec![
        test("an_edit_is_told_before_the_reload", an_edit_is_told_before_the_reload),
        test("a_folder_is_installed_and_removed_whole", a_folder_is_installed_and_removed_whole),
    ]
}

fn sampan(machine: &Machine, words: &[&str]) -> Result<Run> {
    machine.run(&[&["sampan"], words].concat())
}

/// Runs `sampan diff`, which must end with this exit code.
fn diff(machine: &Machine, code: i32) -> Result<String> {
    let run = sampan(machine, &["diff"])?;
    ensure!(run.code == Some(code), "sampan diff ended with {:?}: {}", run.code, run.text());
    Ok(run.stdout)
}

fn an_edit_is_told_before_the_reload(machine: &Machine) -> Result<()> {
    let text = format!("[Container]\nImage={BUSYBOX}\nExec=sleep 1000\nPublishPort=8090:80\n");
    machine.write("/root/edited.container", &text)?;
    let run = sampan(machine, &["install", "/root/edited.container"])?;
    ensure!(run.success() && run.text().contains("systemctl start edited"), "{}", run.text());
    ensure!(diff(machine, 1)?.contains("+ edited.service"), "the new unit is missing");
    machine.ok(&["systemctl", "daemon-reload"])?;
    machine.ok(&["systemctl", "start", "edited"])?;
    let same = diff(machine, 0)?;
    ensure!(same.is_empty(), "{same}");
    let list = machine.ok(&["sampan", "list", "--format", "{{.UnitName}} {{.Status}}"])?;
    ensure!(list.lines().any(|line| line == "edited.service active/running"), "{list}");

    machine.write(&format!("{UNITS}/edited.container"), &text.replace("8090", "8091"))?;
    let changed = diff(machine, 1)?;
    for part in ["edited.service", "it runs, restart needed", "- --publish 8090:80", "+ --publish 8091:80"] {
        ensure!(changed.contains(part), "no {part:?} in\n{changed}");
    }
    ensure!(changed.contains("systemctl daemon-reload && systemctl restart edited.service"), "{changed}");
    machine.write(&format!("{UNITS}/edited.container"), &format!("{text}\n[Service]\nRestart=always\n"))?;
    let changed = diff(machine, 1)?;
    ensure!(changed.contains("it runs, no restart needed"), "{changed}");

    let refused = sampan(machine, &["rm", "edited.container"])?;
    ensure!(!refused.success() && refused.text().contains("--force"), "{}", refused.text());
    machine.ok(&["sampan", "rm", "--force", "--reload", "edited.container"])?;
    ensure!(!machine.path(&format!("{UNITS}/edited.container")).exists(), "the file is still there");
    let state = machine.run(&["systemctl", "is-active", "edited"])?;
    ensure!(state.stdout.trim() == "inactive", "{}", state.text());
    diff(machine, 0).map(drop)
}

fn a_folder_is_installed_and_removed_whole(machine: &Machine) -> Result<()> {
    let unit = format!("[Container]\nImage={BUSYBOX}\nExec=sleep 1000\nEnvironmentFile=./job.env\n");
    machine.write("/root/jobs/job@.container", &unit)?;
    machine.write("/root/jobs/job.env", "COLOUR=blue\n")?;
    machine.write("/root/jobs/job@.container.d/10-name.conf", "[Container]\nContainerName=job-%i\n")?;
    machine.ok(&["sampan", "quadlet", "install", "/root/jobs"])?;
    machine.ok(&["systemctl", "start", "job@one"])?;
    let colour = machine.ok(&["sampan", "exec", "job-one", "sh", "-c", "echo $COLOUR"])?;
    ensure!(colour.trim() == "blue", "{colour}");
    let list = sampan_json(machine, &["quadlet", "list", "--format", "json", "--filter", "name=job*"])?;
    ensure!(list[0]["Status"] == "template, 1 active" && list[0]["App"] == "jobs", "{list}");

    machine.write(&format!("{UNITS}/jobs/job@.container"), &unit.replace("1000", "2000"))?;
    let changed = diff(machine, 1)?;
    ensure!(changed.contains("systemctl restart job@one.service"), "{changed}");

    let refused = sampan(machine, &["quadlet", "rm", "jobs"])?;
    ensure!(!refused.success() && refused.text().contains("job@one.service runs"), "{}", refused.text());
    machine.ok(&["sampan", "quadlet", "rm", "--force", "jobs"])?;
    ensure!(!machine.path(&format!("{UNITS}/jobs")).exists(), "the folder is still there");
    // The reload was done as well.
    diff(machine, 0).map(drop)
}
