//! `sampan auto-update`: services get the images that their names lead to now.
//!
//! [`tasks`] finds the containers that want it, [`check`] asks whether there is a newer image, [`change`] gives it to
//! the services and takes it back if they don't run with it, which [`proof`] finds out; [`report`] says what came of it.
//!
//! There is no state of our own. What an update has begun stands in the record of the image's name
//! ([`sampan_image::Trial`]); whatever was killed in between is brought to its end first by the next one.

mod change;
mod check;
mod proof;
mod report;
mod tasks;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use sampan_status::systemd::Systemd;

use self::change::{Change, Moved, Outcome};
use self::check::{Checker, Newer};
use self::report::{Row, Updated};
use self::tasks::{Policy, Task};
use crate::OWN_FAULT;
use crate::context::Context;
use crate::progress::Shown;
use crate::pull;

/// `sampan auto-update [options]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// File with registry credentials, containers-auth.json(5); a container's label io.containers.autoupdate.authfile counts more
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Say what would be updated, and change nothing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    dry_run: bool,
    /// json, or a Go template for each container
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Return to the previous image where services don't run with the new one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    rollback: bool,
    /// Verify certificates; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
}

/// Updates everything, and prints a row for each container.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let format = report::format(options.format.as_deref())?;
    let _alone = if options.dry_run { None } else { Some(lock(context)?) };
    let update = Update { options: &options, context };
    let finished = update.finish_trials()?;
    let (tasks, mut rows) = tasks::find(context)?;
    let mut checker = Checker::new(context, &options)?;
    // What has just proven itself, or just failed, is left in peace until the next time.
    let (settled, tasks): (Vec<_>, Vec<_>) =
        tasks.into_iter().partition(|task| finished.iter().any(|row| row.unit == task.unit));
    for row in finished {
        let mut its = settled.iter().filter(|task| task.unit == row.unit).peekable();
        if its.peek().is_none() {
            rows.push(row);
            continue;
        }
        rows.extend(its.map(|task| Row { reason: row.reason.clone(), ..Row::of(task, row.updated) }));
    }
    for batch in batches(tasks) {
        rows.extend(update.batch(&batch, &mut checker));
    }
    rows.sort_by(|a, b| (&a.unit, &a.container_name).cmp(&(&b.unit, &b.container_name)));
    report::print(&rows, format)?;
    let mut code = ExitCode::SUCCESS;
    for row in &rows {
        if !options.dry_run {
            row.log();
        }
        if let Some(reason) = &row.reason
            && matches!(row.updated, Updated::Failed | Updated::RolledBack)
        {
            eprintln!("Error: {}: {reason}", row.subject());
            code = ExitCode::from(OWN_FAULT);
        }
    }
    Ok(code)
}

