//! A container of a pod becomes the words of `sampan run`, and what its service has to know.

use super::environment::{Environment, Origins};
use super::model::{Container, PodSecurity, Profile, Security};
use super::objects::check_label;
use super::plan::Ground;
use super::probes::{self, Check};
use super::quantity;
use super::read::{Flag, Number, Source, Text};
use super::volumes;
use super::yaml::Problem;

/// podman-kube-play(1), `--seccomp-profile-root`: where `Localhost` profiles are.
const SECCOMP_ROOT: &str = "/var/lib/kubelet/seccomp";

/// The longest host and container name that check_name(7) of the state accepts.
const NAME_MAX: usize = 128;

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It runs and ends before the others start.
    Init,
    /// It starts before the others, in its turn, and goes on.
    Sidecar,
    /// It runs.
    Main,
}

/// When systemd starts a container again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Whenever it has ended.
    Always,
    /// When it has failed.
    OnFailure,
    /// Never.
    No,
}

impl Restart {
    /// `Restart=` of systemd.service(5).
    pub(crate) fn directive(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::No => "no",
        }
    }
}

/// What is to be started.
#[derive(Debug, Clone)]
pub(crate) struct ContainerPlan {
    /// Its name in the pod.
    pub(crate) short: String,
    /// Its name on the host: `POD-CONTAINER`.
    pub(crate) name: String,
    /// What it is to the pod.
    pub(crate) role: Role,
    /// When it is started again.
    pub(crate) restart: Restart,
    /// The words between `sampan run` and the image.
    pub(crate) words: Vec<String>,
    /// The image, and its arguments.
    pub(crate) program: Vec<String>,
    /// Variables that must not stand among the words.
    pub(crate) secrets: Vec<(String, String)>,
    /// Its health check.
    pub(crate) check: Option<Check>,
    /// `MemoryMax=` in bytes.
    pub(crate) memory: Option<u64>,
    /// `CPUQuota=` in thousandths of a processor.
    pub(crate) cpu: Option<u64>,
    /// `CPUWeight=`, from the processors that are requested.
    pub(crate) cpu_weight: Option<u64>,
    /// Seconds that its end may take.
    pub(crate) stop_timeout: u64,
}

/// Plans one container.
///
/// # Errors
/// A field with a value that can't be honoured.
pub(crate) fn plan(
    container: &Container,
    role: Role,
    ground: &Ground<'_>,
    path: &str,
    source: &Source<'_>,
) -> Result<ContainerPlan, Problem> {
    let Some(short) = &container.name else {
        return Err(source.problem(container.at, format!("{path} has no name")));
    };
    check_label(short, &format!("{path}.name"), source)?;
    let name = format!("{}-{}", ground.pod, short.value);
    if name.len() > NAME_MAX {
        return Err(
            source.problem(short.at, format!("the container's name {name} is longer than {NAME_MAX}"))
        );
    }
    let role = role_of(container, role, path, source)?;
    let restart = if role == Role::Sidecar { Restart::Always } else { ground.restart };
    let origins = Origins {
        objects: ground.objects,
        pod: ground.pod,
        labels: ground.labels,
        annotations: ground.annotations,
    };
    let environment = Environment::assemble(container, origins, path, source)?;

    let mut words = Words::default();
    words.pair("--name", &name);
    words.pair("--pod", ground.pod);
    words.extend(ground.words);
    if let Some(policy) = pull(container, path, source)? {
        words.pair("--pull", policy);
    }
    if let Some(directory) = &container.working_dir {
        words.pair("--workdir", &environment.expand(directory).0);
    }
    environment.open().for_each(|entry| words.pair("--env", &entry));
    words.extend(&volumes::mounts(container, ground.volumes, ground.places, path, source)?);
    security(&container.security_context, ground.security, &mut words, path, source)?;
    let stop_timeout = ground.stop_timeout;
    words.pair("--stop-timeout", &stop_timeout.to_string());
    if let Some(signal) = &container.lifecycle.stop_signal {
        words.pair("--stop-signal", signal);
    }
    let check = match role {
        Role::Init => None,
        Role::Sidecar | Role::Main => probes::check(container, restart != Restart::No, path, source)?,
    };
    if let Some(check) = &check {
        words.extend(&check.words);
    }
    ground.annotated(&name, short, &mut words.0);
    let memory = limit(container, "limits", "memory", quantity::whole, path, source)?;
    let cpu = limit(container, "limits", "cpu", quantity::thousandths, path, source)?;
    let requested = limit(container, "requests", "cpu", quantity::thousandths, path, source)?;
    let program = program(container, &environment, &mut words, path, source)?;
    Ok(ContainerPlan {
        short: short.value.clone(),
        name,
        role,
        restart,
        words: words.0,
        program,
        secrets: environment.secret().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        check,
        memory,
        cpu,
        cpu_weight: requested.map(weight),
        stop_timeout,
    })
}

