//! The machine itself: that it boots quickly, and leaves nothing on the host.

use std::time::Instant;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{machine, test};

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test(&format!("harness::{name}"), case);
    vec![
        test("another_one_boots_and_leaves_nothing", another_one_boots),
        test("a_panic_leaves_nothing", a_panic_leaves_nothing),
        test("the_product_is_installed", the_product_is_installed),
        test("systemd_is_252_or_later", systemd_version),
    ]
}

/// The host's folders and cgroups of the machine whose name begins so.
fn traces(name: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut folders = vec![std::env::temp_dir()];
    folders.extend(
        mounts
            .lines()
            .filter(|l| l.split(' ').nth(2) == Some("cgroup2"))
            .filter_map(|l| Some(l.split(' ').nth(1)?.into())),
    );
    for folder in folders {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?.file_name().to_string_lossy().into_owned();
            if entry == format!("sampan-machine.{name}") {
                found.push(entry);
            }
        }
    }
    found.extend(mounts.lines().filter(|l| l.contains(&format!("sampan-machine.{name}"))).map(str::to_owned));
    Ok(found)
}

fn another_one_boots(_: &Machine) -> Result<()> {
    let begun = Instant::now();
    let another = machine()?;
    eprintln!("it took {:?}, with the registry", begun.elapsed());
    let name = another.name().to_owned();
    ensure!(!traces(&name)?.is_empty(), "this test looks in the wrong places");
    another.stop()?;
    let left = traces(&name)?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn a_panic_leaves_nothing(_: &Machine) -> Result<()> {
    let another = machine()?;
    let name = another.name().to_owned();
    let caught = std::thread::spawn(move || {
        let _machine = another;
        std::panic::panic_any("on purpose");
    });
    ensure!(caught.join().is_err(), "no panic");
    let left = traces(&name)?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn the_product_is_installed(machine: &Machine) -> Result<()> {
    for file in [
        "/usr/bin/sampan",
        "/usr/bin/sampan-runtime",
        "/usr/libexec/sampan/sampand",
        "/usr/lib/systemd/system-generators/sampan-generator",
        "/usr/share/dbus-1/system-services/org.sampan1.service",
    ] {
        ensure!(machine.path(file).exists(), "no {file}");
    }
    let version = machine.ok(&["sampan", "--version"])?;
    ensure!(version.trim() == concat!("sampan ", env!("CARGO_PKG_VERSION")), "{version}");
    Ok(())
}

fn systemd_version(machine: &Machine) -> Result<()> {
    let version = machine.ok(&["systemctl", "--version"])?;
    let number: u32 = version.split_whitespace().nth(1).unwrap_or_default().parse()?;
    ensure!(number >= 252, "{version}");
    Ok(())
}