/// One update at a time: the timer's and an administrator's would restart the same services.
fn lock(context: &Context) -> anyhow::Result<File> {
    let path = context.runroot().join("auto-update.lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("opening {} (are you root?)", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// Tasks that hang together, by an image or by a service: they are updated, and go back, as one.
fn batches(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut batches: Vec<Vec<Task>> = Vec::new();
    for task in tasks {
        let touches = |batch: &Vec<Task>| {
            batch.iter().any(|other| other.unit == task.unit || other.image.name == task.image.name)
        };
        let (joined, apart): (Vec<_>, Vec<_>) = batches.into_iter().partition(touches);
        let mut batch: Vec<Task> = joined.into_iter().flatten().collect();
        batch.push(task);
        batches = apart;
        batches.push(batch);
    }
    batches
}

/// What all steps need.
struct Update<'a> {
    options: &'a Options,
    context: &'a Context,
}

impl Update<'_> {
    /// Brings to its end what a killed update has begun. The rows are those of services.
    fn finish_trials(&self) -> anyhow::Result<Vec<Row>> {
        let store = self.context.store()?;
        let mut rows = Vec::new();
        for trial in store.trials()? {
            if self.options.dry_run {
                rows.extend(trial.units.keys().map(|unit| Row::of_unit(unit, &trial.name, Updated::Pending)));
                continue;
            }
            let change = Change {
                moved: vec![Moved {
                    name: trial.name.clone(),
                    from: trial.previous.unwrap_or_default(),
                    to: trial.image,
                }],
                units: trial.units,
                returning: trial.returning,
            };
            let outcomes = self.carry_out(&store, &change, true);
            rows.extend(outcomes.into_iter().map(|(unit, outcome)| Row {
                reason: outcome.reason(),
                ..Row::of_unit(&unit, &trial.name, outcome.updated())
            }));
        }
        Ok(rows)
    }

    fn carry_out(
        &self,
        store: &sampan_image::Store,
        change: &Change,
        is_resumed: bool,
    ) -> BTreeMap<String, Outcome> {
        match Systemd::system() {
            Ok(systemd) => {
                let carrier = change::Carrier { systemd: &systemd, context: self.context, store };
                carrier.carry_out(change, self.options.rollback, is_resumed)
            }
            Err(error) => {
                let failed = |unit: &String| (unit.clone(), Outcome::Failed(error.to_string()));
                change.units.keys().map(failed).collect()
            }
        }
    }

    /// Updates what hangs together.
    fn batch(&self, batch: &[Task], checker: &mut Checker<'_>) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut wanted: Vec<&Task> = Vec::new();
        for task in batch {
            let row = match checker.newer(task) {
                Ok(Newer::No) => Row::of(task, Updated::No),
                Ok(Newer::Refused(reason)) => Row::of(task, Updated::No).because(reason),
                Ok(Newer::Yes) if self.options.dry_run => Row::of(task, Updated::Pending),
                Ok(Newer::Yes) => {
                    wanted.push(task);
                    continue;
                }
                Err(error) => Row::of(task, Updated::Failed).because(format!("{error:#}")),
            };
            rows.push(row);
        }
        match self.give(&wanted) {
            Ok(done) => rows.extend(done),
            Err(error) => {
                let reason = format!("{error:#}");
                rows.extend(wanted.iter().map(|task| Row::of(task, Updated::Failed).because(reason.clone())));
            }
        }
        rows
    }

    /// Fetches the new images, each once, and gives them to the services.
    fn give(&self, tasks: &[&Task]) -> anyhow::Result<Vec<Row>> {
        let store = self.context.store()?;
        let (mut rows, mut moved) = (Vec::new(), HashMap::new());
        let mut units: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for task in tasks {
            let found = match moved.get(&task.image.name) {
                Some(found) => Ok(Some(found)),
                None => self
                    .image(task, &store)
                    .map(|found| found.map(|found| &*moved.entry(task.image.name.clone()).or_insert(found))),
            };
            match found {
                Ok(Some(Moved { to, .. })) if *to != task.image.id => {
                    let members = units.entry(task.unit.clone()).or_default();
                    if !members.contains(&task.own_unit) {
                        members.push(task.own_unit.clone());
                    }
                }
                // The same image in a new wrapping, or one that has failed here before.
                Ok(_) => rows.push(Row::of(task, Updated::No)),
                Err(error) => rows.push(Row::of(task, Updated::Failed).because(format!("{error:#}"))),
            }
        }
        if units.is_empty() {
            return Ok(rows);
        }
        let moved = moved.into_values().filter(|moved| moved.from != moved.to).collect();
        let change = Change { moved, units, returning: false };
        let outcomes = self.carry_out(&store, &change, false);
        for task in tasks {
            if rows.iter().any(|row: &Row| row.container_id == task.id) {
                continue;
            }
            let outcome =
                outcomes.get(&task.unit).ok_or_else(|| anyhow!("{} was not restarted", task.unit))?;
            rows.push(Row { reason: outcome.reason(), ..Row::of(task, outcome.updated()) });
        }
        Ok(rows)
    }

    /// The image that a task's name leads to, fetched where the policy says so; `None` if it has failed here before.
    fn image(&self, task: &Task, store: &sampan_image::Store) -> anyhow::Result<Option<Moved>> {
        let name = &task.image.name;
        let refused = store.refused(name)?.map(|image| image.id);
        let image = match task.policy {
            Policy::Local => {
                let found = store.find(name, &self.context.registries()?)?;
                found.with_context(|| format!("{name} is not in the store any more"))?
            }
            Policy::Registry => {
                let access = check::access(task, self.options);
                let request = pull::Request {
                    name,
                    policy: "always",
                    platform: check::platform(task, store)?,
                    access: &access,
                    signature_policy: None,
                };
                let shown = Shown::new(false, None);
                let image = pull::find_or_fetch(self.context, &request, &shown);
                shown.finish();
                image?
            }
        };
        if task.policy == Policy::Registry && refused.as_ref() == Some(&image.id) {
            store.return_name(name)?;
            return Ok(None);
        }
        Ok(Some(Moved { name: name.clone(), from: task.image.id.clone(), to: image.id }))
    }
}

#[cfg(test)]
mod tests {
    use sampan_container::state::Image;

    use super::*;

    #[test]
    fn what_shares_an_image_or_a_service_is_updated_together() {
        let task = |unit: &str, image: &str| Task {
            unit: unit.to_owned(),
            image: Image { name: image.to_owned(), ..Image::default() },
            ..Task::default()
        };
        let tasks = vec![task("a", "1"), task("b", "2"), task("c", "3"), task("b", "1"), task("d", "3")];
        let mut shapes: Vec<Vec<String>> = batches(tasks)
            .into_iter()
            .map(|batch| batch.into_iter().map(|task| task.unit + &task.image.name).collect())
            .collect();
        shapes.sort();
        assert_eq!(shapes, [vec!["a1", "b2", "b1"], vec!["c3", "d3"]]);
    }
}
