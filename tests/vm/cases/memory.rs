//! The limit of memory: the smallest that a container starts with, and what happens beyond it.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::bundle::{Bundle, ID, LONG, both};

pub fn tests() -> Vec<Trial> {
    [
        both!("half_a_mebibyte_to_run", half_a_mebibyte_to_run),
        both!("half_a_mebibyte_to_create_and_start", half_a_mebibyte_to_create_and_start),
        both!("half_a_mebibyte_to_exec", half_a_mebibyte_to_exec),
        both!("half_a_mebibyte_without_swap", half_a_mebibyte_without_swap),
        both!("beyond_it_the_program_is_killed", beyond_it_the_program_is_killed),
        both!("a_kill_is_an_event", a_kill_is_an_event),
        both!("less_than_is_used_is_refused_on_demand", less_than_is_used_is_refused_on_demand),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn memory(limit: u64) -> Value {
    json!({"linux": {"resources": {"memory": {"limit": limit}}}})
}

const HALF: u64 = 512 << 10;

fn half_a_mebibyte_to_run(bundle: &mut Bundle) -> Result<()> {
    bundle.pinned = true;
    bundle.write("echo \"started with $(cat /sys/fs/cgroup/memory.max)\"", &memory(HALF))?;
    for _ in 0..5 {
        let run = bundle.run()?;
        ensure!(run.success() && run.stdout == "started with 524288\n", "{:?} {}", run.code, run.text());
    }
    Ok(())
}

fn half_a_mebibyte_to_create_and_start(bundle: &mut Bundle) -> Result<()> {
    bundle.pinned = true;
    bundle.write("echo started; exec sleep 1000", &memory(HALF))?;
    for _ in 0..3 {
        bundle.create()?;
        ensure!(bundle.status()? == "created");
        bundle.expect(&[("memory.max", "524288")])?;
        bundle.ok(&["start", ID])?;
        bundle.wait_for_line("started")?;
        ensure!(bundle.status()? == "running");
        ensure!(bundle.number("memory.events", "oom_kill")? == 0);
        bundle.ok(&["delete", "--force", ID])?;
    }
    Ok(())
}

fn half_a_mebibyte_to_exec(bundle: &mut Bundle) -> Result<()> {
    bundle.pinned = true;
    bundle.write("exec sleep 1000", &memory(HALF))?;
    bundle.start()?;
    for _ in 0..3 {
        let run = bundle.exec(&["echo", "beside it"])?;
        ensure!(run.success() && run.stdout == "beside it\n", "{:?} {}", run.code, run.text());
    }
    ensure!(bundle.status()? == "running");
    ensure!(bundle.number("memory.events", "oom_kill")? == 0);
    Ok(())
}

fn half_a_mebibyte_without_swap(bundle: &mut Bundle) -> Result<()> {
    bundle.pinned = true;
    bundle
        .write("echo started", &json!({"linux": {"resources": {"memory": {"limit": HALF, "swap": HALF}}}}))?;
    let run = bundle.run()?;
    ensure!(run.success() && run.stdout == "started\n", "{:?} {}", run.code, run.text());
    Ok(())
}

fn beyond_it_the_program_is_killed(bundle: &Bundle) -> Result<()> {
    let swap = json!({"linux": {"resources": {"memory": {"limit": 8 << 20, "swap": 8 << 20}}}});
    bundle.write(&format!("exec {}", "tail /dev/zero"), &swap)?;
    let run = bundle.run()?;
    ensure!(run.code == Some(137), "{:?} {}", run.code, run.text());
    Ok(())
}

/// `events` says so, and `state` afterwards.
fn a_kill_is_an_event(bundle: &Bundle) -> Result<()> {
    bundle.write("while :; do sleep 1000; done", &memory(32 << 20))?;
    bundle.start()?;
    let machine = &bundle.machine;
    machine.shell(&format!(
        "sampan-runtime events --interval 500ms {ID} >/srv/events 2>&1 </dev/null & echo $! >/srv/events.pid"
    ))?;
    let has = |word: &str| Ok(machine.ok(&["cat", "/srv/events"])?.contains(word));
    machine.wait("its first statistics", LONG, |_| has("\"stats\""))?;
    bundle.update(&["--memory", "8m", "--memory-swap", "8m"])?;
    bundle.expect(&[("memory.max", "8388608")])?;
    bundle.exec(&["sh", "-c", "x=$(head -c 40000000 /dev/zero | tail)"])?;
    ensure!(bundle.number("memory.events", "oom_kill")? > 0, "{}", bundle.file("memory.events")?);
    machine.wait("the event", LONG, |_| has("\"oom\""))?;
    ensure!(bundle.status()? == "running", "the container itself was killed");
    // Then its own program.
    machine.shell(&format!("kill -KILL {}", bundle.pid()?))?;
    bundle.wait_for("stopped")?;
    machine.shell("for i in $(seq 3000); do kill -0 $(cat /srv/events.pid) 2>/dev/null || exit 0; sleep 0.1; done; exit 1")?;
    Ok(())
}

/// runtime-spec, `checkBeforeUpdate`.
fn less_than_is_used_is_refused_on_demand(bundle: &Bundle) -> Result<()> {
    bundle.write(
        "x=$(head -c 4000000 /dev/zero | tail -c 4000000); echo ready; sleep 1000",
        &memory(64 << 20),
    )?;
    bundle.start()?;
    bundle.wait_for_line("ready")?;
    let refused = bundle.update_to(&json!({"memory": {"limit": 65536, "checkBeforeUpdate": true}}));
    let words = refused.expect_err("a limit below what is used").to_string();
    ensure!(words.contains("memory"), "{words}");
    bundle.expect(&[("memory.max", "67108864")])?;
    ensure!(bundle.status()? == "running");
    Ok(())
}
