//! `sampan-scope`: makes, limits and ends transient scopes of systemd on behalf of `sampan-runtime`. No user calls it;
//! its task comes on standard input (`sampan_oci`).
#![forbid(unsafe_code)]

use std::io::{Stdin, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sampan_oci::{Answer, Properties, Request, Task, Value, hear, say};
use sampan_status::Error;
use sampan_status::systemd::{Property, Systemd};

/// How long the end of an earlier scope of the same name is waited for.
const TRIES: u32 = 50;
const TICK: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let input = stdin();
    let task = match hear::<Task>(&mut input.lock()) {
        Ok(Some(task)) => task,
        _ => {
            eprintln!("sampan-scope: this is a part of sampan-runtime, not a command of its own");
            return ExitCode::FAILURE;
        }
    };
    match work(&task, &input) {
        Ok(answer) => match say(&mut stdout().lock(), &answer) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            // Nobody else could be told if that fails.
            let _ = say(&mut stdout().lock(), &Answer::Failed(format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn work(task: &Task, input: &Stdin) -> Result<Answer> {
    let connected = task.user.map_or_else(Systemd::system, Systemd::user_as);
    let systemd = connected
        .context("the systemd cgroup driver talks to systemd; --cgroup-manager=cgroupfs does without")?;
    match &task.request {
        Request::Make { properties, limits } => make(&systemd, &task.unit, properties, limits, input)?,
        Request::Set { properties } => systemd.set_properties(&task.unit, &wire(properties))?,
        Request::Stop => stop(&systemd, &task.unit)?,
    }
    Ok(Answer::Done)
}

fn make(
    systemd: &Systemd,
    unit: &str,
    properties: &Properties,
    limits: &Properties,
    input: &Stdin,
) -> Result<()> {
    let properties = wire(properties);
    let mut tries = 0;
    loop {
        match systemd.start_scope(unit, &[std::process::id()], &properties) {
            // The last one of this name may be about to go, or has failed and waits to be forgotten.
            Err(Error::UnitExists(_)) if tries < TRIES => {
                tries += 1;
                let _ = systemd.reset_failed(unit);
                std::thread::sleep(TICK);
            }
            result => break result?,
        }
    }
    say(&mut stdout().lock(), &Answer::Scope(own_cgroup(unit)?))?;
    // The container's process is being born in there. If the runtime dies, this ends, and an empty scope with it.
    if hear::<String>(&mut input.lock())?.is_none() {
        bail!("sampan-runtime has ended");
    }
    match limits.is_empty() {
        true => Ok(()),
        false => Ok(systemd.set_properties(unit, &wire(limits))?),
    }
}

/// Where this process is now, which must be the scope.
fn own_cgroup(unit: &str) -> Result<PathBuf> {
    let file = "/proc/self/cgroup";
    let text = std::fs::read_to_string(file).with_context(|| format!("read({file})"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.map(PathBuf::from).filter(|path| path.ends_with(unit));
    own.with_context(|| {
        format!("systemd has made {unit} outside of cgroup2: the systemd cgroup driver needs it")
    })
}

fn stop(systemd: &Systemd, unit: &str) -> Result<()> {
    match systemd.stop(unit) {
        Err(Error::NoSuchUnit(_)) => return Ok(()),
        result => result?,
    }
    // Only what has failed is still there, and only if an annotation has asked for that.
    let _ = systemd.reset_failed(unit);
    Ok(())
}

/// Properties for D-Bus.
fn wire(properties: &Properties) -> Vec<Property> {
    let one = |(name, value): (&String, &Value)| match value {
        Value::Text(text) => Property::text(name, text),
        Value::Boolean(yes) => Property::boolean(name, *yes),
        Value::Number(number) => Property::number(name, *number),
        Value::Bytes(bytes) => Property::bytes(name, bytes),
        Value::List(list) => Property::list(name, list),
        Value::Devices(devices) => Property::devices(name, devices),
    };
    properties.iter().map(one).collect()
}
