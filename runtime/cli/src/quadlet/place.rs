//! Where unit files are, which engine their units are for, and which systemd runs them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sampan_generator::check::{self, Checked};
use sampan_generator::{Engine, Environment, Overlay, Root, search, settings};
use sampan_status::systemd::{Listed, Systemd};

/// Where a system's systemd keeps what generators have written, systemd.generator(7).
const GENERATED: [&str; 3] = ["generator.early", "generator", "generator.late"];

/// What every command for unit files takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Chosen {
    /// The unit files of the calling user, not those of the system
    #[arg(long)]
    user: bool,
    /// Whom the units are for: sampan or podman; the default stands in sampan.toml(5)
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Where the system's own folders are, for tests and for systems that aren't running
    #[arg(long, value_name = "DIR", hide = true)]
    root_directory: Option<PathBuf>,
}

/// The folders with unit files and all that belongs to them.
#[derive(Debug)]
pub(crate) struct Place {
    /// Whom the units are for.
    pub(crate) engine: Engine,
    /// Whether a user's systemd runs them.
    pub(crate) user: bool,
    /// Where unit files are looked for, the first counts most.
    pub(crate) roots: Vec<Root>,
    environment: Environment,
}

impl Chosen {
    /// Finds out; remarks, such as a mistake in sampan.toml, go to standard error.
    pub(crate) fn place(&self) -> Place {
        let environment = Environment {
            root: self.root_directory.clone().unwrap_or_default(),
            ..Environment::of_process()
        };
        let (configured, mistake) = settings::engine(&environment.below(settings::DEFAULT_PATH));
        let engine = self.engine.unwrap_or(configured);
        let (roots, notes) = search::roots(engine, self.user, &environment);
        super::tell(mistake.iter().chain(&notes));
        Place { engine, user: self.user, roots, environment }
    }
}

impl Place {
    /// What is installed, and what is wrong with it; the overlay's texts count as files.
    pub(crate) fn check(&self, overlay: Overlay) -> Checked {
        self.check_with(Vec::new(), overlay)
    }

    /// The same, with these folders read before the usual ones.
    pub(crate) fn check_with(&self, before: Vec<Root>, overlay: Overlay) -> Checked {
        let roots = before.into_iter().chain(self.roots.iter().cloned()).collect();
        let (engine, user) = (self.engine, self.user);
        check::check(&check::Options { roots, engine, user, overlay, ..check::Options::default() })
    }

    /// What the generator is asked for, with these folders read before the usual ones.
    pub(crate) fn generation(&self, before: Vec<Root>) -> sampan_generator::Options {
        let roots = before.into_iter().chain(self.roots.iter().cloned()).collect();
        let overlay = Overlay::new();
        sampan_generator::Options { engine: self.engine, user: self.user, roots, overlay }
    }

    /// Where new unit files are put.
    ///
    /// # Errors
    /// The user has no home, or `$QUADLET_UNIT_DIRS` does not begin with an absolute path.
    pub(crate) fn install_directory(&self) -> anyhow::Result<PathBuf> {
        search::install_directory(self.engine, self.user, &self.environment)
            .context("no folder for unit files: set HOME, or QUADLET_UNIT_DIRS to an absolute path")
    }

    /// Where the distribution's packages have their unit files, which are not ours to change.
    pub(crate) fn distribution(&self) -> PathBuf {
        self.environment.below("/usr/share/containers/systemd")
    }

    /// Where the units are that the generators wrote at the last reload.
    ///
    /// # Errors
    /// They are a user's, and `$XDG_RUNTIME_DIR` is not set.
    pub(crate) fn generated(&self) -> anyhow::Result<Vec<PathBuf>> {
        let runtime = match &self.environment.runtime_dir {
            _ if !self.user => self.environment.below("/run"),
            Some(runtime) => PathBuf::from(runtime),
            None => bail!("the user's generated units can't be found: XDG_RUNTIME_DIR is not set"),
        };
        Ok(GENERATED.iter().map(|directory| runtime.join("systemd").join(directory)).collect())
    }

    /// The systemd that runs the units.
    ///
    /// # Errors
    /// It can't be reached, or none runs below `--root-directory`.
    pub(crate) fn systemd(&self) -> anyhow::Result<Systemd> {
        if !self.environment.root.as_os_str().is_empty() {
            bail!("no systemd runs in {}", self.environment.root.display());
        }
        Ok(if self.user { Systemd::user() } else { Systemd::system() }?)
    }

    /// The states of services, and of the instances of those that are templates.
    ///
    /// # Errors
    /// systemd can't be asked.
    pub(crate) fn states(&self, services: &[String]) -> anyhow::Result<States> {
        let systemd = self.systemd()?;
        let (templates, plain): (Vec<String>, Vec<String>) =
            services.iter().cloned().partition(|service| service.contains("@."));
        let mut states = if plain.is_empty() { Vec::new() } else { systemd.named(&plain)? };
        if !templates.is_empty() {
            let patterns: Vec<String> = templates.iter().map(|name| name.replace("@.", "@*.")).collect();
            states.extend(systemd.matching(&patterns)?);
        }
        Ok(States(states))
    }

    /// The same; where no systemd runs, nothing that it would have started does. Not to be told what runs is
    /// something else.
    ///
    /// # Errors
    /// There is a systemd that can't be asked.
    pub(crate) fn states_if_any(&self, services: &[String]) -> anyhow::Result<States> {
        let elsewhere = !self.environment.root.as_os_str().is_empty();
        // sd_booted(3)
        if elsewhere || !self.user && !Path::new("/run/systemd/system").is_dir() {
            return Ok(States::default());
        }
        match self.states(services) {
            Err(error) if error.downcast_ref().is_some_and(sampan_status::Error::is_no_bus) => {
                Ok(States::default())
            }
            states => states,
        }
    }

    /// Has systemd run its generators and read the units. Below another root there is none to do so.
    ///
    /// # Errors
    /// systemd can't be reached, or refuses.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        if !self.environment.root.as_os_str().is_empty() {
            return Ok(());
        }
        let reloaded = self.systemd().and_then(|systemd| Ok(systemd.reload()?));
        reloaded.with_context(|| {
            format!("systemd did not read the units anew; try {} daemon-reload", self.systemctl())
        })
    }

    /// `systemctl` as the user has to call it.
    pub(crate) fn systemctl(&self) -> &'static str {
        if self.user { "systemctl --user" } else { "systemctl" }
    }
}

/// The states of some units.
#[derive(Debug, Default)]
pub(crate) struct States(Vec<Listed>);

impl States {
    /// The unit itself or, for a template, its instances in memory.
    pub(crate) fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Listed> {
        let template = service.split_once("@.");
        self.0.iter().filter(move |unit| match template {
            Some((base, end)) => unit.name.split_once('@').is_some_and(|(name, rest)| {
                name == base && rest.strip_suffix(end).is_some_and(|instance| instance.len() > 1)
            }),
            None => unit.name == service,
        })
    }

    /// The names of those that run or are about to.
    pub(crate) fn running(&self, service: &str) -> Vec<String> {
        let runs = |unit: &&Listed| {
            !matches!(unit.active_state.as_str(), "inactive" | "failed" | "")
                && unit.load_state != "not-found"
        };
        self.of(service).filter(runs).map(|unit| unit.name.clone()).collect()
    }
}
