//! Confinement: capabilities, `--security-opt`, what is masked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};
use sampan_container::{defaults, seccomp::Profile};

use super::options::Options;
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;

/// What `--security-opt` and `--privileged` ask for, parsed once.
#[derive(Debug, Default)]
pub(crate) struct Security {
    pub(crate) privileged: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) profile: Option<Profile>,
    pub(crate) apparmor: Option<String>,
    pub(crate) label: Label,
    mask: Vec<PathBuf>,
    unmask: Vec<PathBuf>,
    unmask_all: bool,
}

/// Parts of the SELinux label that differ from the default; `disabled` means no label at all.
#[derive(Debug, Default, Clone)]
pub(crate) struct Label {
    pub(crate) disabled: bool,
    pub(crate) nested: bool,
    pub(crate) user: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) file_type: Option<String>,
}

impl Security {
    /// Reads the options over the host's defaults.
    ///
    /// # Errors
    /// An option that podman-run(1) doesn't know.
    pub(crate) fn read(options: &Options, conf: &ContainersConf) -> anyhow::Result<Self> {
        let mut security = Self { privileged: options.privileged.unwrap_or(false), ..Self::default() };
        security.profile = conf.containers.seccomp_profile.clone().map(Profile::File);
        security.label.disabled = conf.containers.label == Some(false) || security.privileged;
        for option in &options.security_opt {
            security.take(option)?;
        }
        Ok(security)
    }

    fn take(&mut self, option: &str) -> anyhow::Result<()> {
        let split = option.find(['=', ':']).unwrap_or(option.len());
        let (name, value) = (&option[..split], option.get(split + 1..).unwrap_or(""));
        match name {
            "no-new-privileges" => self.no_new_privileges = value != "false",
            "seccomp" if value == "unconfined" => self.profile = Some(Profile::Unconfined),
            "seccomp" => self.profile = Some(Profile::File(value.into())),
            "apparmor" => self.apparmor = Some(value.to_owned()),
            "label" => self.label.take(value)?,
            "mask" => self.mask.extend(value.split(':').map(PathBuf::from)),
            "unmask" if value.eq_ignore_ascii_case("all") => self.unmask_all = true,
            "unmask" => self.unmask.extend(value.split(':').map(PathBuf::from)),
            "systempaths" if value == "unconfined" => self.unmask_all = true,
            _ => bail!(
                "--security-opt {option}: there is no such option; known are no-new-privileges, seccomp=, label=, \
                 apparmor=, mask=, unmask="
            ),
        }
        Ok(())
    }

    /// The seccomp profile; privileged containers have none unless one is named.
    pub(crate) fn profile(&self) -> Profile {
        match &self.profile {
            _ if self.privileged => Profile::Unconfined,
            Some(profile) => profile.clone(),
            None => Profile::Default,
        }
    }

    /// Paths that the container can't see.
    pub(crate) fn masked_paths(&self) -> Vec<String> {
        let defaults = if self.unmask_all || self.privileged { Vec::new() } else { defaults::masked_paths() };
        let asked = self.mask.iter().map(|path| path.to_string_lossy().into_owned());
        defaults.into_iter().filter(|path| !self.is_unmasked(path)).chain(asked).collect()
    }

    /// Paths that the container can't write.
    pub(crate) fn readonly_paths(&self) -> Vec<String> {
        let defaults =
            if self.unmask_all || self.privileged { Vec::new() } else { defaults::readonly_paths() };
        defaults.into_iter().filter(|path| !self.is_unmasked(path)).collect()
    }

    /// `--unmask /proc/*` lifts all below; without the star it lifts the one path.
    fn is_unmasked(&self, path: &str) -> bool {
        self.unmask.iter().filter_map(|pattern| pattern.to_str()).any(|pattern| {
            match pattern.strip_suffix("/*") {
                Some(parent) => path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')),
                None => pattern.trim_end_matches('/') == path,
            }
        })
    }
}

