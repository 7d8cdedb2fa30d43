//! A change: names that were moved to other images, and the services that are restarted for it.
//!
//! First it is written down ([`sampan_image::Store::begin_trial`]), then the services are restarted one after the other,
//! each with its proof. With the first that fails the names go back, and all that were restarted are restarted again:
//! services that share an image would have the old one after their next start anyway.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use sampan_image::Store;
use sampan_status::systemd::Systemd;

use super::proof::{self, Proof};
use super::report::Updated;
use crate::context::Context;

/// A start that takes longer has failed. systemd's own limit is usually much shorter.
const READY: Duration = Duration::from_secs(1200);

/// A name on its way from one image to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// The name, with registry and tag.
    pub(super) name: String,
    /// Id of the image that runs.
    pub(super) from: String,
    /// Id of the image that it leads to now.
    pub(super) to: String,
}

impl Moved {
    /// The way back.
    fn turned(&self) -> Self {
        Self { name: self.name.clone(), from: self.to.clone(), to: self.from.clone() }
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The names.
    pub(super) moved: Vec<Moved>,
    /// The services to restart, and with each the services of its containers.
    pub(super) units: BTreeMap<String, Vec<String>>,
    /// The names were returned already.
    pub(super) returning: bool,
}

/// What has become of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It runs with the new image.
    Updated,
    /// It was stopped by somebody, and its next start has the new image.
    Stopped,
    /// It runs with the previous image, and why.
    RolledBack(String),
    /// It doesn't run as it should.
    Failed(String),
}

impl Outcome {
    /// The word for the list.
    pub(super) fn updated(&self) -> Updated {
        match self {
            Self::Updated => Updated::Yes,
            Self::Stopped => Updated::No,
            Self::RolledBack(_) => Updated::RolledBack,
            Self::Failed(_) => Updated::Failed,
        }
    }

    /// What is said about it.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Self::Updated | Self::Stopped => None,
            Self::RolledBack(reason) | Self::Failed(reason) => Some(reason.clone()),
        }
    }
}

/// Carries changes out.
pub(super) struct Carrier<'a> {
    pub(super) systemd: &'a Systemd,
    pub(super) context: &'a Context,
    pub(super) store: &'a Store,
}

