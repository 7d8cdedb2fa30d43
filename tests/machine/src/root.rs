//! The root file system that machines boot from: a small Debian with a real systemd.
//!
//! Built by `mmdebstrap` from the sources, keys and proxy of this machine's own apt; on a host
//! without apt, by `dnf --installroot`. Machines never change it: it is the lowest layer of each
//! machine's overlay.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::capture;

/// Debian packages in the root, beside the essential ones: systemd and what sampan runs on, then
/// what the tests use inside.
const DEBIAN: &str = "systemd systemd-sysv dbus dbus-user-session libpam-systemd polkitd passwd login \
    nftables iproute2 aardvark-dns libseccomp2 uidmap gpgv \
    busybox-static ca-certificates curl docker-registry openssl procps psmisc strace";

/// The same for `dnf`; the registry has no package there.
const FEDORA: &str = "systemd dbus polkit shadow-utils nftables iproute aardvark-dns libseccomp gnupg2 \
    busybox ca-certificates curl openssl procps-ng psmisc strace util-linux";

/// Units that would reach the host's kernel through the shared `/proc/sys` and `/sys`, and units
/// that only cost time in a machine that lives for a minute.
const MASKED: &str = "systemd-sysctl.service systemd-udevd.service systemd-udev-trigger.service \
    systemd-modules-load.service systemd-binfmt.service systemd-pstore.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-random-seed.service \
    systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
    systemd-firstboot.service e2scrub_reap.service getty.target timers.target \
    docker-registry.service firewalld.service";

/// What building images takes beside that, in a root of its own: it brings the files of other
/// container tools, which most tests must not see.
const BUILDING: &str = "buildah";

/// What other programs call the runtime through, in a root of its own for the same reason.
const CLIENTS: &str = "containerd podman";

/// What shares a host's network with us, and what measures it, in a root of its own.
const NETWORKING: &str = "firewalld iptables netbase systemd-resolved dnsmasq-base iperf3";

/// What has a mind of its own about a host's interfaces, in a root of its own: it runs from the boot on.
const NETWORK_MANAGER: &str = "network-manager";

/// What a virtual machine needs beside that: its kernel's modules, the kernel's security modules,
/// and a DHCP server for networks that hosts' kernels may lack.
const VIRTUAL: &str = "udev kmod apparmor secilc dnsmasq-base";

/// Of [`MASKED`], what belongs to a machine with a kernel of its own.
const UNMASKED: &str = "systemd-udevd.service systemd-udev-trigger.service systemd-sysctl.service \
    systemd-modules-load.service";

/// The package that depends on Debian's current kernel: small, made for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The root's folder, built first if the cache has none for this recipe.
pub fn build(cache: &Cache) -> Result<PathBuf> {
    entry(cache, "root", "")
}

/// The folder of a root in which images can be built.
pub fn building(cache: &Cache) -> Result<PathBuf> {
    entry(cache, "root-building", BUILDING)
}

/// The folder of a root with containerd and Podman, which call an OCI runtime.
pub fn clients(cache: &Cache) -> Result<PathBuf> {
    entry(cache, "root-clients", CLIENTS)
}

/// The folder of a root with firewalld (masked), systemd-resolved (masked), a DHCP server and iperf3.
pub fn networking(cache: &Cache) -> Result<PathBuf> {
    entry(cache, "root-networking", NETWORKING)
}

/// The folder of a root with NetworkManager, which a machine starts when it boots.
pub fn network_manager(cache: &Cache) -> Result<PathBuf> {
    entry(cache, "root-network-manager", NETWORK_MANAGER)
}

/// The folder of a root with Debian's kernel, below `/boot`, and what works with it alone.
pub fn virtual_machine(cache: &Cache) -> Result<PathBuf> {
    let package = kernel()?;
    let recipe = format!("{} {VIRTUAL} {UNMASKED} {package}", recipe(""));
    cache.entry("root-virtual", &recipe, |root| {
        installed(root, VIRTUAL)?;
        for unit in UNMASKED.split_whitespace() {
            fs::remove_file(root.join("etc/systemd/system").join(unit))?;
        }
        add_kernel(root, &package)
    })
}

/// The package with Debian's current kernel, such as `linux-image-6.1.0-56-cloud-amd64`.
fn kernel() -> Result<String> {
    let depends = capture(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let package = depends.split_whitespace().find(|w| w.starts_with("linux-image-") && *w != KERNEL);
    package.map(str::to_owned).with_context(|| format!("apt-cache knows no kernel of {KERNEL}: {depends}"))
}

/// Unpacks the kernel's files into `root`. Installed, the package would bring a builder of initial
/// RAM disks.
fn add_kernel(root: &Path, package: &str) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    capture(Command::new("apt-get").args(["download", "--quiet", package]).current_dir(&temporary))?;
    let file = fs::read_dir(&temporary)?.next().context("apt-get downloaded nothing")??.path();
    let unpacked = temporary.path().join("unpacked");
    capture(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&unpacked))?;
    for (from, to) in [("boot", "boot"), ("lib/modules", "usr/lib/modules")] {
        let to = root.join(to);
        fs::create_dir_all(&to)?;
        capture(Command::new("cp").arg("-a").arg(unpacked.join(from).join(".")).arg(&to))?;
    }
    let release = package.trim_start_matches("linux-image-");
    capture(Command::new("chroot").arg(root).args(["depmod", release])).map(drop)
}

