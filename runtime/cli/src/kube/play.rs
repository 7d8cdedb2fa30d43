//! `sampan kube play`: makes the pods, starts their containers, and leaves when all are up.
//!
//! Nothing half-made stays: whatever fails, all that was made goes again, and the error says why.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, anyhow, bail, ensure};
use sampan_status::systemd::Systemd;

use super::container::Role;
use super::objects::{Objects, Purpose};
use super::options::{Down, Play};
use super::plan::{self, PodPlan, Wishes};
use super::read::Source;
use super::record::{self, Record};
use super::service::{self, Caller};
use super::volumes::Content;
use super::yaml::File;
use super::{down, store};
use crate::context::Context;
use crate::output;
use crate::pod::Pod;
use crate::run::unit::{Unit, own_slice};
use crate::volumes::Config;

/// Marks the pods that are made here, with their unit.
const LABEL: &str = "io.sampan.kube";
/// podman-kube-play(1), "Volumes": how a claim says what its volume is.
const VOLUME_ANNOTATION: &str = "volume.podman.io/";

/// Plays the files.
pub(super) fn run(options: &Play, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    if options.down {
        let down = Down { force: Some(options.force), files: options.files.clone() };
        return down::run(&down, context);
    }
    let (plans, objects) = read(options, context)?;
    ensure!(!plans.is_empty(), "there is no pod in {}", names(options));
    let caller = caller(options, context, modules, plans.len() > 1)?;
    let systemd = Systemd::system().context("sampan kube play needs systemd to give the containers to")?;
    make_way(options, &caller, &plans, &systemd)?;
    claims(&plans, &objects, context)?;
    let mut made = Vec::new();
    let played = plans.iter().try_for_each(|plan| {
        let record = described(plan, &caller, options)?;
        record.create(context)?;
        made.push(record);
        pod(plan, &caller, &systemd)
    });
    if let Err(error) = played {
        for record in made.iter().rev() {
            // The error says why; what a failed clean-up leaves, the next start removes.
            if let Err(leftover) = down::take(record, false, context, &systemd) {
                log::warn!("{leftover:#}");
            }
        }
        return Err(error);
    }
    if !options.quiet {
        for plan in &plans {
            let main = plan.containers.iter().filter(|container| container.role != Role::Init);
            let main: Vec<&str> = main.map(|container| container.name.as_str()).collect();
            output::lines([format!("Pod {}: {}", plan.name, main.join(", "))])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(options: &Play) -> String {
    let names: Vec<String> = options.files.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// Reads all files, and plans all pods before anything is made.
fn read(options: &Play, context: &Context) -> anyhow::Result<(Vec<PodPlan>, Objects)> {
    let mut objects = Objects::default();
    for path in &options.configmap {
        objects.add(&File::open(path)?, 0, Purpose::ConfigMaps)?;
    }
    let mut files = Vec::new();
    for (number, path) in options.files.iter().enumerate() {
        let file = File::open(path)?;
        objects.add(&file, number, Purpose::Play)?;
        files.push(file);
    }
    let wishes = wishes(options);
    let mut plans = Vec::new();
    let mut notes = std::mem::take(&mut objects.notes);
    for pod in &objects.pods {
        let source = Source::new(&files[pod.file]);
        let places = record::places(&pod.name, context);
        plans.push(plan::plan(pod, &objects, &wishes, places, &source)?);
        notes.extend(source.into_notes());
    }
    notes.iter().for_each(|note| log::warn!("{note}"));
    Ok((plans, objects))
}

/// The options in the words of the commands that honour them.
fn wishes(options: &Play) -> Wishes {
    let mut pod_words = Vec::new();
    for (option, value) in [("--ip", &options.ip), ("--mac-address", &options.mac_address)] {
        pod_words.extend(value.iter().flat_map(|value| [option.to_owned(), value.clone()]));
    }
    let mut run_words = Vec::new();
    if options.no_hosts {
        pod_words.push("--no-hosts".to_owned());
        run_words.push("--no-hosts".to_owned());
    }
    if let Some(file) = &options.authfile {
        run_words.extend(["--authfile".to_owned(), file.display().to_string()]);
    }
    if let Some(verify) = options.tls_verify {
        run_words.push(format!("--tls-verify={verify}"));
    }
    if let Some(driver) = options.log_driver.as_ref().filter(|driver| !driver.is_empty()) {
        run_words.extend(["--log-driver".to_owned(), driver.clone()]);
    }
    run_words.extend(options.log_opt.iter().flat_map(|option| ["--log-opt".to_owned(), option.clone()]));
    Wishes {
        networks: options.network.clone(),
        publish: options.publish.clone(),
        publish_all: options.publish_all,
        userns: options.userns.clone(),
        annotations: output::assignments(&options.annotation),
        pod_words,
        run_words,
    }
}

fn caller<'a>(
    options: &Play,
    context: &'a Context,
    modules: &'a [PathBuf],
    is_one_of_many: bool,
) -> anyhow::Result<Caller<'a>> {
    let wanted = options.service_container == Some(true);
    let unit = Unit::current().and_then(|unit| unit.name).filter(|_| wanted);
    ensure!(
        !wanted || unit.is_some(),
        "--service-container=true is for a unit's ExecStart=: there is no unit here"
    );
    let slice = own_slice().filter(|_| unit.is_some());
    Ok(Caller { context, modules, unit, slice, is_one_of_many })
}

/// What an earlier run has left, and with `--replace` pods of the same names, are taken down.
fn make_way(options: &Play, caller: &Caller<'_>, plans: &[PodPlan], systemd: &Systemd) -> anyhow::Result<()> {
    let mut earlier = match &caller.unit {
        Some(unit) => Record::of_unit(unit, caller.context)?,
        None => Vec::new(),
    };
    for plan in plans.iter().filter(|_| options.replace) {
        let found = Record::find(&plan.name, caller.context)?;
        earlier.extend(found.filter(|found| earlier.iter().all(|other| other.pod != found.pod)));
    }
    for record in &earlier {
        if let Some(unit) = record.unit.as_ref().filter(|unit| caller.unit.as_ref() != Some(unit)) {
            bail!(
                "the pod {} belongs to {unit}: stop that first (systemctl stop {unit}), or rename the pod",
                record.pod
            );
        }
        down::take(record, false, caller.context, systemd)
            .with_context(|| format!("taking down the earlier pod {}", record.pod))?;
    }
    plans.iter().try_for_each(|plan| match found(&plan.name, caller.context)? {
        Some(pod) if pod.is_complete && !is_ours(&pod) => Err(foreign(&pod)),
        _ => Ok(()),
    })
}

/// The pod of that name.
///
/// # Errors
/// The pods can't be listed.
pub(super) fn found(name: &str, context: &Context) -> anyhow::Result<Option<Pod>> {
    let directory = context.pods().list()?.into_iter().find(|directory| directory.name() == name);
    Ok(directory.and_then(|directory| directory.read().ok()))
}

/// Whether `sampan kube play` has made a pod. One that it hasn't made is neither replaced nor removed here.
pub(super) fn is_ours(pod: &Pod) -> bool {
    pod.labels.contains_key(LABEL)
}

/// The unit whose YAML a pod was made of, if it was a unit's.
pub(crate) fn unit_of(pod: &Pod) -> Option<String> {
    pod.labels.get(LABEL).filter(|unit| !unit.is_empty()).cloned()
}

fn foreign(pod: &Pod) -> anyhow::Error {
    match &pod.unit {
        Some(unit) => anyhow!(
            "there is a pod {} already, of {unit}: stop that first (systemctl stop {unit}), or rename the pod in the \
             YAML",
            pod.name
        ),
        None => anyhow!(
            "there is a pod {} already, made by `sampan pod create`: remove it (sampan pod rm {}), or rename the pod in \
             the YAML",
            pod.name,
            pod.name
        ),
    }
}

fn described(plan: &PodPlan, caller: &Caller<'_>, options: &Play) -> anyhow::Result<Record> {
    let services = |only_main: bool| -> anyhow::Result<Vec<String>> {
        let wanted = plan.containers.iter().filter(|plan| !only_main || plan.role == Role::Main);
        wanted.map(|container| caller.service(&plan.name, &container.short)).collect()
    };
    let claims = plan.volumes.values().filter_map(|content| match content {
        Content::Claim { name, .. } => Some(name.clone()),
        _ => None,
    });
    Ok(Record {
        pod: plan.name.clone(),
        unit: caller.unit.clone(),
        services: services(false)?,
        main: services(true)?,
        claims: claims.collect(),
        propagation: options.service_exit_code_propagation,
        failed: Vec::new(),
    })
}

/// Makes the volumes that are claimed, unless they exist. They stay when the pod goes.
fn claims(plans: &[PodPlan], objects: &Objects, context: &Context) -> anyhow::Result<()> {
    let used = plans.iter().flat_map(|plan| plan.volumes.values()).filter_map(|content| match content {
        Content::Claim { name, .. } => Some(name),
        _ => None,
    });
    let volumes = context.volumes();
    for name in objects.claims.keys().chain(used) {
        if volumes.find(name)?.is_some() {
            continue;
        }
        let mut config = Config { name: name.clone(), driver: "local".to_owned(), ..Config::default() };
        for (annotation, value) in objects.claims.get(name).into_iter().flatten() {
            let id = || value.parse().with_context(|| format!("claim {name}: {annotation} must be a number"));
            match annotation.strip_prefix(VOLUME_ANNOTATION) {
                Some("driver") => config.driver.clone_from(value),
                Some("uid") => config.uid = Some(id()?),
                Some("gid") => config.gid = Some(id()?),
                Some("device") => drop(config.options.insert("device".to_owned(), value.value.clone())),
                Some("type") => drop(config.options.insert("type".to_owned(), value.value.clone())),
                Some("mount-options") => drop(config.options.insert("o".to_owned(), value.value.clone())),
                Some(other) => log::warn!("claim {name}: {VOLUME_ANNOTATION}{other} has no effect here"),
                None => {}
            }
        }
        volumes.create(&config).with_context(|| format!("making the volume {name} that is claimed"))?;
    }
    Ok(())
}

/// One pod, from its volumes to its last container.
fn pod(plan: &PodPlan, caller: &Caller<'_>, systemd: &Systemd) -> anyhow::Result<()> {
    store::make(plan)?;
    let mut words = ["pod", "create", "--name", &plan.name].map(str::to_owned).to_vec();
    words.extend(plan.words.iter().cloned());
    words.extend(["--label".to_owned(), format!("{LABEL}={}", caller.unit.as_deref().unwrap_or_default())]);
    ours(caller, &words).with_context(|| format!("making the pod {}", plan.name))?;
    let mut together = Vec::new();
    for container in &plan.containers {
        let name = caller.service(&plan.name, &container.short)?;
        if container.role == Role::Main {
            together.push((container, name));
        } else {
            service::start(systemd, caller, container, &name, &plan.places)?;
        }
    }
    // Each may have to fetch its image first.
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let start = |(container, name)| {
            scope.spawn(move || service::start(systemd, caller, container, name, &plan.places))
        };
        let started: Vec<_> = together.iter().map(|(container, name)| start((*container, name))).collect();
        for thread in started {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failures.push(error),
                Err(_) => failures.push(anyhow::anyhow!("a thread that starts a container has panicked")),
            }
        }
    });
    let mut failures = failures.into_iter();
    match failures.next() {
        None => Ok(()),
        Some(first) => {
            failures.for_each(|other| eprintln!("Error: {other:#}"));
            Err(first)
        }
    }
}