/// The words of a command line.
#[derive(Debug, Default)]
struct Words(Vec<String>);

impl Words {
    fn pair(&mut self, option: &str, value: &str) {
        self.0.extend([option.to_owned(), value.to_owned()]);
    }

    fn extend(&mut self, words: &[String]) {
        self.0.extend_from_slice(words);
    }
}

/// An init container that is always restarted goes on beside the others (a "sidecar").
fn role_of(container: &Container, role: Role, path: &str, source: &Source<'_>) -> Result<Role, Problem> {
    match (&container.restart_policy, role) {
        (None, role) => Ok(role),
        (Some(policy), Role::Init) if policy.as_str() == "Always" => Ok(Role::Sidecar),
        (Some(policy), _) => {
            let reason = format!(
                "{path}.restartPolicy: only an init container has one, and it is Always; set restartPolicy of the pod"
            );
            Err(source.problem(policy.at, reason))
        }
    }
}

fn pull(container: &Container, path: &str, source: &Source<'_>) -> Result<Option<&'static str>, Problem> {
    match container.image_pull_policy.as_ref() {
        // As Kubernetes does: what has no version may have changed.
        None => {
            let image = container.image.as_deref().map_or("", String::as_str);
            let last = image.rsplit('/').next().unwrap_or_default();
            let is_latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
            Ok(is_latest.then_some("newer"))
        }
        Some(policy) => match policy.as_str() {
            "Always" => Ok(Some("always")),
            "IfNotPresent" => Ok(Some("missing")),
            "Never" => Ok(Some("never")),
            other => {
                let reason = format!(
                    "{path}.imagePullPolicy is \"{other}\": possible are Always, IfNotPresent and Never"
                );
                Err(source.problem(policy.at, reason))
            }
        },
    }
}

/// The image and its arguments; `command` becomes the entry point.
fn program(
    container: &Container,
    environment: &Environment,
    words: &mut Words,
    path: &str,
    source: &Source<'_>,
) -> Result<Vec<String>, Problem> {
    let Some(image) = container.image.as_ref().filter(|image| !image.is_empty()) else {
        return Err(source.problem(container.at, format!("{path} has no image")));
    };
    if image.starts_with('-') || image.contains(char::is_whitespace) {
        return Err(
            source.problem(image.at, format!("{path}.image: \"{}\" is no image", image.escape_debug()))
        );
    }
    let expand = |words: &[Text]| {
        let expand = |word: &Text| {
            match environment.expand(word) {
            (expanded, false) => Ok(expanded),
            (_, true) => Err(source.problem(
                word.at,
                format!("{path}: a command line is seen by everybody, and this would put a secret there; let the program read the variable"),
            )),
        }
        };
        words.iter().map(expand).collect::<Result<Vec<String>, Problem>>()
    };
    if !container.command.is_empty() {
        let command = expand(&container.command)?;
        words.pair("--entrypoint", &serde_json::Value::from(command).to_string());
    }
    Ok([vec![image.value.clone()], expand(&container.args)?].concat())
}

/// Users, capabilities and filters; the container's word counts more than the pod's.
fn security(
    own: &Security,
    pod: &PodSecurity,
    words: &mut Words,
    path: &str,
    source: &Source<'_>,
) -> Result<(), Problem> {
    let id = |number: &Number| match u32::try_from(number.value) {
        Ok(id) => Ok(id),
        Err(_) => Err(source.problem(number.at, format!("{} is no user or group", number.value))),
    };
    let user = own.run_as_user.as_ref().or(pod.run_as_user.as_ref()).map(id).transpose()?;
    let group = own.run_as_group.as_ref().or(pod.run_as_group.as_ref()).map(id).transpose()?;
    let non_root = own.run_as_non_root.as_ref().or(pod.run_as_non_root.as_ref());
    if let Some(flag) = non_root.filter(|flag| flag.value) {
        match user {
            Some(0) => {
                return Err(source.problem(flag.at, format!("{path}: runAsNonRoot contradicts runAsUser: 0")));
            }
            Some(_) => {}
            None => {
                let reason =
                    format!("{path}: runAsNonRoot can't be checked against the image: add runAsUser");
                return Err(source.problem(flag.at, reason));
            }
        }
    }
    match (user, group) {
        (Some(user), Some(group)) => words.pair("--user", &format!("{user}:{group}")),
        (Some(user), None) => words.pair("--user", &user.to_string()),
        (None, Some(group)) => words.pair("--user", &format!("0:{group}")),
        (None, None) => {}
    }
    for group in pod.fs_group.iter().chain(&pod.supplemental_groups) {
        words.pair("--group-add", &id(group)?.to_string());
    }
    let is = |flag: &Option<Flag>| flag.as_deref() == Some(&true);
    if is(&own.privileged) {
        words.0.push("--privileged".to_owned());
    }
    own.capabilities.add.iter().for_each(|capability| words.pair("--cap-add", capability));
    own.capabilities.drop.iter().for_each(|capability| words.pair("--cap-drop", capability));
    if is(&own.read_only_root) {
        words.0.push("--read-only".to_owned());
        // Kubernetes gives a container nothing writable but what it mounts.
        words.0.push("--read-only-tmpfs=false".to_owned());
    }
    if own.allow_privilege_escalation.as_deref() == Some(&false) {
        words.pair("--security-opt", "no-new-privileges");
    }
    match own.proc_mount.as_deref().map_or("", String::as_str) {
        "" | "Default" => {}
        "Unmasked" => words.pair("--security-opt", "unmask=ALL"),
        other => {
            let reason = format!("{path}.securityContext.procMount is \"{other}\", not Default or Unmasked");
            return Err(source.problem(own.at, reason));
        }
    }
    if let Some(profile) = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref())
        && let Some(value) = profile_of(profile, &format!("{path} seccompProfile"), source)?
    {
        let value = if value == "unconfined" { value } else { format!("{SECCOMP_ROOT}/{value}") };
        words.pair("--security-opt", &format!("seccomp={value}"));
    }
    if let Some(profile) = own.apparmor_profile.as_ref().or(pod.apparmor_profile.as_ref())
        && let Some(value) = profile_of(profile, &format!("{path} appArmorProfile"), source)?
    {
        words.pair("--security-opt", &format!("apparmor={value}"));
    }
    Ok(())
}

