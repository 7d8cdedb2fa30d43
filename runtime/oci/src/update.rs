//! `update`.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources, Spec};
use sampan_container::process;
use sampan_container::state::Status;
use serde_json::{Map, Value, json};

use crate::args::table::{Take, text};
use crate::args::{Global, Update};
use crate::{cgroup, messages};

/// A size in bytes; -1 for no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size(i64);

impl Take for Size {
    fn take(&mut self, value: &OsStr) -> Result<()> {
        self.0 = bytes(text(value)?).map_err(anyhow::Error::msg)?;
        Ok(())
    }
}

/// A size: a number of bytes, or of 1024 to some power of them with a suffix (`k`, `m`, `g`, `t`, `p`, with or without
/// `b` or `ib`); or -1.
fn bytes(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || format!("{text:?} is no size, such as 1048576, 512k or 1.5g, nor -1");
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, suffix) = lower.split_at(end);
    let suffix = suffix.trim_start();
    let letter = suffix.strip_suffix("ib").or(suffix.strip_suffix('b')).unwrap_or(suffix);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|l| *l == letter).ok_or_else(wrong)?;
    let unit = 1u64 << (10 * power);
    let size = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(unit).ok_or_else(wrong)?,
        Err(_) => {
            let fraction: f64 = number.parse().map_err(|_| wrong())?;
            (fraction * unit as f64) as u64
        }
    };
    i64::try_from(size).map_err(|_| wrong())
}

/// Changes limits.
pub(crate) fn update(global: &Global, options: &Update) -> Result<u8> {
    let dir = global.container(&options.id)?;
    let _lock = dir.lock()?;
    let state = dir.read()?;
    if !matches!(state.live_status(), Status::Created | Status::Running | Status::Paused) {
        bail!("container {:?} is {}: there is nothing to limit", state.name, state.live_status());
    }
    let mut spec = dir.read_spec()?;
    let rdt = rdt(options, &spec)?;
    let asked = asked(global, options)?;
    let update: LinuxResources = serde_json::from_value(asked.clone()).context("resources")?;
    let before = spec.linux().as_ref().and_then(|l| l.resources().as_ref());
    cgroup::update(&state, &update, before)?;
    if let Some(rdt) = rdt {
        process::update_groups(&rdt, &state.id)?;
        if let Some(linux) = spec.linux_mut() {
            linux.set_intel_rdt(Some(rdt));
        }
    }
    // So that the next update knows what this one has left.
    dir.write_spec(&with(&spec, asked)?)?;
    Ok(0)
}

/// What `linux.intelRdt` becomes; none if the options don't change it.
fn rdt(options: &Update, spec: &Spec) -> Result<Option<LinuxIntelRdt>> {
    let given = |schema: &Option<String>| schema.clone().filter(|s| !s.is_empty());
    let (l3, bandwidth) = (given(&options.l3_cache_schema), given(&options.mem_bw_schema));
    if l3.is_none() && bandwidth.is_none() {
        return Ok(None);
    }
    let before = spec.linux().as_ref().and_then(|l| l.intel_rdt().clone());
    let mut rdt = before.context(
        "--l3-cache-schema, --mem-bw-schema: the container was made without linux.intelRdt, which can't be added",
    )?;
    rdt.set_l3_cache_schema(l3.or(rdt.l3_cache_schema().clone()));
    rdt.set_mem_bw_schema(bandwidth.or(rdt.mem_bw_schema().clone()));
    Ok(Some(rdt))
}

/// The resources that are asked for, without what isn't: an absent limit of `pids` must not become zero, which takes
/// the limit away.
fn asked(global: &Global, options: &Update) -> Result<Value> {
    let mut asked = match &options.resources {
        Some(path) => read(path)?,
        None => of_options(options),
    };
    if let Some(memory) = asked.get_mut("memory").and_then(Value::as_object_mut) {
        let kernel = [memory.remove("kernel"), memory.remove("kernelTCP")];
        if kernel.iter().flatten().any(|limit| !limit.is_null()) {
            messages::warning(global, "limits of kernel memory are obsolete and ignored");
        }
        if memory.is_empty() {
            asked.as_object_mut().map(|all| all.remove("memory"));
        }
    }
    if let Some(all) = asked.as_object_mut()
        && all.get("pids").is_some_and(|pids| pids.get("limit").is_none_or(Value::is_null))
    {
        all.remove("pids");
    }
    Ok(asked)
}

