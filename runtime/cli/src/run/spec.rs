//! The OCI runtime Spec of a container: Podman's defaults, the image's configuration and the user's options.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, Mount, MountBuilder, Process, Spec, UserBuilder,
};
use sampan_container::{defaults, user::User};

use super::environment::{self, Environment};
use super::member::Membership;
use super::network::Network;
use super::options::Options;
use super::process::{self, ImageProgram};
use super::security::{self, Security};
use super::user_namespace::Mappings;
use super::{selinux, size};
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;

/// Podman's size of `/dev/shm`.
const SHM_SIZE: &str = "65536k";
/// Where an init is looked for, first Fedora's and RHEL's place.
const INITS: [&str; 4] = [
    "/usr/libexec/catatonit/catatonit",
    "/usr/libexec/podman/catatonit",
    "/usr/bin/catatonit",
    "/usr/bin/tini",
];
/// The group `tty`, whose terminals are. A user namespace that lacks it can't have it in a mount's options.
const TERMINALS: u32 = 5;
const INIT_IN_CONTAINER: &str = "/run/podman-init";
/// Groups with gid 0 may use ICMP sockets: `ping` works without CAP_NET_RAW.
const PING: (&str, &str) = ("net.ipv4.ping_group_range", "0 0");

/// Everything that was decided before the Spec is written.
#[derive(Debug)]
pub(crate) struct Decisions<'a> {
    pub(crate) options: &'a Options,
    pub(crate) conf: &'a ContainersConf,
    pub(crate) image: Option<&'a oci_spec::image::Config>,
    pub(crate) security: &'a Security,
    pub(crate) network: &'a Network,
    pub(crate) member: Option<&'a Membership>,
    pub(crate) mappings: Option<&'a Mappings>,
    pub(crate) user: &'a User,
    pub(crate) hostname: &'a str,
    pub(crate) environment: Environment,
    /// Mounts besides the defaults, in order.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) read_only: bool,
}

/// Writes the Spec.
///
/// # Errors
/// A malformed option, or a device or namespace that isn't there.
pub(crate) fn build(mut decisions: Decisions<'_>) -> anyhow::Result<Spec> {
    let mut spec = defaults::spec();
    let mut arguments = process::arguments(decisions.options, &program(decisions.image))?;
    if decisions.options.init.unwrap_or(decisions.conf.containers.init == Some(true)) {
        decisions.mounts.push(init(decisions.options, decisions.conf)?);
        arguments.splice(0..0, [INIT_IN_CONTAINER.to_owned(), "--".to_owned()]);
    }
    spec.set_process(Some(process_of(&decisions, arguments)?));
    spec.set_mounts(Some(all_mounts(&decisions)?));
    // A host name that is shared was set when the pod was made.
    let is_shared = decisions.member.is_some_and(|member| member.hostname().is_some());
    let has_uts = decisions.options.uts.as_deref() != Some("host") && !is_shared;
    spec.set_hostname(has_uts.then(|| decisions.hostname.to_owned()).filter(|name| !name.is_empty()));
    if let Some(root) = spec.root_mut() {
        root.set_readonly(Some(decisions.read_only));
    }
    spec.set_annotations(Some(annotations(decisions.options, decisions.conf)?));
    let linux = spec.linux().clone().unwrap_or_default();
    spec.set_linux(Some(linux_of(linux, &decisions)?));
    Ok(spec)
}

fn program(image: Option<&oci_spec::image::Config>) -> ImageProgram<'_> {
    let Some(config) = image else { return ImageProgram::default() };
    ImageProgram {
        entrypoint: config.entrypoint().as_deref().unwrap_or_default(),
        command: config.cmd().as_deref().unwrap_or_default(),
    }
}

fn init(options: &Options, conf: &ContainersConf) -> anyhow::Result<Mount> {
    let asked = options.init_path.clone().or_else(|| conf.containers.init_path.clone());
    let path = match asked {
        Some(path) => path,
        None => INITS.iter().map(PathBuf::from).find(|path| path.exists()).with_context(|| {
            format!("there is no init on the host: install catatonit (looked for {})", INITS.join(", "))
        })?,
    };
    ensure!(path.is_file(), "the init {} does not exist", path.display());
    Ok(MountBuilder::default()
        .destination(INIT_IN_CONTAINER)
        .typ("bind")
        .source(path)
        .options(["bind", "ro", "rprivate"].map(str::to_owned).to_vec())
        .build()?)
}

