//! Who makes a container's cgroup: this program (`cgroupfs`), systemd (`systemd`: a transient scope), or nobody.
//!
//! The library writes the files of cgroups; what is here is the choice, and the way over systemd: names in `unit`,
//! limits as properties in `properties`, what annotations may ask for in `annotations`, and in `systemd` the program that speaks D-Bus, `sampan-scope`.

mod annotations;
mod properties;
pub(crate) mod systemd;
mod unit;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use oci_spec::runtime::{Capability, Linux, LinuxNamespaceType, LinuxResources, Process, Spec};
use sampan_container::cgroup::{self, Cgroup};
use sampan_container::state::State;

use sampan_oci::{Properties, Request, Task, Value};
use systemd::Keeper;

use crate::args::{CgroupManager, Global};

/// A container's cgroup while the container is being made.
pub(crate) struct Made {
    pub(crate) cgroup: Option<Cgroup>,
    keeper: Option<Keeper>,
}

/// Makes the cgroup that `spec` asks for, writes down in `state` where it is, and `save`s that.
///
/// A cgroup of cgroupfs has its limits then; a scope gets them by [`Made::limit`].
pub(crate) fn make(
    global: &Global,
    spec: &Spec,
    state: &mut State,
    save: impl Fn(&State) -> Result<()>,
) -> Result<Made> {
    let linux = spec.linux().as_ref().context("config.json has no \"linux\"")?;
    let (path, resources) = (linux.cgroups_path().as_deref(), linux.resources().as_ref());
    match global.cgroup_manager() {
        CgroupManager::Disabled => {
            save(state)?;
            Ok(Made { cgroup: None, keeper: None })
        }
        CgroupManager::Cgroupfs => {
            let cgroup = Cgroup::create(path, &state.id, resources)?;
            state.cgroup = cgroup.as_ref().map(|c| c.path().to_owned());
            save(state)?;
            if let (Some(cgroup), Some(owner)) = (&cgroup, owner(spec, linux)) {
                cgroup.delegate(owner)?;
            }
            Ok(Made { cgroup, keeper: None })
        }
        CgroupManager::Systemd => {
            let user = user();
            let scope = unit::scope(path, &state.id, user.is_some())?;
            let properties = properties_of(spec, state, &scope)?;
            let request = Request::Make { properties, limits: limits_of(resources)? };
            let task = Task { unit: scope.unit.clone(), user, request };
            // Not written down before it is known to be ours: what is, is stopped in the end. If we are killed
            // meanwhile, the keeper ends, and its scope with it.
            let mut keeper = Keeper::start(&task)?;
            let cgroup = Cgroup::existing(&keeper.scope()?)?;
            state.unit = Some(scope.unit);
            state.cgroup = Some(cgroup.path().to_owned());
            save(state)?;
            Ok(Made { cgroup: Some(cgroup), keeper: Some(keeper) })
        }
    }
}

impl Made {
    /// The reason why the container's process can't be born in its cgroup, in words that help.
    pub(crate) fn explain(&self, error: sampan_container::Error) -> anyhow::Error {
        let foreign = self.keeper.is_some() && user().is_some() && error.errno() == Some(libc::EACCES);
        match foreign {
            // Who moves a process needs to own what both cgroups are in: a session is not the user's systemd's.
            true => anyhow::Error::new(error).context(
                "this session is outside of the user's systemd, and may put no process there; start the command by `systemd-run --user --scope`, or choose --cgroup-manager=cgroupfs",
            ),
            false => error.into(),
        }
    }

    /// The container's process is in its cgroup, and waits: sets what a scope is limited by.
    pub(crate) fn limit(self, spec: &Spec) -> Result<()> {
        let (Some(cgroup), Some(keeper)) = (self.cgroup, self.keeper) else {
            return Ok(());
        };
        keeper.finish()?;
        let linux = spec.linux().as_ref().context("config.json has no \"linux\"")?;
        let cgroup = Cgroup::adopt(cgroup.path(), linux.resources().as_ref())?;
        match owner(spec, linux) {
            Some(owner) => Ok(cgroup.delegate(owner)?),
            None => Ok(()),
        }
    }
}

/// What a scope begins with; annotations may change some of it.
fn properties_of(spec: &Spec, state: &State, scope: &unit::Scope) -> Result<Properties> {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut properties = Properties::from([
        ("Description".into(), text(&format!("sampan container {}", state.id))),
        ("Slice".into(), text(&scope.slice)),
        ("Delegate".into(), Value::Boolean(true)),
        // A shutdown ends containers by whoever manages them, not by their scopes.
        ("DefaultDependencies".into(), Value::Boolean(false)),
        // A scope whose processes were killed has failed: nobody has to reset it before the name is free again.
        ("CollectMode".into(), text("inactive-or-failed")),
    ]);
    for accounting in ["CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"] {
        properties.insert(accounting.into(), Value::Boolean(true));
    }
    properties.extend(annotations::properties(spec.annotations().iter().flatten())?);
    Ok(properties)
}

fn limits_of(resources: Option<&LinuxResources>) -> Result<Properties> {
    match resources {
        Some(resources) => properties::of_limits(&cgroup::limits(resources)?),
        None => Ok(Properties::new()),
    }
}

/// Whose systemd is asked: a user's, by the number that the host knows it by, if this is not root, or root of a user
/// namespace only.
fn user() -> Option<u32> {
    let own = rustix::process::geteuid().as_raw();
    let mapped = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let outer = mapped.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().filter_map(|n| n.parse::<u32>().ok());
        let (inner, outer, size) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let offset = own.checked_sub(inner).filter(|&o| o < size)?;
        outer.checked_add(offset)
    });
    Some(outer.unwrap_or(own)).filter(|&uid| uid != 0)
}

