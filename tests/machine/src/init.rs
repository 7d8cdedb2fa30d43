//! From a process to the first process of a machine: namespaces, file systems, then systemd.
//!
//! Two processes of `sampan-machine` do it. The *keeper* stays outside: it starts the first
//! process, waits for its end, and removes what the machine had on the host. The first process
//! joins the machine's cgroup, leaves the host's namespaces, mounts the machine's file systems
//! over a tmpfs, and executes systemd. Neither outlives the other: the keeper cleans up after
//! the machine, and the kernel kills the machine when the keeper dies.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{chdir, pivot_root, sethostname};

use crate::place::Place;

/// The program that runs as the machine's first process.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Starts the machine of `place` over `layers` (root file system folders, topmost first), and
/// returns when it has ended and everything of it is removed.
///
/// With `watch`, the end of standard input ends the machine, so that it dies with its user.
pub fn keep(place: &Place, layers: &[PathBuf], watch: bool) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWPID).context("unshare(CLONE_NEWPID)")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("first-process").arg(place.name()).args(layers).stdin(Stdio::null());
    let mut first = command.spawn().context("start the machine's first process")?;
    place.set_pid(first.id())?;
    if watch {
        while first.try_wait()?.is_none() {
            if input_ended()? {
                first.kill()?;
            }
        }
    }
    let status = first.wait()?;
    place.remove()?;
    // systemd ends its process by reboot(2), which the kernel turns into SIGINT or SIGHUP.
    if status.code().is_some_and(|code| code != 0) {
        bail!("the machine's first process ended with {status}");
    }
    Ok(())
}

/// Waits a moment for standard input; true at its end.
fn input_ended() -> Result<bool> {
    let input = std::io::stdin();
    let mut ready = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::try_from(Duration::from_millis(50)).unwrap_or(PollTimeout::ZERO))?;
    let ended = ready[0].any().unwrap_or(false) && input.lock().read(&mut [0; 64])? == 0;
    if ended {
        // Not again at once: the first process is being killed.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(ended)
}

/// Becomes systemd: the steps from a plain process in a new PID namespace.
pub fn first_process(place: &Place, layers: &[PathBuf]) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")?;
    // Before the new cgroup namespace, whose root is where the process is at that moment.
    place.join_cgroup()?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).context("unshare(2)")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make all mounts private")?;
    let root = root(&place.mount_point(), layers)?;
    kernel_file_systems(&root)?;
    devices(&root)?;
    sethostname(place.name()).context("sethostname(2)")?;
    enter(&root)?;
    let log = File::create("/run/systemd.log")?;
    let error = Command::new(SYSTEMD)
        .args(["--log-target=journal", "systemd.show_status=0"])
        .env_clear()
        .envs([("container", "sampan-test"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .exec();
    Err(error).with_context(|| format!("execute {SYSTEMD}"))
}

/// Mounts the overlay of `layers` below `at`, writable on a tmpfs, with `/var` a tmpfs of its
/// own: container layers are overlays themselves and need a file system that isn't one.
fn root(at: &Path, layers: &[PathBuf]) -> Result<PathBuf> {
    tmpfs(at, "mode=755", MsFlags::empty())?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| at.join(name));
    for folder in [&upper, &work, &root] {
        fs::create_dir(folder)?;
    }
    let lower: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mount the overlay {options}"))?;
    let var = at.join("var");
    fs::create_dir(&var)?;
    let status = Command::new("cp").arg("-a").arg(root.join("var/.")).arg(&var).status()?;
    if !status.success() {
        bail!("copy /var: {status}");
    }
    tmpfs(&root.join("var"), "mode=755", MsFlags::empty())?;
    for entry in fs::read_dir(&var)? {
        let status = Command::new("mv").arg(entry?.path()).arg(root.join("var")).status()?;
        if !status.success() {
            bail!("fill /var: {status}");
        }
    }
    Ok(root)
}

/// Mounts proc, sysfs, cgroup2 and the usual tmpfs in `root`.
fn kernel_file_systems(root: &Path) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (kind, path) in [("proc", "proc"), ("sysfs", "sys"), ("cgroup2", "sys/fs/cgroup")] {
        let path = root.join(path);
        mount(Some(kind), &path, Some(kind), flags | MsFlags::MS_NOEXEC, None::<&str>)
            .with_context(|| format!("mount {kind} at {}", path.display()))?;
    }
    tmpfs(&root.join("run"), "mode=755", flags)?;
    tmpfs(&root.join("tmp"), "mode=1777", flags)
}

/// Fills `/dev` in `root`: the host's harmless devices, a private devpts.
fn devices(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    tmpfs(&dev, "mode=755", MsFlags::MS_NOSUID)?;
    for folder in ["pts", "shm", "net", "mqueue"] {
        fs::create_dir(dev.join(folder))?;
    }
    let options = Some("newinstance,ptmxmode=0666,mode=620,gid=5");
    mount(Some("devpts"), &dev.join("pts"), Some("devpts"), MsFlags::MS_NOSUID, options)
        .context("mount devpts")?;
    tmpfs(&dev.join("shm"), "mode=1777", MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    // A plain file: what generators tell the kernel's log can be read, and the host's isn't touched.
    File::create(dev.join("kmsg"))?;
    for (link, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        symlink(target, dev.join(link))?;
    }
    for name in ["null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"] {
        let device = Path::new("/dev").join(name);
        if device.exists() {
            let here = dev.join(name);
            File::create(&here)?;
            mount(Some(&device), &here, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("bind {}", device.display()))?;
        }
    }
    Ok(())
}

/// Makes `root` the root of this mount namespace and drops the host's.
fn enter(root: &Path) -> Result<()> {
    chdir(root)?;
    // pivot_root(2), NOTES: both names may be the same folder; the old root lies on top of it.
    pivot_root(".", ".").context("pivot_root(2)")?;
    umount2(".", MntFlags::MNT_DETACH).context("umount the old root")?;
    chdir("/").context("chdir(\"/\")")
}

/// Mounts a tmpfs at `path`.
fn tmpfs(path: &Path, options: &str, flags: MsFlags) -> Result<()> {
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))
        .with_context(|| format!("mount a tmpfs at {}", path.display()))
}
