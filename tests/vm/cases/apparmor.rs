//! AppArmor: a container's programs run in its profile, and a profile that isn't loaded is said in words.

use std::fs;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::bundle::{Bundle, ID, Skip, both};

pub fn tests() -> Vec<Trial> {
    [
        both!("the_program_is_confined", the_program_is_confined),
        both!("exec_joins_the_profile", exec_joins_the_profile),
        both!("a_profile_that_is_not_loaded", a_profile_that_is_not_loaded),
        both!("no_profile_is_unconfined", no_profile_is_unconfined),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Two profiles: the container's, which denies one file, and another one for `exec`.
const PROFILES: &str = "
profile sampan-test flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, signal, ptrace, umount, unix,
  deny /tmp/secret rw,
}
profile sampan-other flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, signal, ptrace, umount, unix,
}
";

fn load(bundle: &Bundle) -> Result<()> {
    if !fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
    {
        return Err(Skip("AppArmor isn't enabled in this run".into()).into());
    }
    fs::write("/etc/apparmor.d/sampan-test", PROFILES)?;
    fs::write("/srv/bundle/rootfs/tmp/secret", "a secret\n")?;
    bundle.machine.ok(&["apparmor_parser", "--replace", "/etc/apparmor.d/sampan-test"]).map(drop)
}

const SHOW: &str = "cat /proc/self/attr/current; cat /tmp/secret";

fn the_program_is_confined(bundle: &Bundle) -> Result<()> {
    load(bundle)?;
    for no_new_privileges in [false, true] {
        let process = json!({"apparmorProfile": "sampan-test", "noNewPrivileges": no_new_privileges});
        bundle.write(SHOW, &json!({"process": process}))?;
        let run = bundle.run()?;
        ensure!(run.stdout == "sampan-test (enforce)\n", "{}", run.text());
        ensure!(run.stderr.contains("Permission denied"), "{}", run.text());
    }
    Ok(())
}

fn exec_joins_the_profile(bundle: &Bundle) -> Result<()> {
    load(bundle)?;
    bundle.write("exec sleep 1000", &json!({"process": {"apparmorProfile": "sampan-test"}}))?;
    bundle.start()?;
    let run = bundle.exec(&["sh", "-c", SHOW])?;
    ensure!(run.stdout == "sampan-test (enforce)\n", "{}", run.text());
    ensure!(run.stderr.contains("Permission denied"), "{}", run.text());
    let run = bundle.runtime(&["exec", "--apparmor", "sampan-other", ID, "sh", "-c", SHOW])?;
    ensure!(run.stdout == "sampan-other (enforce)\na secret\n", "{}", run.text());
    let run = bundle.runtime(&["exec", "--apparmor", "sampan-none", ID, "true"])?;
    ensure!(!run.success() && run.stderr.contains(NOT_LOADED), "{}", run.text());
    ensure!(bundle.status()? == "running");
    Ok(())
}

/// What, and what to do.
const NOT_LOADED: &str =
    "the AppArmor profile \"sampan-none\" can't be done: no profile of this name is loaded";

fn a_profile_that_is_not_loaded(bundle: &Bundle) -> Result<()> {
    load(bundle)?;
    bundle.write("echo ran", &json!({"process": {"apparmorProfile": "sampan-none"}}))?;
    let run = bundle.run()?;
    ensure!(!run.success() && run.stdout.is_empty() && run.stderr.contains(NOT_LOADED), "{}", run.text());
    let left = bundle.ok(&["list", "--quiet"])?;
    ensure!(left.is_empty(), "left: {left}");
    Ok(())
}

fn no_profile_is_unconfined(bundle: &Bundle) -> Result<()> {
    load(bundle)?;
    for profile in ["", "unconfined"] {
        bundle.write(SHOW, &json!({"process": {"apparmorProfile": profile}}))?;
        let run = bundle.run()?;
        ensure!(run.stdout == "unconfined\na secret\n", "{profile:?}: {}", run.text());
    }
    Ok(())
}