impl Label {
    fn take(&mut self, value: &str) -> anyhow::Result<()> {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "disable" => self.disabled = true,
            "nested" => self.nested = true,
            "user" => self.user = Some(value.to_owned()),
            "role" => self.role = Some(value.to_owned()),
            "type" => self.kind = Some(value.to_owned()),
            "level" => self.level = Some(value.to_owned()),
            "filetype" => self.file_type = Some(value.to_owned()),
            _ => bail!(
                "--security-opt label={name}: known are disable, nested, user:, role:, type:, level:, filetype:"
            ),
        }
        Ok(())
    }
}

const PROFILE: &str = "seccomp";

/// Notes which profile the container runs under, for programs that join it later.
///
/// # Errors
/// The file can't be written.
pub(crate) fn remember_profile(profile: &Profile, directory: &Path) -> anyhow::Result<()> {
    let text = match profile {
        Profile::Default => "default".to_owned(),
        Profile::Unconfined => "unconfined".to_owned(),
        Profile::File(path) => format!("file:{}", path.display()),
    };
    std::fs::write(directory.join(PROFILE), text).context("noting the seccomp profile")
}

/// The profile of a running container.
///
/// # Errors
/// The note is missing or damaged: joining without a filter would undo the container's confinement.
pub(crate) fn recall_profile(directory: &Path) -> anyhow::Result<Profile> {
    let path = directory.join(PROFILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    match (text.as_str(), text.strip_prefix("file:")) {
        ("default", _) => Ok(Profile::Default),
        ("unconfined", _) => Ok(Profile::Unconfined),
        (_, Some(file)) => Ok(Profile::File(file.into())),
        _ => bail!("{} is damaged: restart the container", path.display()),
    }
}

/// The five sets. `root` is whether the process starts as user 0.
///
/// Another user gets in its effective set only what was asked for by name, as under Podman; the inheritable set is
/// empty but for those (CVE-2022-24769).
///
/// # Errors
/// An unknown capability.
pub(crate) fn capabilities(
    options: &Options,
    conf: &ContainersConf,
    security: &Security,
    root: bool,
) -> anyhow::Result<LinuxCapabilities> {
    let added = parse(&options.cap_add).blame("AddCapability", "")?;
    let dropped = parse(&options.cap_drop).blame("DropCapability", "")?;
    let mut bounding: HashSet<Capability> = match &conf.containers.default_capabilities {
        _ if security.privileged || added.all => all(),
        _ if dropped.all => HashSet::new(),
        Some(names) => parse(names)?.set,
        None => defaults::capabilities().into_iter().collect(),
    };
    bounding.extend(&added.set);
    bounding.retain(|capability| !dropped.set.contains(capability));
    let asked: HashSet<_> = if added.all { bounding.clone() } else { &added.set & &bounding };
    let (effective, inherited) =
        if root { (bounding.clone(), HashSet::new()) } else { (asked.clone(), asked) };
    Ok(LinuxCapabilitiesBuilder::default()
        .bounding(bounding)
        .effective(effective.clone())
        .permitted(effective)
        .inheritable(inherited.clone())
        .ambient(inherited)
        .build()?)
}

#[derive(Default)]
struct Named {
    all: bool,
    set: HashSet<Capability>,
}

fn parse(names: &[String]) -> anyhow::Result<Named> {
    let mut named = Named::default();
    for name in names.iter().flat_map(|names| names.split(',')).map(str::trim).filter(|name| !name.is_empty())
    {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            named.all = true;
            continue;
        }
        let capability = upper.trim_start_matches("CAP_").parse().ok().with_context(|| {
            format!(
                "there is no capability \"{name}\" (see capabilities(7); write NET_ADMIN or CAP_NET_ADMIN)"
            )
        })?;
        named.set.insert(capability);
    }
    Ok(named)
}

fn all() -> HashSet<Capability> {
    // What the kernel has and this process may give on; anything else would make the start fail.
    caps::read(None, caps::CapSet::Bounding)
        .unwrap_or_default()
        .iter()
        .filter_map(|capability| capability.to_string().trim_start_matches("CAP_").parse().ok())
        .collect()
}
