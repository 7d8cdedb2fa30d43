//! What `tests/fuzz` calls: everything that reads what someone hostile may have written, before there is a process.
//! Nothing of the host is opened or changed here.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use oci_spec::runtime::{Linux, LinuxSeccomp, LinuxSyscall, Spec};

use crate::credentials::Credentials;
use crate::hooks::Hooks;
use crate::namespaces::Namespaces;
use crate::program::Program;
use crate::rootfs::devices;
use crate::rootfs::idmap::Mapper;
use crate::rootfs::mounts::{self, Common};
use crate::rootfs::options::Options;
use crate::rootfs::procfs::{self, Namespaced};
use crate::{cgroup, seccomp, sys};

/// A `config.json`: all checks that are made before a process is. What is refused needs words.
pub fn spec(text: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(text) else { return };
    // What was read is written to the state, and must be the same when it is read there.
    if let Ok(again) = serde_json::to_vec(&spec) {
        assert_eq!(serde_json::from_slice::<Spec>(&again).ok().as_ref(), Some(&spec));
    }
    if let Some(process) = spec.process() {
        words(Program::new(process));
        words(Credentials::new(process, false));
    }
    for mount in spec.mounts().iter().flatten() {
        let parsed = Options::parse(mount.options().as_deref().unwrap_or_default());
        let bind = mount.typ().as_deref() == Some("bind") || parsed.as_ref().is_ok_and(|o| o.bind.is_some());
        // Both would ask the host: for the source, and for a process with these mappings.
        let mapped = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
        let mapped = mapped || mount.options().iter().flatten().any(|option| option.contains("idmap"));
        words(parsed);
        if !bind && !mapped {
            let (linux, namespaces) = (Linux::default(), Namespaces::default());
            words(mounts::prepare(mount, Common::default(), &Mapper::new(&linux, &namespaces)));
        }
    }
    let _ = Hooks::new(&spec, "fuzz", Path::new("/"));
    if let Some(linux) = spec.linux() {
        self::linux(linux);
    }
}

fn linux(linux: &Linux) {
    let mut unnamed = linux.clone();
    let mut namespaces = linux.namespaces().clone();
    // A path would be opened.
    for namespace in namespaces.iter_mut().flatten() {
        namespace.set_path(None);
    }
    unnamed.set_namespaces(namespaces);
    words(Namespaces::new(&unnamed));
    let all = Namespaced { ipc: true, network: true, uts: true };
    for name in linux.sysctl().iter().flat_map(|sysctls| sysctls.keys()) {
        if procfs::check_sysctl(name, all).is_ok() {
            let path = Path::new("/proc/sys").join(procfs::sysctl_path(name));
            let is_below = |part| matches!(part, Component::RootDir | Component::Normal(_));
            assert!(path.starts_with("/proc/sys") && path.components().all(is_below), "{name:?}");
        }
    }
    words(devices::prepare(linux.devices().as_deref().unwrap_or_default(), false, None));
    if let Some(resources) = linux.resources() {
        words(cgroup::limits(resources));
        words(cgroup::device_program(resources.devices().as_deref().unwrap_or_default()));
    }
}

/// A filter of a `Spec`.
pub fn filter(text: &[u8]) {
    if let Ok(filter) = serde_json::from_slice::<LinuxSeccomp>(text) {
        compile(&filter);
    }
}

/// A profile in the format of containers-common, for a container with some capabilities.
pub fn profile(text: &[u8]) {
    let caps: BTreeSet<String> = ["CAP_SYS_ADMIN", "CAP_CHOWN"].map(String::from).into();
    for caps in [caps, BTreeSet::new()] {
        match seccomp::resolve(text, &caps, "5.14.0-503.el9.x86_64") {
            Ok(filter) => compile(&filter),
            Err(words) => assert!(!words.is_empty()),
        }
    }
}

/// Whether several rules compare arguments of one system call, one of them several arguments. With some of these
/// libseccomp 2.5.4 doesn't come to an end (in its generation of code), which is not ours to find.
fn may_never_end(filter: &LinuxSeccomp) -> bool {
    let compared = |rule: &LinuxSyscall| rule.args().as_deref().map_or(0, <[_]>::len);
    let rules = || filter.syscalls().iter().flatten().filter(|rule| compared(rule) > 0);
    rules().any(|rule| {
        let same = |other: &&LinuxSyscall| other.names().iter().any(|name| rule.names().contains(name));
        compared(rule) > 1 && (rules().filter(same).count() > 1 || rule.names().len() > 1)
    })
}

/// The same filter becomes the same whole number of instructions each time, of which at least one answers.
fn compile(filter: &LinuxSeccomp) {
    if may_never_end(filter) {
        return;
    }
    let compiled = seccomp::from_spec(filter, None);
    if let Ok(Some(compiled)) = &compiled {
        let length = compiled.program().len();
        assert!(length > 0 && length % sys::BPF_INSTRUCTION == 0, "{length} bytes");
        assert_eq!(seccomp::from_spec(filter, None).ok().flatten().as_ref(), Some(compiled));
    }
    words(compiled);
}

/// An error says something.
fn words<T>(result: crate::Result<T>) {
    if let Err(error) = result {
        assert!(error.to_string().len() > 10, "{error:?}");
    }
}