fn process_of(decisions: &Decisions<'_>, arguments: Vec<String>) -> anyhow::Result<Process> {
    let Decisions { options, conf, security, user, .. } = decisions;
    let mut environment = decisions.environment.clone();
    environment.entry("HOME".into()).or_insert_with(|| user.home.display().to_string());
    environment.entry("HOSTNAME".into()).or_insert_with(|| decisions.hostname.to_owned());

    let mut process = Process::default();
    process.set_args(Some(arguments));
    process.set_env(Some(environment::entries(&environment)));
    process.set_cwd(working_directory(options, decisions.image)?);
    process.set_terminal(Some(options.tty));
    process.set_no_new_privileges(Some(security.no_new_privileges));
    process.set_capabilities(Some(security::capabilities(options, conf, security, user.uid == 0)?));
    process.set_rlimits(Some(process::limits(&options.ulimit, &conf.containers.default_ulimits)?));
    process.set_oom_score_adj(options.oom_score_adj);
    process.set_apparmor_profile(security.apparmor.clone());
    process.set_selinux_label(selinux::process_label(&security.label, Path::new("/")));
    let umask = options.umask.as_deref().or(conf.containers.umask.as_deref()).unwrap_or("0022");
    let umask = u32::from_str_radix(umask, 8).ok().filter(|mask| *mask <= 0o777);
    process.set_user(
        UserBuilder::default()
            .uid(user.uid)
            .gid(user.gid)
            .additional_gids(user.additional_gids.clone())
            .umask(umask.context("--umask: an octal number up to 0777")?)
            .build()?,
    );
    Ok(process)
}

fn working_directory(options: &Options, image: Option<&oci_spec::image::Config>) -> anyhow::Result<PathBuf> {
    let image = image.and_then(|config| config.working_dir().as_deref()).filter(|text| !text.is_empty());
    let path = Path::new(options.workdir.as_deref().or(image).unwrap_or("/"));
    if !path.is_absolute() {
        return Err(anyhow::anyhow!("{} is not an absolute path", path.display())).blame("WorkingDir", "");
    }
    Ok(path.to_path_buf())
}

/// Defaults but for places that are taken, then the others.
fn all_mounts(decisions: &Decisions<'_>) -> anyhow::Result<Vec<Mount>> {
    let text = decisions.options.shm_size.as_deref().or(decisions.conf.containers.shm_size.as_deref());
    let shm_size = size::bytes(text.unwrap_or(SHM_SIZE)).blame("ShmSize", "")?;
    let is_taken =
        |mount: &Mount| decisions.mounts.iter().any(|other| other.destination() == mount.destination());
    let mut mounts: Vec<Mount> =
        defaults::mounts(shm_size).into_iter().filter(|mount| !is_taken(mount)).collect();
    if decisions.mappings.is_some_and(|mappings| !mappings.has_group(TERMINALS)) {
        let option = format!("gid={TERMINALS}");
        for mount in mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("devpts")) {
            let options = mount.options().clone().unwrap_or_default();
            mount.set_options(Some(options.into_iter().filter(|known| *known != option).collect()));
        }
    }
    if decisions.options.ipc.as_deref() == Some("host") {
        mounts.retain(|mount| mount.destination() != Path::new("/dev/shm"));
        mounts.push(host_bind("/dev/shm")?);
    }
    if decisions.security.privileged {
        for mount in &mut mounts {
            if ["/sys", "/sys/fs/cgroup"].map(Path::new).contains(&mount.destination().as_path()) {
                let options = mount.options().clone().unwrap_or_default();
                mount.set_options(Some(options.into_iter().filter(|option| option != "ro").collect()));
            }
        }
    }
    mounts.extend(decisions.mounts.iter().cloned());
    Ok(mounts)
}

