//! `checkpoint`.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::Spec;
use sampan_container::process;
use sampan_container::state::Status;

use super::{Criu, absolute, external};
use crate::args::{Checkpoint, Global};
use crate::delete;

/// Saves a running container; unless it is to stay, it ends and is deleted.
pub(crate) fn checkpoint(global: &Global, options: &Checkpoint) -> Result<u8> {
    let dir = global.container(&options.id)?;
    let lock = dir.lock()?;
    let state = dir.read()?;
    let (Status::Running | Status::Paused, Some(pid)) = (state.live_status(), state.pid) else {
        bail!("container not running: {:?} is {}", state.name, state.live_status());
    };
    let spec = dir.read_spec()?;
    refuse(&spec)?;
    // Held while criu looks the process up by its number: that number is nobody else's meanwhile.
    let pidfd = process::open(pid, state.start_time)?.context("container not running: it has just ended")?;
    let images = absolute(&options.images.image_path)?;
    let mounts = external::mounts(&spec, pid)?;
    let criu = command(global, options, &spec, pid, &mounts)?;
    if !options.pre_dump {
        external::write(&images, &mounts, &external::streams(pid))?;
    }
    criu.run()?;
    if options.leave_running || options.pre_dump {
        return Ok(0);
    }
    // criu has killed it; what is left is what delete leaves, too.
    process::wait(pidfd.as_fd(), Some(delete::PATIENCE))?;
    drop(lock);
    delete::delete_and_tell(global, &dir, true)?;
    Ok(0)
}

fn refuse(spec: &Spec) -> Result<()> {
    if spec.process().as_ref().is_some_and(|p| p.terminal() == Some(true)) {
        bail!("a container with a terminal can't be saved: set process.terminal to false");
    }
    Ok(())
}

fn command(
    global: &Global,
    options: &Checkpoint,
    spec: &Spec,
    pid: i32,
    mounts: &external::Mounts,
) -> Result<Criu> {
    let action = if options.pre_dump { "pre-dump" } else { "dump" };
    let mut criu = Criu::new(global, action, &options.images)?;
    criu.option("--tree", pid.to_string());
    if options.leave_running {
        criu.arg("--leave-running");
    }
    if options.pre_dump || options.parent_path.is_some() {
        criu.arg("--track-mem");
    }
    if let Some(parent) = &options.parent_path {
        if parent.is_absolute() {
            bail!("--parent-path {}: it is relative to the folder of the images", parent.display());
        }
        criu.option("--prev-images-dir", parent);
    }
    if let Some(server) = &options.page_server {
        let (address, port) = server.rsplit_once(':').context("--page-server is ADDRESS:PORT")?;
        port.parse::<u16>().with_context(|| format!("--page-server: {port:?} is no port"))?;
        criu.arg("--page-server").option("--address", address).option("--port", port);
    }
    if let Some(fd) = options.status_fd.filter(|fd| *fd >= 0) {
        if fd < 3 || fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err() {
            bail!("--status-fd {fd}: this is no descriptor that was passed on");
        }
        criu.option("--status-fd", fd.to_string());
    }
    for (key, destination) in mounts {
        criu.option("--external", format!("mnt[{}]:{key}", destination.display()));
    }
    for (kind, path) in external::namespaces(spec) {
        let inode = fs::metadata(&path).with_context(|| format!("stat({})", path.display()))?.ino();
        criu.option("--external", format!("{kind}[{inode}]:{}", external::namespace_key(kind)));
    }
    Ok(criu)
}