fn entry(cache: &Cache, name: &str, more: &str) -> Result<PathBuf> {
    cache.entry(name, &recipe(more), |root| installed(root, more))
}

/// What a root is made of, with `more` packages.
fn recipe(more: &str) -> String {
    let mut recipe = format!("2 {DEBIAN} {FEDORA} {MASKED}");
    if !more.is_empty() {
        recipe += &format!(" {more}");
    }
    recipe
}

/// Builds a root of this machine's own distribution.
fn installed(root: &Path, more: &str) -> Result<()> {
    eprintln!("building the test machine's root file system (once, about a minute)");
    if Path::new("/usr/bin/apt-get").exists() {
        debian(root, more)?
    } else {
        fedora(root, more)?
    }
    prepare(root)
}

/// Installs Debian into `root`, with `more` packages.
fn debian(root: &Path, more: &str) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let suite = codename()?;
    let sources = temporary.path().join("sources.list");
    let targets = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    let mut lines: Vec<&str> =
        targets.lines().filter(|l| l.split(' ').nth(2).is_some_and(|r| r.starts_with(&suite))).collect();
    lines.sort_unstable();
    lines.dedup();
    if lines.is_empty() {
        bail!("this machine's apt has no package lists for {suite}: run apt-get update");
    }
    fs::write(&sources, lines.join("\n") + "\n")?;
    let settings = temporary.path().join("apt.conf");
    let dump = capture(Command::new("apt-config").args(["dump", "--format", "%F \"%v\";%n", "Acquire"]))?;
    let kept = ["http", "https", "Check-", "Retries", "Max-", "ForceIPv"];
    let kept = |l: &&str| kept.iter().any(|k| l.starts_with(&format!("Acquire::{k}")));
    fs::write(&settings, dump.lines().filter(kept).map(|l| format!("{l}\n")).collect::<String>())?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--mode=root", "--variant=essential"]);
    command.arg(format!(
        "--include={}",
        DEBIAN.split_whitespace().chain(more.split_whitespace()).collect::<Vec<_>>().join(",")
    ));
    command.arg(format!("--aptopt={}", settings.display()));
    for folder in ["doc", "man", "info", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    }
    command.arg(suite).arg(root).arg(&sources);
    capture(&mut command).map(drop)
}

/// The name of this machine's Debian release, such as `bookworm`.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let name = release.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME="));
    name.map(|n| n.trim_matches('"').to_owned()).context("/etc/os-release has no VERSION_CODENAME")
}

/// Installs this machine's own release of a Fedora-like system into `root`.
fn fedora(root: &Path, more: &str) -> Result<()> {
    let mut command = Command::new("dnf");
    command.args([
        "--assumeyes",
        "--setopt=install_weak_deps=False",
        "--setopt=tsflags=nodocs",
        "--use-host-config",
    ]);
    command.arg(format!("--installroot={}", root.display())).arg("install").args(FEDORA.split_whitespace());
    command.args(more.split_whitespace());
    capture(&mut command).map(drop)
}

/// Makes the installed system fit for machines: no passwords, no prompts, nothing that needs a
/// kernel of its own.
fn prepare(root: &Path) -> Result<()> {
    fs::write(root.join("etc/machine-id"), "")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    // Copies of the host's: a machine has its own name, and nobody outside to ask.
    let _ = fs::remove_file(root.join("etc/hostname"));
    let _ = fs::remove_file(root.join("etc/resolv.conf"));
    fs::write(root.join("etc/resolv.conf"), "")?;
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(&units)?;
    for unit in MASKED.split_whitespace() {
        let link = units.join(unit);
        let _ = fs::remove_file(&link);
        symlink("/dev/null", &link).with_context(|| format!("mask {unit}"))?;
    }
    let target = units.join("default.target");
    let _ = fs::remove_file(&target);
    symlink("/usr/lib/systemd/system/multi-user.target", &target)?;
    capture(Command::new("chroot").arg(root).args([
        "useradd",
        "--create-home",
        "--shell",
        "/bin/bash",
        "alice",
    ]))?;
    // Copied into a tmpfs at each boot: only what something inside could miss stays.
    for folder in ["cache", "lib/apt", "lib/dpkg", "lib/dnf", "lib/rpm", "log"] {
        let folder = root.join("var").join(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
            fs::create_dir(&folder)?;
        }
    }
    Ok(())
}
