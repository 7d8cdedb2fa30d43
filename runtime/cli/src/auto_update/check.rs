//! Whether there is a newer image than the one that a container runs.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use sampan_image::{Digest, Image, Platform, PullOptions, Reference, Registries, Store};

use super::Options;
use super::tasks::{Policy, Task};
use crate::context::Context;
use crate::pull::Access;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Newer {
    /// It runs what it should.
    No,
    /// It runs what it should: the newer one has failed here before.
    Refused(String),
    /// There is a newer one.
    Yes,
}

/// Asks the store and the registries, these once for each name.
pub(super) struct Checker<'a> {
    options: &'a Options,
    store: Store,
    registries: Registries,
    policy: sampan_image::Policy,
    asked: HashMap<(String, Option<PathBuf>), Result<Digest, String>>,
}

/// How the registry of a task's image is reached.
pub(super) fn access(task: &Task, options: &Options) -> Access {
    Access {
        authfile: task.authfile.clone().or_else(|| options.authfile.clone()),
        tls_verify: options.tls_verify,
        ..Access::default()
    }
}

/// The platform of a task's image, where it isn't this machine's.
///
/// # Errors
/// The store's.
pub(super) fn platform(task: &Task, store: &Store) -> anyhow::Result<Option<Platform>> {
    let Some(image) = store.find(&task.image.id, &Registries::empty())? else { return Ok(None) };
    let (config, host) = (&image.config, Platform::host());
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    let is_hosts = os == host.os && architecture == host.architecture;
    Ok((!is_hosts).then(|| Platform { os, architecture, variant: config.variant().clone() }))
}

impl<'a> Checker<'a> {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The store or a configuration can't be read.
    pub(super) fn new(context: &Context, options: &'a Options) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            store: context.store()?,
            registries: context.registries()?,
            policy: Context::policy()?,
            asked: HashMap::new(),
        })
    }

    /// Whether there is a newer image.
    ///
    /// # Errors
    /// The name can't lead to one; the registry's.
    pub(super) fn newer(&mut self, task: &Task) -> anyhow::Result<Newer> {
        match task.policy {
            Policy::Local => self.newer_here(task),
            Policy::Registry => self.newer_there(task),
        }
    }

    fn newer_here(&self, task: &Task) -> anyhow::Result<Newer> {
        let name = &task.image.name;
        let image = self.store.find(name, &self.registries)?;
        let image = image.ok_or_else(|| {
            anyhow!("{name} is not in the store: AutoUpdate=local needs a name that a build or pull gives to images")
        })?;
        Ok(if image.id == task.image.id { Newer::No } else { Newer::Yes })
    }

    fn newer_there(&mut self, task: &Task) -> anyhow::Result<Newer> {
        let name = &task.image.name;
        let reference = Reference::parse(name).ok().filter(|reference| reference.to_string() == *name);
        let reference = reference.with_context(|| {
            format!("{name} comes from no registry: write its full name in Image=, or AutoUpdate=local")
        })?;
        if reference.digest().is_some() {
            return Ok(Newer::No);
        }
        let digest = self.tag_digest(&reference, task)?;
        let by_digest = format!("{}@{digest}", reference.repository());
        let leads_to = |image: &Image| image.repo_digests.contains(&by_digest);
        let running = self.store.find(&task.image.id, &self.registries)?;
        if task.image.digest == digest.to_string() || running.as_ref().is_some_and(leads_to) {
            return Ok(Newer::No);
        }
        match self.store.refused(name)?.filter(leads_to) {
            Some(_) => Ok(Newer::Refused(format!(
                "{by_digest} is newer, but was taken back here: the next one is tried again (to try this one again: \
                 sampan pull {name})"
            ))),
            None => Ok(Newer::Yes),
        }
    }

    fn tag_digest(&mut self, name: &Reference, task: &Task) -> anyhow::Result<Digest> {
        let access = access(task, self.options);
        let key = (name.to_string(), access.authfile.clone());
        let answer = match self.asked.get(&key) {
            Some(answer) => answer.clone(),
            None => {
                let mut options = PullOptions::new(&self.registries, &self.policy);
                access.apply(None, &mut options)?;
                let answer = sampan_image::tag_digest(name, &options).map_err(|error| error.to_string());
                self.asked.insert(key, answer.clone());
                answer
            }
        };
        answer.map_err(|error| anyhow!("asking for a newer image: {error}"))
    }
}