fn host_bind(path: &str) -> anyhow::Result<Mount> {
    Ok(MountBuilder::default()
        .destination(path)
        .typ("bind")
        .source(path)
        .options(["rbind", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec())
        .build()?)
}

fn annotations(options: &Options, conf: &ContainersConf) -> anyhow::Result<HashMap<String, String>> {
    // The user's and the host's only: an image's never reach the Spec, where runtimes give them meaning.
    let split = |text: &String| {
        let (name, value) = text.split_once('=').context("write NAME=VALUE").blame("Annotation", text)?;
        Ok((name.to_owned(), value.to_owned()))
    };
    conf.containers.annotations.iter().chain(&options.annotation).map(split).collect()
}

fn linux_of(mut linux: Linux, decisions: &Decisions<'_>) -> anyhow::Result<Linux> {
    let Decisions { options, conf, security, network, .. } = decisions;
    let own_network = !matches!(network, Network::Host);
    linux.set_namespaces(Some(namespaces(decisions)?));
    if let Some(mappings) = decisions.mappings {
        linux.set_uid_mappings(Some(mappings.uids.clone()));
        linux.set_gid_mappings(Some(mappings.gids.clone()));
    }
    linux.set_mount_label(selinux::file_label(&security.label, Path::new("/")));
    linux.set_masked_paths(Some(security.masked_paths()));
    linux.set_readonly_paths(Some(security.readonly_paths()));
    linux.set_devices(Some(devices(options, conf, security)?));

    let mut sysctl: HashMap<String, String> = HashMap::new();
    if own_network && decisions.mappings.is_none() && conf.containers.default_sysctls.is_empty() {
        sysctl.insert(PING.0.into(), PING.1.into());
    }
    for text in conf.containers.default_sysctls.iter().chain(&options.sysctl) {
        let (name, value) = text.split_once('=').context("write NAME=VALUE").blame("Sysctl", text)?;
        check_sysctl(name, own_network, options).blame("Sysctl", name)?;
        sysctl.insert(name.to_owned(), value.to_owned());
    }
    linux.set_sysctl(Some(sysctl).filter(|sysctl| !sysctl.is_empty()));
    // The unit's own cgroup; systemd has set its limits.
    linux.set_resources(None);
    linux.set_cgroups_path(None);
    Ok(linux)
}

/// A parameter without a namespace of its own would change the host (CVE-2022-0811).
fn check_sysctl(name: &str, own_network: bool, options: &Options) -> anyhow::Result<()> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    ensure!(
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) && !name.contains(".."),
        "\"{name}\" is not the name of a kernel parameter"
    );
    let dotted = name.replace('/', ".");
    let own_ipc = options.ipc.as_deref() != Some("host");
    let is_namespaced = match dotted.as_str() {
        name if name.starts_with("net.") => own_network,
        name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => own_ipc,
        _ => false,
    };
    ensure!(
        is_namespaced,
        "the parameter {name} has no namespace of its own in this container, so it would change the host; set \
         it on the host (sysctl.d(5)) or drop it"
    );
    Ok(())
}

fn namespaces(decisions: &Decisions<'_>) -> anyhow::Result<Vec<LinuxNamespace>> {
    let Decisions { options, network, .. } = decisions;
    let mut namespaces = defaults::namespaces();
    let modes = [
        ("--pid", &options.pid, LinuxNamespaceType::Pid),
        ("--ipc", &options.ipc, LinuxNamespaceType::Ipc),
        ("--uts", &options.uts, LinuxNamespaceType::Uts),
        ("--cgroupns", &options.cgroupns, LinuxNamespaceType::Cgroup),
    ];
    for (option, mode, kind) in modes {
        match mode.as_deref() {
            None | Some("" | "private" | "shareable" | "none" | "pod") => {}
            Some("host") => namespaces.retain(|namespace| namespace.typ() != kind),
            Some(mode) => bail!("{option}={mode}: known are private and host"),
        }
    }
    match network {
        Network::Host => namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network),
        Network::Path(path) => {
            ensure!(Path::new(path).exists(), "Network=ns:{path}: there is no such network namespace");
            namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
            namespaces
                .push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).path(path).build()?);
        }
        Network::None | Network::Joined(_) => {}
    }
    if let Some(member) = decisions.member {
        member.share(&mut namespaces)?;
    } else if decisions.mappings.is_some() {
        namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build()?);
    }
    Ok(namespaces)
}

fn devices(
    options: &Options,
    conf: &ContainersConf,
    security: &Security,
) -> anyhow::Result<Vec<LinuxDevice>> {
    let mut devices = Vec::new();
    for text in conf.containers.devices.iter().chain(&options.device) {
        devices.extend(asked_device(text).blame("AddDevice", text)?);
    }
    if security.privileged {
        devices.extend(device(Path::new("/dev"), Path::new("/dev"))?);
    }
    Ok(devices)
}