impl Carrier<'_> {
    /// Restarts all services. `is_resumed`: another process may have done a part of it.
    pub(super) fn carry_out(
        &self,
        change: &Change,
        rollback: bool,
        is_resumed: bool,
    ) -> BTreeMap<String, Outcome> {
        if !is_resumed && let Err(error) = self.begin(change) {
            return all(change, &Outcome::Failed(format!("noting the update: {error}")));
        }
        if change.returning {
            let outcomes = self.go_back(&change.units, &change.moved, "an earlier update has failed", true);
            self.end(change);
            return outcomes;
        }
        let mut outcomes = BTreeMap::new();
        for (unit, members) in &change.units {
            match self.renew(unit, members, &change.moved, is_resumed) {
                Ok(outcome) => drop(outcomes.insert(unit.clone(), outcome)),
                Err(reason) if rollback => {
                    return self.roll_back(change, unit, &reason, &outcomes, is_resumed);
                }
                Err(reason) => drop(outcomes.insert(unit.clone(), Outcome::Failed(reason))),
            }
        }
        self.end(change);
        outcomes
    }

    fn begin(&self, change: &Change) -> sampan_image::Result<()> {
        change
            .moved
            .iter()
            .try_for_each(|moved| self.store.begin_trial(&moved.name, &moved.from, &change.units))
    }

    fn end(&self, change: &Change) {
        for moved in &change.moved {
            // The next update looks at these services once more, and ends it then.
            if let Err(error) = self.store.end_trial(&moved.name) {
                log::warn!("noting the end of the update of {}: {error}", moved.name);
            }
        }
    }

    /// Restarts a service unless it runs with the wanted images already, and has it proven.
    fn renew(
        &self,
        unit: &str,
        members: &[String],
        moved: &[Moved],
        is_resumed: bool,
    ) -> Result<Outcome, String> {
        let proof = Proof { systemd: self.systemd, context: self.context, members, moved };
        if is_resumed {
            match proof.standing(unit)? {
                proof::Standing::Stopped => return Ok(Outcome::Stopped),
                proof::Standing::Runs => return proof.wait(true).map(|()| Outcome::Updated),
                proof::Standing::RunsAnother => {}
            }
        }
        self.restart(unit)?;
        proof.wait(false).map(|()| Outcome::Updated)
    }

    /// The names go back, and so do the services that were restarted for them.
    fn roll_back(
        &self,
        change: &Change,
        failed: &str,
        reason: &str,
        before: &BTreeMap<String, Outcome>,
        is_resumed: bool,
    ) -> BTreeMap<String, Outcome> {
        for moved in &change.moved {
            let why_not = match self.store.return_name(&moved.name) {
                Ok(Some(_)) => continue,
                Ok(None) => "the previous image is not in the store any more".to_owned(),
                Err(error) => error.to_string(),
            };
            self.end(change);
            let mut outcomes = before.clone();
            let reason = format!("{reason}; {} can't be returned: {why_not}", moved.name);
            outcomes.insert(failed.to_owned(), Outcome::Failed(reason));
            for unit in change.units.keys() {
                let skipped = || Outcome::Failed(format!("not updated, because {failed} has failed"));
                outcomes.entry(unit.clone()).or_insert_with(skipped);
            }
            return outcomes;
        }
        let reason = format!("the new image of {failed} has failed: {reason}");
        let turned: Vec<Moved> = change.moved.iter().map(Moved::turned).collect();
        let mut units = change.units.clone();
        if !is_resumed {
            // Those behind it were not restarted yet.
            units.retain(|unit, _| unit.as_str() <= failed);
        }
        let mut outcomes = self.go_back(&units, &turned, &reason, is_resumed);
        self.end(change);
        for unit in change.units.keys() {
            outcomes.entry(unit.clone()).or_insert_with(|| Outcome::RolledBack(reason.clone()));
        }
        outcomes
    }

    /// Restarts services with the images that their names were returned to. `is_resumed` as in [`Carrier::carry_out`].
    fn go_back(
        &self,
        units: &BTreeMap<String, Vec<String>>,
        moved: &[Moved],
        reason: &str,
        is_resumed: bool,
    ) -> BTreeMap<String, Outcome> {
        let back = |(unit, members): (&String, &Vec<String>)| {
            let mut renewed = self.renew(unit, members, moved, is_resumed);
            if is_resumed && renewed.is_err() {
                // It has failed with the newer image, and not seen this one yet.
                renewed = self.renew(unit, members, moved, false);
            }
            let outcome = match renewed {
                Ok(Outcome::Stopped) => Outcome::Stopped,
                Ok(_) => Outcome::RolledBack(reason.to_owned()),
                Err(again) => Outcome::Failed(format!("{reason}; with the previous image: {again}")),
            };
            (unit.clone(), outcome)
        };
        units.iter().map(back).collect()
    }

    /// Restarts a service, and returns when it is ready.
    fn restart(&self, unit: &str) -> Result<(), String> {
        // A crash loop may have used up what systemd allows (StartLimitBurst=); a unit that is gone has no limit.
        let _ = self.systemd.reset_failed(unit);
        let (sender, receiver) = mpsc::channel();
        let name = unit.to_owned();
        // The job may have no end (TimeoutStartSec=infinity); what comes too late, nobody reads.
        std::thread::spawn(move || {
            let _ = sender.send(Systemd::system().and_then(|systemd| systemd.restart(&name)));
        });
        match receiver.recv_timeout(READY) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{error}{}", proof::result(self.systemd, unit))),
            Err(_) => Err(format!("{unit} was not ready within {} s", READY.as_secs())),
        }
    }
}

fn all(change: &Change, outcome: &Outcome) -> BTreeMap<String, Outcome> {
    change.units.keys().map(|unit| (unit.clone(), outcome.clone())).collect()
}
