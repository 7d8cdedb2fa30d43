//! Profiles as containers-common, Docker and Podman write them: the filter of the OCI runtime specification plus
//! conditions on capabilities, architecture and kernel.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    syscalls: Option<Vec<Syscall>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscall {
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The names that profiles use for this machine's architecture, in Go's words and libseccomp's.
const NATIVE: (&str, Arch) = if cfg!(target_arch = "x86_64") {
    ("amd64", Arch::ScmpArchX86_64)
} else if cfg!(target_arch = "aarch64") {
    ("arm64", Arch::ScmpArchAarch64)
} else if cfg!(target_arch = "powerpc64") {
    ("ppc64le", Arch::ScmpArchPpc64le)
} else if cfg!(target_arch = "s390x") {
    ("s390x", Arch::ScmpArchS390x)
} else {
    ("riscv64", Arch::ScmpArchRiscv64)
};

/// Reads a profile and resolves its conditions for a container with the capabilities `caps` on the kernel
/// `release`. Errors are words for the reader of the file.
pub(crate) fn resolve(text: &[u8], caps: &BTreeSet<String>, release: &str) -> Result<LinuxSeccomp, String> {
    let profile: Profile = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let mut architectures = profile.architectures.unwrap_or_default();
    let map = profile.arch_map.unwrap_or_default();
    if !architectures.is_empty() && !map.is_empty() {
        return Err("a profile has either architectures or archMap".into());
    }
    for entry in map.into_iter().filter(|e| e.architecture == NATIVE.1) {
        architectures.push(entry.architecture);
        architectures.extend(entry.sub_architectures.unwrap_or_default());
    }
    let rules = profile.syscalls.unwrap_or_default();
    let notify = LinuxSeccompAction::ScmpActNotify;
    if profile.default_action == notify || rules.iter().any(|r| r.action == notify) {
        return Err("SCMP_ACT_NOTIFY needs a listener, which profiles can't name".into());
    }
    let kernel = version(release).ok_or_else(|| format!("the kernel's release {release:?} is no version"))?;
    let mut syscalls = Vec::new();
    for syscall in rules {
        let includes = syscall.includes.as_ref().map_or(Ok(true), |c| c.includes(caps, kernel))?;
        let excludes = syscall.excludes.as_ref().map_or(Ok(false), |c| c.excludes(caps, kernel))?;
        if includes && !excludes {
            syscalls.push(convert(syscall)?);
        }
    }
    let mut spec = LinuxSeccomp::default();
    spec.set_default_action(profile.default_action)
        .set_default_errno_ret(errno(profile.default_errno.as_deref(), profile.default_errno_ret)?)
        .set_architectures(Some(architectures))
        .set_flags(profile.flags)
        .set_syscalls(Some(syscalls));
    Ok(spec)
}

fn convert(syscall: Syscall) -> Result<LinuxSyscall, String> {
    let names = match (syscall.name, syscall.names.unwrap_or_default()) {
        (Some(name), names) if names.is_empty() => vec![name],
        (None, names) => names,
        _ => return Err("a rule has either name or names".into()),
    };
    let mut result = LinuxSyscall::default();
    result
        .set_names(names)
        .set_action(syscall.action)
        .set_errno_ret(errno(syscall.errno.as_deref(), syscall.errno_ret)?)
        .set_args(syscall.args);
    Ok(result)
}

impl Condition {
    fn includes(&self, caps: &BTreeSet<String>, kernel: (u32, u32)) -> Result<bool, String> {
        let arch = self.arches.as_ref().is_none_or(|a| a.is_empty() || a.iter().any(|a| a == NATIVE.0));
        let caps = self.caps.iter().flatten().all(|c| caps.contains(c));
        Ok(arch && caps && self.kernel_reached(kernel)?.unwrap_or(true))
    }

    fn excludes(&self, caps: &BTreeSet<String>, kernel: (u32, u32)) -> Result<bool, String> {
        let arch = self.arches.iter().flatten().any(|a| a == NATIVE.0);
        let caps = self.caps.iter().flatten().any(|c| caps.contains(c));
        Ok(arch || caps || self.kernel_reached(kernel)?.unwrap_or(false))
    }