/// `unconfined`, or the name of a profile; `None` is the default.
fn profile_of(profile: &Profile, path: &str, source: &Source<'_>) -> Result<Option<String>, Problem> {
    match (profile.kind.as_deref().map_or("", String::as_str), &profile.localhost_profile) {
        ("RuntimeDefault", _) => Ok(None),
        ("Unconfined", _) => Ok(Some("unconfined".to_owned())),
        ("Localhost", Some(name)) if !name.starts_with('/') && !name.split('/').any(|part| part == "..") => {
            Ok(Some(name.value.clone()))
        }
        _ => {
            let reason = format!(
                "{path} must be of the type RuntimeDefault, Unconfined, or Localhost with a relative localhostProfile"
            );
            Err(source.problem(profile.at, reason))
        }
    }
}

/// A limit or a request, if it is set.
fn limit(
    container: &Container,
    which: &str,
    name: &str,
    parse: fn(&str) -> Option<u64>,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<u64>, Problem> {
    let resources = &container.resources;
    let map = if which == "limits" { &resources.limits } else { &resources.requests };
    if which == "limits" && name == "memory" {
        for (other, value) in map.iter().filter(|(other, _)| !["cpu", "memory"].contains(&other.as_str())) {
            source.note(value.0.at, format!("{path}.resources.limits.{other} is not enforced"));
        }
    }
    let Some(value) = map.get(name) else { return Ok(None) };
    match parse(&value.0) {
        // Nothing is no limit.
        Some(number) => Ok(Some(number).filter(|number| *number > 0)),
        None => {
            let reason = format!("{path}.resources.{which}.{name}: \"{}\" is no quantity", value.0.value);
            Err(source.problem(value.0.at, reason))
        }
    }
}

/// Requested thousandths of a processor as `CPUWeight=`: first Kubernetes' shares, then their place on the scale of
/// cgroup version 2.
fn weight(thousandths: u64) -> u64 {
    let shares = (thousandths.saturating_mul(1024) / 1000).clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}