fn read(path: &Path) -> Result<Value> {
    let text = match path.to_str() {
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map(|_| text)
        }
        _ => fs::read(path),
    };
    let text = text.with_context(|| format!("read {}", path.display()))?;
    let value: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    if !value.is_object() {
        bail!("{}: it is the object \"resources\" of a Spec", path.display());
    }
    Ok(value)
}

fn of_options(options: &Update) -> Value {
    let text = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let object = |pairs: &[(&str, Value)]| -> Value {
        let given = pairs.iter().filter(|(_, value)| !value.is_null());
        given.map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Map<_, _>>().into()
    };
    let kernel = options.kernel_memory.as_ref().or(options.kernel_memory_tcp.as_ref());
    let groups = [
        (
            "memory",
            object(&[
                ("limit", json!(options.memory.map(|s| s.0))),
                ("reservation", json!(options.memory_reservation.map(|s| s.0))),
                ("swap", json!(options.memory_swap.map(|s| s.0))),
                ("kernel", json!(kernel.map(|_| 0))),
            ]),
        ),
        (
            "cpu",
            object(&[
                ("shares", json!(options.cpu_share)),
                ("quota", json!(options.cpu_quota)),
                ("period", json!(options.cpu_period)),
                ("burst", json!(options.cpu_burst)),
                ("idle", json!(options.cpu_idle)),
                ("realtimePeriod", json!(options.cpu_rt_period)),
                ("realtimeRuntime", json!(options.cpu_rt_runtime)),
                ("cpus", json!(text(&options.cpuset_cpus))),
                ("mems", json!(text(&options.cpuset_mems))),
            ]),
        ),
        ("blockIO", object(&[("weight", json!(options.blkio_weight))])),
        ("pids", object(&[("limit", json!(options.pids_limit))])),
    ];
    let asked = groups.into_iter().filter(|(_, group)| group.as_object().is_some_and(|g| !g.is_empty()));
    asked.map(|(name, group)| (name.to_owned(), group)).collect::<Map<_, _>>().into()
}

/// The `Spec` with what was changed.
fn with(spec: &Spec, asked: Value) -> Result<Spec> {
    let mut whole = serde_json::to_value(spec)?;
    merge(&mut whole["linux"]["resources"], asked);
    Ok(serde_json::from_value(whole)?)
}

/// Members take the place of those of the same name, and lists of lists.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from.into_iter().filter(|(_, value)| !value.is_null()) {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, Request};

    fn options(line: &str) -> Update {
        let words = ["update"].into_iter().chain(line.split_ascii_whitespace()).map(Into::into);
        match crate::args::read(words, &mut Global::default()) {
            Ok(Request::Run(Command::Update(update))) => *update,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("-1", -1),
            ("0", 0),
            ("1048576", 1 << 20),
            ("512k", 512 << 10),
            ("1M", 1 << 20),
            ("2gb", 2 << 30),
            ("1.5GiB", 3 << 29),
            ("1 t", 1 << 40),
            ("7b", 7),
        ] {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        for text in ["", "-2", "m", "1x", "1mm", "9999999p", "0x10", "1,5g", "nan", "1e3"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_become_resources() {
        let all = "--memory 1g --memory-swap -1 --memory-reservation 1m --cpu-quota -1 --cpu-period 5 --cpu-burst 0 \
                   --cpu-share 7 --cpu-idle 1 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 0 --blkio-weight 10 c";
        let wanted = json!({
            "memory": {"limit": 1 << 30, "reservation": 1 << 20, "swap": -1},
            "cpu": {"shares": 7, "quota": -1, "period": 5, "burst": 0, "idle": 1, "cpus": "0", "mems": "0"},
            "blockIO": {"weight": 10},
            "pids": {"limit": 0},
        });
        assert_eq!(of_options(&options(all)), wanted);
        assert_eq!(of_options(&options("c")), json!({}));
    }

    #[test]
    fn what_was_changed_is_kept() {
        let mut whole = json!({"cpu": {"quota": 5, "period": 7}, "pids": {"limit": 9}});
        merge(&mut whole, json!({"cpu": {"quota": 6, "period": null}, "memory": {"limit": 1}}));
        assert_eq!(
            whole,
            json!({"cpu": {"quota": 6, "period": 7}, "pids": {"limit": 9}, "memory": {"limit": 1}})
        );
    }
}