/// Runs another command of ours; what it says on standard error is the error. A process of its own: pods and
/// containers are made by one with a single thread, and the connection to systemd has brought others.
///
/// # Errors
/// The command fails, or can't be executed.
pub(super) fn ours(caller: &Caller<'_>, words: &[String]) -> anyhow::Result<()> {
    let ours = caller.ours()?;
    let mut command = Command::new(&ours[0]);
    command.args(&ours[1..]).args(words).stdin(Stdio::null());
    // It acts for the pod and not as the unit, of which the pod knows nothing.
    command.env_remove("PODMAN_SYSTEMD_UNIT");
    let output = command.output().context("running sampan itself")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        said.lines().for_each(|line| eprintln!("{line}"));
        return Ok(());
    }
    bail!("{}", said.trim().trim_start_matches("Error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_was_made_elsewhere_is_nobody_elses() {
        let pod = |unit: Option<&str>, label: Option<&str>| Pod {
            name: "web".to_owned(),
            unit: unit.map(str::to_owned),
            labels: label.map(|label| (label.to_owned(), String::new())).into_iter().collect(),
            ..Pod::default()
        };
        assert!(is_ours(&pod(None, Some(LABEL))));
        assert!(!is_ours(&pod(None, None)) && !is_ours(&pod(Some("web-pod.service"), Some("other"))));
        assert!(
            foreign(&pod(Some("web-pod.service"), None))
                .to_string()
                .contains("systemctl stop web-pod.service")
        );
        assert!(foreign(&pod(None, None)).to_string().contains("sampan pod rm web"));
    }
}
