//! Names that were moved to a newer image, until it is known to be good.
//!
//! Whoever updates services says so in the name's record, gives them the image, and says at the end whether the name
//! keeps it. Killed in between, the next one finds [`Store::trials`] and comes to the end. A name that was returned
//! leads to its previous image, and remembers the one that it was returned from: that one isn't wanted again.

use std::collections::BTreeMap;

use super::{Image, NameRecord, Store, TrialRecord};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// A name whose image is on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The name, with registry and tag.
    pub name: String,
    /// Id of the image that it leads to.
    pub image: String,
    /// Id of the image that it led to before.
    pub previous: Option<String>,
    /// The services that are restarted to run with it, and with each the services of its containers, which are to prove
    /// that they do.
    pub units: BTreeMap<String, Vec<String>>,
    /// Whether `image` is the one from before, to which the name was returned.
    pub returning: bool,
}

impl Store {
    /// All trials that are under way or were broken off, by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn trials(&self) -> Result<Vec<Trial>> {
        let trial = |record: NameRecord| {
            let trial = record.trial?;
            Some(Trial {
                name: record.name,
                image: record.image.hex(),
                previous: record.previous.map(|previous| previous.hex()),
                units: trial.units,
                returning: trial.returning,
            })
        };
        Ok(self.name_records()?.into_iter().filter_map(trial).collect())
    }

    /// Notes that these services are given the image of a name, and that it led to the image `previous` before.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if there is no such name any more, [`Error::Io`].
    pub fn begin_trial(
        &self,
        name: &str,
        previous: &str,
        units: &BTreeMap<String, Vec<String>>,
    ) -> Result<()> {
        self.change(name, |record| {
            record.previous = Digest::from_hex(previous).or(record.previous);
            record.trial = Some(TrialRecord { units: units.clone(), returning: false });
        })
    }

    /// Ends a trial: the name keeps its image.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if there is no such name any more, [`Error::Io`].
    pub fn end_trial(&self, name: &str) -> Result<()> {
        self.change(name, |record| record.trial = None)
    }

    /// Moves a name back to the image that had it before, which is returned; `None` if there is none, or if it isn't
    /// whole any more. The trial goes on with it. The image that it loses is refused from then on ([`Store::refused`]).
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if there is no such name any more, [`Error::Io`].
    pub fn return_name(&self, name: &str) -> Result<Option<Image>> {
        let _lock = self.lock_records()?;
        let record = self.name_record(name)?.ok_or_else(|| Error::NoSuchImage(name.to_owned()))?;
        let Some(previous) = record.previous else { return Ok(None) };
        let whole = self.image_record(&previous)?.map_or(Ok(None), |record| self.load(record))?;
        if whole.is_none() {
            return Ok(None);
        }
        let trial = record.trial.map(|trial| TrialRecord { returning: true, ..trial });
        self.set_name(NameRecord { trial, ..NameRecord::new(name.to_owned(), previous, None) })?;
        self.image_record(&previous)?.map_or(Ok(None), |record| self.load(record))
    }

    /// The image that a name was moved away from, here and not by its registry: nobody wants it under this name again.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn refused(&self, name: &str) -> Result<Option<Image>> {
        let Some(record) = self.name_record(name)? else { return Ok(None) };
        let (None, Some(previous)) = (record.digest, record.previous) else { return Ok(None) };
        self.image_record(&previous)?.map_or(Ok(None), |previous| self.load(previous))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut NameRecord)) -> Result<()> {
        let _lock = self.lock_records()?;
        let mut record = self.name_record(name)?.ok_or_else(|| Error::NoSuchImage(name.to_owned()))?;
        change(&mut record);
        self.write_name_record(&record)
    }
}