    fn kernel_reached(&self, kernel: (u32, u32)) -> Result<Option<bool>, String> {
        let minimum = self.min_kernel.as_deref().filter(|m| !m.is_empty());
        minimum
            .map(|m| {
                version(m)
                    .map(|m| kernel >= m)
                    .ok_or_else(|| format!("minKernel {m:?} is no version like 4.8"))
            })
            .transpose()
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '+']).map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// An errno by name goes before one by number, as in containers-common.
fn errno(name: Option<&str>, number: Option<u32>) -> Result<Option<u32>, String> {
    let Some(name) = name.filter(|n| !n.is_empty()) else {
        return Ok(number);
    };
    let known = [
        ("EPERM", libc::EPERM),
        ("ENOENT", libc::ENOENT),
        ("EIO", libc::EIO),
        ("ENXIO", libc::ENXIO),
        ("EAGAIN", libc::EAGAIN),
        ("ENOMEM", libc::ENOMEM),
        ("EACCES", libc::EACCES),
        ("EBUSY", libc::EBUSY),
        ("EEXIST", libc::EEXIST),
        ("ENODEV", libc::ENODEV),
        ("EINVAL", libc::EINVAL),
        ("ENOTTY", libc::ENOTTY),
        ("EROFS", libc::EROFS),
        ("ENOSYS", libc::ENOSYS),
        ("EOPNOTSUPP", libc::EOPNOTSUPP),
        ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ];
    match known.iter().find(|(n, _)| *n == name) {
        Some((_, value)) => Ok(Some(*value as u32)),
        None => number.map(Some).ok_or_else(|| format!("errno {name:?}: give it as a number in errnoRet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, caps: &[&str], release: &str) -> Vec<String> {
        let caps = caps.iter().map(|c| (*c).to_owned()).collect();
        let spec = resolve(text.as_bytes(), &caps, release).unwrap();
        spec.syscalls().iter().flatten().flat_map(|s| s.names().clone()).collect()
    }

    #[test]
    fn conditions() {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
                {{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{{"caps":["CAP_KILL","CAP_CHOWN"]}}}},
                {{"names":["b"],"action":"SCMP_ACT_ALLOW","excludes":{{"caps":["CAP_KILL","CAP_CHOWN"]}}}},
                {{"name":"c","action":"SCMP_ACT_ALLOW","includes":{{"minKernel":"4.8"}}}},
                {{"name":"d","action":"SCMP_ACT_ALLOW","excludes":{{"minKernel":"4.8"}}}},
                {{"name":"e","action":"SCMP_ACT_ALLOW","includes":{{"arches":["{0}"]}}}},
                {{"name":"f","action":"SCMP_ACT_ALLOW","excludes":{{"arches":["{0}"]}}}},
                {{"name":"g","action":"SCMP_ACT_ALLOW","args":null,"includes":{{}},"excludes":{{}}}}]}}"#,
            NATIVE.0
        );
        assert_eq!(names(&text, &["CAP_KILL"], "5.14.0-1.el9"), ["c", "e", "g"]);
        assert_eq!(names(&text, &["CAP_KILL", "CAP_CHOWN"], "4.8"), ["a", "c", "e", "g"]);
        assert_eq!(names(&text, &[], "4.7.9"), ["b", "d", "e", "g"]);
    }

    #[test]
    fn errno_by_name_and_number() {
        assert_eq!(errno(Some("ENOSYS"), Some(1)), Ok(Some(38)));
        assert_eq!(errno(Some("EOTHER"), Some(7)), Ok(Some(7)));
        assert!(errno(Some("EOTHER"), None).is_err());
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "{}", r#"{"defaultAction":"SCMP_ACT_NONE"}"#] {
            assert!(resolve(text.as_bytes(), &BTreeSet::new(), "6.1").is_err(), "{text}");
        }
    }
}