/// `[-]HOST[:CONTAINER][:rwm]`; with `-` only if it exists.
fn asked_device(text: &str) -> anyhow::Result<Vec<LinuxDevice>> {
    let (text, is_optional) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside) = match parts[..] {
        [host] => (host, host),
        [host, access] if !access.starts_with('/') => (host, host),
        [host, inside] | [host, inside, _] => (host, inside),
        _ => bail!("write HOST[:CONTAINER][:rwm], as in /dev/fuse"),
    };
    match device(Path::new(host), Path::new(inside)) {
        Ok(found) if found.is_empty() && !is_optional => {
            bail!("{host} is neither a device nor a directory of devices")
        }
        Ok(found) => Ok(found),
        Err(_) if is_optional => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("{host} on this host")),
    }
}

/// One device, or all in a directory.
fn device(host: &Path, inside: &Path) -> anyhow::Result<Vec<LinuxDevice>> {
    // The default devices are there already, and these are file systems of their own.
    const OWN: [&str; 11] =
        ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue"];
    let metadata = std::fs::metadata(host)?;
    if metadata.is_dir() {
        let mut devices = Vec::new();
        for entry in std::fs::read_dir(host)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_own = host == Path::new("/dev") && OWN.iter().any(|own| name == *own);
            if !is_own && !entry.file_type()?.is_symlink() {
                devices.extend(device(&entry.path(), &inside.join(name))?);
            }
        }
        return Ok(devices);
    }
    let kind = metadata.file_type();
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        _ => return Ok(Vec::new()),
    };
    let number = metadata.rdev();
    Ok(vec![
        LinuxDeviceBuilder::default()
            .path(inside)
            .typ(kind)
            .major(i64::from(rustix::fs::major(number)))
            .minor(i64::from(rustix::fs::minor(number)))
            .file_mode(metadata.mode() & 0o7777)
            .uid(metadata.uid())
            .gid(metadata.gid())
            .build()?,
    ])
}

/// Labels of the user over those of files over those of the image; data, never configuration.
///
/// # Errors
/// An unreadable label file.
pub(crate) fn labels(
    options: &Options,
    image: Option<&oci_spec::image::Config>,
) -> anyhow::Result<HashMap<String, String>> {
    let mut labels = image.and_then(|config| config.labels().clone()).unwrap_or_default();
    let mut add = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        labels.insert(name.to_owned(), value.to_owned());
    };
    for file in &options.label_file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("reading the labels in {}", file.display()))?;
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .for_each(&mut add);
    }
    options.label.iter().for_each(|text| add(text));
    Ok(labels)
}

/// Who the container runs as, found in its own passwd and group files. `kept` is the user of `UserNS=keep-id`, whom
/// only `--user` overrides.
///
/// # Errors
/// No such user or group in the image, or none in the user namespace.
pub(crate) fn user(
    root: BorrowedFd<'_>,
    options: &Options,
    image: Option<&oci_spec::image::Config>,
    kept: Option<(u32, u32)>,
    mappings: Option<&Mappings>,
) -> anyhow::Result<User> {
    let image = image.and_then(|config| config.user().as_deref()).unwrap_or("");
    let kept = kept.map(|(uid, gid)| format!("{uid}:{gid}"));
    let text = options.user.as_deref().or(kept.as_deref()).unwrap_or(image);
    let resolve = |groups: &[String]| sampan_container::user::resolve(root, text, groups).blame("User", "");
    let mut user = resolve(&options.group_add)?;
    if let Some(mappings) = mappings {
        mappings.ensure_has(user.uid, user.gid).blame("User", "")?;
        if !options.group_add.is_empty() {
            let of_image = resolve(&[])?.additional_gids;
            for gid in user.additional_gids.iter().filter(|gid| !of_image.contains(gid)) {
                mappings.ensure_has(0, *gid).blame("GroupAdd", "")?;
            }
        }
        // The image's own groups are a wish: a namespace with few groups has not all of them.
        user.additional_gids.retain(|gid| mappings.has_group(*gid));
    }
    Ok(user)
}
