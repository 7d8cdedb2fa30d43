//! Containers in the PID namespace of others, where they see who joins these.
//!
//! Whoever has `CAP_SYS_PTRACE` there can open the executable of a process that isn't confined by a user namespace of
//! its own, and write to it when it has ended (CVE-2019-5736). Our processes run from a sealed copy where that can
//! happen. A container whose own configuration gives nobody this capability needs that from the moment on when another
//! one comes into its namespace; it doesn't know, so this is written down in its directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use sampan_container::Error;
use sampan_container::process;
use sampan_container::state::Status;

use crate::args::Global;
use crate::create::is_seen;

/// If `spec` joins a PID namespace, tells all containers there that they are seen from now on, and waits for those who
/// are joining them. Call it before a program of `spec` runs; `traces`: that one may trace processes.
pub(crate) fn announce(global: &Global, spec: &Spec, traces: bool) -> Result<()> {
    let Some(path) = joined(spec) else { return Ok(()) };
    let namespace = fs::metadata(path).with_context(|| format!("stat({})", path.display()))?;
    for dir in global.containers()?.list()? {
        let state = match dir.read() {
            // In the making, or gone: nobody joins it.
            Err(Error::NoSuchContainer(_)) => continue,
            state => state?,
        };
        let Some(pid) = state.pid else { continue };
        if process::pid_namespace(pid)? != Some((namespace.dev(), namespace.ino())) {
            continue;
        }
        // Its process waits, and is still this program.
        if traces && state.status != Status::Running && !dir.read_spec().is_ok_and(|spec| is_seen(&spec)) {
            bail!(
                "container {:?}, whose PID namespace this one joins, isn't started: a program with CAP_SYS_PTRACE could reach the runtime; start that container first",
                state.name
            );
        }
        if dir.has_tracers() {
            continue;
        }
        match dir.announce_tracers() {
            Err(Error::NoSuchContainer(_)) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The PID namespace that is joined.
fn joined(spec: &Spec) -> Option<&Path> {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    let pid = namespaces.iter().find(|n| n.typ() == LinuxNamespaceType::Pid)?;
    pid.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}
