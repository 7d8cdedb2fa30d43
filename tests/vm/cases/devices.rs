//! The filter for devices, a program of the kernel's at the container's cgroup: what isn't allowed is denied, to
//! root with `CAP_MKNOD` too, to what `exec` brings in, and after systemd has read its units anew.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::bundle::{Bundle, both};

pub fn tests() -> Vec<Trial> {
    [
        both!("what_is_not_allowed_is_denied", what_is_not_allowed_is_denied),
        both!("an_update_changes_the_rules", an_update_changes_the_rules),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Nodes that root makes itself: of the kernel's log (1:11) and of both disks.
const NODES: &str =
    "cd /tmp; rm -f log root more; mknod log c 1 11; mknod root b ROOT; mknod more b MORE; echo made;";

/// The numbers of a disk, with this between them.
fn numbers(disk: &str, between: &str) -> Result<String> {
    Ok(std::fs::read_to_string(format!("/sys/block/{disk}/dev"))?.trim().replace(':', between))
}

fn change(rules: &Value) -> Value {
    let capabilities = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_SYSLOG"]);
    let all: Value = ["bounding", "effective", "permitted"]
        .into_iter()
        .map(|set| (set.to_owned(), capabilities.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"process": {"capabilities": all}, "root": {"readonly": false}, "linux": {"resources": {"devices": rules}}})
}

/// Access to the second disk, and to nothing else.
fn rules(access: &str) -> Result<Value> {
    let numbers = numbers("vdb", ":")?;
    let (major, minor) = numbers.split_once(':').context("a device number")?;
    let (major, minor): (u32, u32) = (major.parse()?, minor.parse()?);
    Ok(json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "access": "m"},
        {"allow": true, "type": "b", "access": "m"},
        {"allow": true, "type": "b", "major": major, "minor": minor, "access": access},
    ]))
}

/// Which of the nodes can be opened for reading and for writing, inside.
fn open(bundle: &Bundle) -> Result<Vec<String>> {
    let script = "cd /tmp; for n in log root more; do (: <$n) 2>/dev/null && echo $n read; (: >>$n) 2>/dev/null && echo $n write; done; :";
    let run = bundle.exec(&["sh", "-c", script])?;
    ensure!(run.success(), "{}", run.text());
    Ok(run.stdout.lines().map(str::to_owned).collect())
}

fn start(bundle: &Bundle, access: &str) -> Result<()> {
    let nodes = NODES.replace("ROOT", &numbers("vda", " ")?).replace("MORE", &numbers("vdb", " ")?);
    bundle.write(&format!("{nodes} exec sleep 1000"), &change(&rules(access)?))?;
    bundle.start()?;
    bundle.wait_for_line("made")
}

fn what_is_not_allowed_is_denied(bundle: &Bundle) -> Result<()> {
    start(bundle, "rw")?;
    ensure!(open(bundle)? == ["more read", "more write"], "{:?}", open(bundle)?);
    bundle.machine.ok(&["systemctl", "daemon-reload"])?;
    ensure!(open(bundle)? == ["more read", "more write"], "after a daemon-reload: {:?}", open(bundle)?);
    // Changing other limits leaves the filter where it is.
    bundle.update(&["--pids-limit", "50"])?;
    ensure!(open(bundle)? == ["more read", "more write"], "after an update: {:?}", open(bundle)?);
    // What every container has works beside it.
    let run =
        bundle.exec(&["sh", "-c", "echo x >/dev/null && head -c 4 /dev/zero >/dev/null && echo usual"])?;
    ensure!(run.stdout == "usual\n", "{}", run.text());
    Ok(())
}

fn an_update_changes_the_rules(bundle: &Bundle) -> Result<()> {
    start(bundle, "r")?;
    ensure!(open(bundle)? == ["more read"], "{:?}", open(bundle)?);
    bundle.update_to(&json!({"devices": rules("rw")?}))?;
    ensure!(open(bundle)? == ["more read", "more write"], "{:?}", open(bundle)?);
    bundle.update_to(&json!({"devices": rules("w")?}))?;
    ensure!(open(bundle)? == ["more write"], "{:?}", open(bundle)?);
    Ok(())
}
