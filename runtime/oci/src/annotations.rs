//! Annotations of crun (`run.oci.*`) that its callers use: Podman's `--group-add keep-groups` is one.
//!
//! They change what the runtime does, so who writes them matters; `features` names their beginning, for engines that
//! take annotations from others (OCI runtime-spec, features.md, "Unsafe annotations in `config.json`"). Those that would
//! exchange the filter, the handler of the program or the version of cgroups aren't done, and a warning says so.

use anyhow::{Result, bail};
use oci_spec::runtime::Spec;
use sampan_container::seccomp::Filter;

/// What all of them begin with.
pub(crate) const PREFIX: &str = "run.oci.";

const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// Those that are done; the output of hooks is the library's matter.
const DONE: [&str; 4] = [KEEP_GROUPS, FAIL_UNKNOWN, "run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// Says which aren't done.
pub(crate) fn check(spec: &Spec) {
    let names = spec.annotations().iter().flatten().map(|(name, _)| name);
    let mut unknown: Vec<_> =
        names.filter(|name| name.starts_with(PREFIX) && !DONE.contains(&name.as_str())).collect();
    unknown.sort();
    for name in unknown {
        log::warn!("the annotation {name} has no effect: this runtime does only {}", DONE.join(", "));
    }
}

fn value<'s>(spec: &'s Spec, name: &str) -> Option<&'s str> {
    spec.annotations().as_ref()?.get(name).map(String::as_str)
}

/// Whether programs keep the caller's supplementary groups, which a user namespace of a user's own can't map.
pub(crate) fn keeps_groups(spec: &Spec) -> bool {
    value(spec, KEEP_GROUPS).is_some_and(|value| value != "0")
}

/// Whether a filter may name no system call that the installed libseccomp doesn't know.
pub(crate) fn refuses_unknown_calls(spec: &Spec) -> bool {
    value(spec, FAIL_UNKNOWN).is_some()
}

/// Refuses a filter, compiled just now, with such a name.
pub(crate) fn check_calls(spec: &Spec, filter: Option<&Filter>) -> Result<()> {
    let unknown = filter.map(Filter::unknown).unwrap_or_default();
    if refuses_unknown_calls(spec) && !unknown.is_empty() {
        bail!(
            "linux.seccomp: the installed libseccomp doesn't know {}, and the annotation {FAIL_UNKNOWN} is set",
            unknown.join(", ")
        );
    }
    Ok(())
}