/// To whom the container's cgroup belongs, in the host's numbers: to the user that the program runs as, if it has a
/// user and a cgroup namespace of its own and a writable mount of that ("Cgroup ownership" of the specification).
fn owner(spec: &Spec, linux: &Linux) -> Option<u32> {
    let mut mounts = spec.mounts().iter().flatten();
    let writable = mounts.any(|m| {
        let options = m.options().as_deref().unwrap_or_default();
        m.typ().as_deref().is_some_and(|t| t == "cgroup" || t == "cgroup2")
            && m.destination().as_os_str() == "/sys/fs/cgroup"
            && !options.iter().any(|o| o == "ro")
    });
    let own = |kind| {
        let mut namespaces = linux.namespaces().iter().flatten();
        namespaces.any(|n| n.typ() == kind && n.path().as_ref().is_none_or(|p| p.as_os_str().is_empty()))
    };
    if !writable || !own(LinuxNamespaceType::Cgroup) {
        return None;
    }
    let uid = spec.process().as_ref().map_or(0, |p| p.user().uid());
    let mapped = linux.uid_mappings().iter().flatten().find_map(|m| {
        let offset = uid.checked_sub(m.container_id()).filter(|&o| o < m.size())?;
        m.host_id().checked_add(offset)
    });
    // Without a mapping its numbers are the host's.
    let users = own(LinuxNamespaceType::User);
    let host = if users { mapped? } else { uid };
    (host != rustix::process::geteuid().as_raw()).then_some(host)
}

/// Takes `CAP_MKNOD` from a program of a container that has no cgroup because its caller wants none: rules for devices
/// can't be applied then, and whoever could make any device would get past them. Returns whether it had that.
pub(crate) fn take_mknod(spec: &Spec, process: &mut Process) -> Result<bool> {
    let Some(linux) = spec.linux() else { return Ok(false) };
    let mut namespaces = linux.namespaces().iter().flatten();
    let own_users = namespaces.any(|n| n.typ() == LinuxNamespaceType::User);
    let restricted = linux.resources().as_ref().map(cgroup::restricts_devices).transpose()?;
    let Some(mut sets) = process.capabilities().clone().filter(|_| !own_users && restricted == Some(true))
    else {
        return Ok(false);
    };
    let mut found = false;
    let mut without = |set: &Option<HashSet<Capability>>| {
        let mut set = set.clone();
        found |= set.as_mut().is_some_and(|set| set.remove(&Capability::Mknod));
        set
    };
    let (bounding, effective) = (without(sets.bounding()), without(sets.effective()));
    let (permitted, inheritable) = (without(sets.permitted()), without(sets.inheritable()));
    let ambient = without(sets.ambient());
    sets.set_bounding(bounding).set_effective(effective);
    sets.set_permitted(permitted).set_inheritable(inheritable).set_ambient(ambient);
    process.set_capabilities(Some(sets));
    Ok(found)
}

/// Ends what is left in a container's cgroup and removes it, and its scope.
pub(crate) fn remove(state: &State, patience: Duration) -> Result<()> {
    let cgroup = state.cgroup.as_deref().map(Cgroup::existing).transpose()?;
    let Some(unit) = &state.unit else {
        return Ok(cgroup.map_or(Ok(()), |c| c.remove(patience))?);
    };
    if let Some(cgroup) = &cgroup {
        cgroup.kill()?;
    }
    // It takes the cgroup away. Where it can't be asked, we do, and an empty scope ends by itself: a container must
    // not stay for want of a bus.
    if let Err(error) = systemd::stop(unit, user()) {
        log::warn!("stop of {unit}: {error:#}");
    }
    Ok(cgroup.map_or(Ok(()), |c| c.remove(patience))?)
}

/// Changes limits: at systemd, if the container has a scope, and in the cgroup's files.
pub(crate) fn update(state: &State, update: &LinuxResources, before: Option<&LinuxResources>) -> Result<()> {
    let path: &PathBuf = state.cgroup.as_ref().with_context(|| {
        format!("container {:?} has no cgroup of its own that it could be limited by", state.name)
    })?;
    let cgroup = Cgroup::existing(path)?;
    let properties = match &state.unit {
        Some(_) => properties::of_limits(&cgroup.limits_of_update(update, before)?)?,
        None => Properties::new(),
    };
    // The files first: what the kernel refuses must not be what systemd believes in.
    cgroup.update(update, before)?;
    match &state.unit {
        Some(unit) if !properties.is_empty() => systemd::set(unit, user(), properties),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_whom_the_specification_names() {
        let spec = |users: &str, options: &str| -> Spec {
            let json = format!(
                r#"{{"ociVersion":"1.0.2","process":{{"user":{{"uid":5,"gid":5}},"cwd":"/"}},
                "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":[{options}]}}],
                "linux":{{"namespaces":[{{"type":"cgroup"}}{users}],
                "uidMappings":[{{"containerID":0,"hostID":100000,"size":10}}]}}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        let owner = |spec: Spec| owner(&spec, spec.linux().as_ref().unwrap());
        assert_eq!(owner(spec(r#",{"type":"user"}"#, r#""nosuid""#)), Some(100_005));
        assert_eq!(owner(spec(r#",{"type":"user"}"#, r#""ro""#)), None);
        assert_eq!(owner(spec("", r#""nosuid""#)), Some(5));
    }
}
