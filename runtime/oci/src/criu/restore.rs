//! `restore`.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::mount::MountPropagationFlags;
use sampan_container::process;
use sampan_container::state::{ContainerDir, Status};

use super::{Criu, absolute, external};
use crate::args::{CgroupManager, Create, Global, Restore};
use crate::bundle::{self, Bundle};
use crate::cgroup;
use crate::create::{new_state, write_pid_file};
use crate::delete;

/// Makes a container again from what `checkpoint` has saved; it runs at once.
pub(crate) fn restore(global: &Global, options: &Restore) -> Result<u8> {
    if options.console_socket.is_some() {
        bail!("--console-socket: containers with a terminal aren't saved or restored");
    }
    if options.no_pivot {
        bail!("--no-pivot: criu restores the root by pivot_root(2)");
    }
    if options.images.manage_cgroups_mode.as_deref() == Some("ignore")
        && global.cgroup_manager() != CgroupManager::Disabled
    {
        bail!(
            "--manage-cgroups-mode ignore leaves the restored processes outside of the container's cgroup: give --cgroup-manager disabled, too"
        );
    }
    let bundle = bundle::read(&options.bundle, None)?;
    let dir = global.containers()?.create(&options.id)?;
    // Nobody deletes what is half made.
    let lock = dir.lock()?;
    let made = make(global, options, &bundle, &dir);
    drop(lock);
    let pidfd = match made {
        Ok(pidfd) => pidfd,
        Err(error) => {
            delete::delete_and_tell(global, &dir, true)?;
            return Err(error);
        }
    };
    if options.detach {
        return Ok(0);
    }
    let status = process::wait_exit(pidfd.as_fd())?;
    delete::delete_and_tell(global, &dir, true)?;
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

fn make(global: &Global, options: &Restore, bundle: &Bundle, dir: &ContainerDir) -> Result<OwnedFd> {
    let spec = &bundle.spec;
    dir.write_spec(spec)?;
    let create = Create { id: options.id.clone(), ..Create::default() };
    let mut state = new_state(&create, bundle, spec);
    let cgroup = cgroup::make(global, spec, &mut state, |state| Ok(dir.write(state)?))?;

    let images = absolute(&options.images.image_path)?;
    let (mounts, streams) = external::read(&images)?;
    let mut criu = Criu::new(global, "restore", &options.images)?;
    for (key, source) in external::sources(spec, &mounts)? {
        criu.option("--external", format!("mnt[{key}]:{}", source.display()));
    }
    let kept = namespaces(&mut criu, spec)?;
    for (fd, stream) in streams.iter().enumerate().take(3).filter(|(_, s)| external::is_pipe(s)) {
        criu.option("--inherit-fd", format!("fd[{fd}]:{stream}"));
    }
    criu.keep_streams();
    if let Some(path) = &state.cgroup {
        criu.option("--cgroup-root", Path::new("/").join(path));
    }
    if let Some(profile) = &options.lsm_profile {
        criu.option("--lsm-profile", profile);
    }
    if let Some(label) = &options.lsm_mount_context {
        criu.option("--lsm-mount-context", label);
    }
    // A child of this program, so that its end can be waited for.
    let pid_file = dir.path().join("restored.pid");
    criu.arg("--restore-detached").arg("--restore-sibling").option("--pidfile", &pid_file);
    // The root has to be a mount, and private; nobody else sees the namespace that it is one in.
    private_root(&bundle.rootfs)?;
    criu.option("--root", &bundle.rootfs);
    criu.run()?;
    drop(kept);
    cgroup.limit(spec)?;

    let text = fs::read_to_string(&pid_file).with_context(|| format!("read({})", pid_file.display()))?;
    let pid: i32 = text.trim().parse().with_context(|| format!("criu wrote {text:?} as process id"))?;
    let pidfd = process::open(pid, None)?.context("the restored process has ended already")?;
    state.status = Status::Running;
    state.pid = Some(pid);
    state.start_time = Some(process::start_time(pid)?);
    state.started = Some(jiff::Timestamp::now().to_string());
    dir.write(&state)?;
    write_pid_file(options.pid_file.as_deref(), pid)?;
    Ok(pidfd)
}

/// Passes namespaces that were given by path to criu, as descriptors; they are open as long as what comes back.
fn namespaces(criu: &mut Criu, spec: &Spec) -> Result<Vec<OwnedFd>> {
    let mut kept = Vec::new();
    for (kind, path) in external::namespaces(spec) {
        let call = || format!("open({})", path.display());
        let file = rustix::fs::open(&path, OFlags::RDONLY, Mode::empty()).with_context(call)?;
        rustix::io::fcntl_setfd(&file, FdFlags::empty()).with_context(call)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        criu.option("--inherit-fd", format!("fd[{number}]:{}", external::namespace_key(kind)));
        kept.push(file);
    }
    Ok(kept)
}

/// Makes the root file system a private mount, in a mount namespace that ends with this program.
fn private_root(rootfs: &Path) -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).context("mount(/, MS_REC | MS_SLAVE)")?;
    let call = || format!("bind mount {}", rootfs.display());
    rustix::mount::mount_bind_recursive(rootfs, rootfs).with_context(call)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(rootfs, private).with_context(call)
}
