//! `sampan kube down`: ends what `sampan kube play` has made. And [`ended`]: the end of a unit whose containers have
//! all ended by themselves.

use std::process::ExitCode;

use anyhow::Context as _;
use sampan_status::systemd::Systemd;

use super::objects::{Objects, Purpose};
use super::options::Down;
use super::play;
use super::record::Record;
use super::service::{self, Caller};
use super::yaml::File;
use crate::context::Context;
use crate::pod::settled;
use crate::run::unit;

/// Takes down the pods of the files; in a unit those of the unit, whatever has become of the files.
pub(super) fn run(options: &Down, context: &Context) -> anyhow::Result<ExitCode> {
    let own = unit::generated_unit();
    let mut records = match &own {
        Some(unit) => Record::of_unit(unit, context)?,
        None => Vec::new(),
    };
    match described(options) {
        Ok(pods) => {
            for pod in pods {
                let found = Record::find(&pod, context)?;
                // Another unit's pod of the same name is that unit's to take down.
                let is_ours = |record: &Record| own.is_none() || record.unit.is_none() || record.unit == own;
                let is_new = |record: &Record| records.iter().all(|other| other.pod != record.pod);
                if let Some(found) = found.filter(|found| is_ours(found) && is_new(found)) {
                    records.push(found);
                }
            }
        }
        // The end of a unit doesn't need its file.
        Err(error) if own.is_some() => log::debug!("{error:#}"),
        Err(error) => return Err(error),
    }
    if records.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let systemd = Systemd::system().context("connecting to systemd to stop containers")?;
    let mut failed = Vec::new();
    for record in &records {
        match record.unit.as_ref().filter(|unit| own.as_ref() != Some(unit)) {
            // That unit's own end comes back here.
            Some(unit) => systemd.stop(unit)?,
            None => take(record, options.force == Some(true), context, &systemd)?,
        }
        failed.extend(record.failed.iter().cloned());
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("failed containers (ExitCodePropagation=): {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The names of the pods in the files.
fn described(options: &Down) -> anyhow::Result<Vec<String>> {
    let mut objects = Objects::default();
    for (number, path) in options.files.iter().enumerate() {
        objects.add(&File::open(path)?, number, Purpose::Play)?;
    }
    Ok(objects.pods.into_iter().map(|pod| pod.name).collect())
}

/// Takes one pod down: its containers, all at once, then the pod, then its volumes; the record goes last.
///
/// # Errors
/// A container doesn't end, or something can't be removed; the record is then still there.
pub(super) fn take(record: &Record, force: bool, context: &Context, systemd: &Systemd) -> anyhow::Result<()> {
    let stopped: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            record.services.iter().map(|service| scope.spawn(move || stop(service, systemd))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread that stops a container has panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    stopped.into_iter().collect::<anyhow::Result<()>>()?;
    // It waits for the unit, to see whether that was its last container; and while it waits, systemd doesn't forget
    // the containers' services, whose names the next start needs.
    if let Some(unit) = &record.unit {
        stop(&service::ended(unit), systemd)?;
    }
    // By its identifier: who else has come by the name keeps the pod.
    if let Some(pod) = play::found(&record.pod, context)?.filter(play::is_ours) {
        let caller = Caller { context, modules: &[], unit: None, slice: None, is_one_of_many: false };
        let words = ["pod", "rm", "--ignore", "--force", &pod.id].map(str::to_owned);
        play::ours(&caller, &words).with_context(|| format!("removing the pod {}", record.pod))?;
    }
    if force {
        let volumes = context.volumes();
        for name in &record.claims {
            if let Some(volume) = volumes.find(name)? {
                volumes.remove(&volume).with_context(|| format!("removing the volume {name}"))?;
            }
        }
    }
    record.remove(context)
}

fn stop(service: &str, systemd: &Systemd) -> anyhow::Result<()> {
    let state = systemd.unit(service)?;
    if state.load_state == "not-found" && state.active_state == "inactive" {
        return Ok(());
    }
    systemd.stop(service).with_context(|| format!("stopping {service}"))?;
    // One that has failed stays until then, and keeps the next of its name from being made.
    match systemd.reset_failed(service) {
        Ok(()) | Err(sampan_status::Error::NoSuchUnit(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A container of the unit has ended for good. If all others have as well, the unit ends; how, `ExitCodePropagation=`
/// decides.
pub(super) fn ended(unit: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let records = Record::of_unit(unit, context)?;
    if records.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let systemd = Systemd::system().with_context(|| format!("connecting to systemd to stop {unit}"))?;
    let main: Vec<String> = records.iter().flat_map(|record| record.main.iter().cloned()).collect();
    let Some(units) = settled::ended(unit, &main, &systemd)? else { return Ok(ExitCode::SUCCESS) };
    let mut units = units.into_iter();
    for mut record in records {
        let own = record.main.iter().zip(units.by_ref());
        let failed: Vec<String> = own
            .filter(|(_, unit)| unit.active_state == "failed")
            .map(|(service, _)| service.clone())
            .collect();
        if record.propagation.fails(failed.len(), record.main.len()) {
            record.failed = failed;
            record.write(context)?;
        }
    }
    println!("the last container has ended: stopping {unit}");
    // Without waiting: the unit's end stops us.
    systemd.begin_stop(unit)?;
    Ok(ExitCode::SUCCESS)
}
