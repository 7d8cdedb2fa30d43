//! `sampan rm NAME.container` and `sampan quadlet rm`: removes unit files, with their drop-ins and what was
//! installed with them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, open, openat2, unlinkat};
use rustix::io::Errno;
use sampan_generator::Overlay;
use sampan_generator::check::CheckedUnit;

use super::applications::{Application, Applications};
use super::find;
use super::place::{self, Place};
use crate::output;

/// What is removed, and how.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Which folders.
    pub(crate) place: place::Chosen,
    /// All unit files but the distribution's.
    pub(crate) all: bool,
    /// Stop services that run.
    pub(crate) force: bool,
    /// A name that means nothing is no error.
    pub(crate) ignore: bool,
    /// Have systemd read the units afterwards.
    pub(crate) reload: bool,
    /// Unit files by name or path, and applications.
    pub(crate) names: Vec<String>,
}

/// `sampan quadlet rm`, with the options of podman-quadlet-rm(1).
#[derive(Debug, clap::Args)]
pub(crate) struct QuadletOptions {
    #[command(flatten)]
    place: place::Chosen,
    /// All unit files but those that packages own
    #[arg(long, short)]
    all: bool,
    /// Stop services that run
    #[arg(long, short)]
    force: bool,
    /// A file that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Have systemd read the units afterwards
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    reload_systemd: bool,
    /// Unit files, or applications
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
}

impl From<QuadletOptions> for Options {
    fn from(options: QuadletOptions) -> Self {
        let QuadletOptions { place, all, force, ignore, reload_systemd, names } = options;
        Self { place, all, force, ignore, reload: reload_systemd, names }
    }
}

/// Something that is removed as a whole: a unit file, or an application.
#[derive(Debug)]
struct Removal {
    /// What the user calls it.
    name: String,
    /// Services that must not run.
    services: Vec<String>,
    /// What they are below.
    folder: PathBuf,
    /// The files to remove, as absolute paths.
    files: Vec<PathBuf>,
}

/// Whether there is a unit file of this name where the system's are.
pub(crate) fn is_installed(name: &str) -> bool {
    let units = place::Chosen::default().place().check(Overlay::new()).units;
    units.iter().any(|unit| unit.name == name)
}

/// Removes each, all of them even if one fails.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let place = options.place.place();
    let units = place.check(Overlay::new()).units;
    let applications = Applications::read(&place.roots);
    let mut failed = None;
    let removed = choose(&options, &place, &units, &applications, &mut failed);
    let mut count = 0;
    for removal in removed {
        match remove(&removal, &place, options.force) {
            Ok(()) => {
                count += 1;
                output::lines([&removal.name])?;
            }
            Err(error) => put(&mut failed, error),
        }
    }
    if count > 0 && options.reload {
        place.reload()?;
    } else if count > 0 {
        eprintln!("Next: {} daemon-reload", place.systemctl());
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Keeps the last error and prints those before it.
fn put(failed: &mut Option<anyhow::Error>, error: anyhow::Error) {
    if let Some(earlier) = failed.replace(error) {
        eprintln!("Error: {earlier:#}");
    }
}

fn choose(
    options: &Options,
    place: &Place,
    units: &[CheckedUnit],
    applications: &Applications,
    failed: &mut Option<anyhow::Error>,
) -> Vec<Removal> {
    if options.all {
        let distribution = place.distribution();
        let ours = units.iter().filter(|unit| !unit.file.starts_with(&distribution));
        let mut chosen: Vec<Removal> = Vec::new();
        for unit in ours {
            let removal = match applications.of(&unit.file) {
                Some(app) => of_application(app, units),
                None => of_unit(unit, applications),
            };
            // Each unit of an application leads to all of it.
            if chosen.iter().all(|other| other.files != removal.files) {
                chosen.push(removal);
            }
        }
        return chosen;
    }
    let mut chosen: Vec<Removal> = Vec::new();
    for name in &options.names {
        match named(name, place, units, applications) {
            Ok(Some(removal)) if chosen.iter().all(|other| other.name != removal.name) => {
                chosen.push(removal)
            }
            Ok(Some(_)) => {}
            Ok(None) if options.ignore => {}
            Ok(None) => {
                let error = find::find(units, name).err();
                put(failed, error.unwrap_or_else(|| anyhow::anyhow!("there is no unit file {name}")));
            }
            Err(error) => put(failed, error),
        }
    }
    chosen
}

/// What a name means; `None` if nothing.
fn named(
    name: &str,
    place: &Place,
    units: &[CheckedUnit],
    applications: &Applications,
) -> anyhow::Result<Option<Removal>> {
    let unit = match name.contains('/') {
        true => find::find(units, name).ok(),
        false => units.iter().find(|unit| unit.name == name),
    };
    if let Some(unit) = unit {
        ensure!(
            !unit.file.starts_with(place.distribution()),
            "{} belongs to a package: switch it off with ln -s /dev/null {}",
            unit.file.display(),
            place.install_directory()?.join(&unit.name).display()
        );
        if let Some(app) = applications.of(&unit.file) {
            bail!(
                "{name} is part of the application {app} ({count} files): remove all of it with sampan quadlet rm {app}, \
                 or the file alone with rm {}",
                unit.file.display(),
                app = app.name,
                count = app.files.len()
            );
        }
        return Ok(Some(of_unit(unit, applications)));
    }
    let plain = name.strip_prefix('.').and_then(|name| name.strip_suffix(".app")).unwrap_or(name);
    let Some(app) = applications.named(plain) else { return Ok(None) };
    Ok(Some(of_application(app, units)))
}

/// All files of an application, and the list of them.
fn of_application(app: &Application, units: &[CheckedUnit]) -> Removal {
    let own = |unit: &&CheckedUnit| app.files.contains(&unit.file);
    Removal {
        name: app.name.clone(),
        services: units.iter().filter(own).map(|unit| unit.service.clone()).collect(),
        folder: folder_of(&app.manifest),
        files: app.files.iter().chain([&app.manifest]).cloned().collect(),
    }
}

/// A unit file, its own drop-ins, and what was installed with it.
fn of_unit(unit: &CheckedUnit, applications: &Applications) -> Removal {
    let mut files = vec![unit.file.clone()];
    let mut drop_ins = unit.file.clone().into_os_string();
    drop_ins.push(".d");
    let drop_ins = Path::new(&drop_ins);
    match drop_ins.is_symlink() {
        // What it leads to may be others' too.
        true => files.push(drop_ins.to_owned()),
        false => files.extend(unit.dropins.iter().filter(|file| file.parent() == Some(drop_ins)).cloned()),
    }
    for app in applications.companions(&unit.file) {
        files.extend(app.files.iter().chain([&app.manifest]).cloned());
    }
    let services = vec![unit.service.clone()];
    Removal { name: unit.name.clone(), services, folder: folder_of(&unit.file), files }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).to_owned()
}

/// Stops what runs, if that is wanted, and removes the files.
fn remove(removal: &Removal, place: &Place, force: bool) -> anyhow::Result<()> {
    let name = &removal.name;
    let states = place.states_if_any(&removal.services);
    let states =
        states.with_context(|| format!("{name} was not removed: whether its services run is unknown"))?;
    let running: Vec<_> = removal.services.iter().flat_map(|service| states.running(service)).collect();
    if let Some(first) = running.first() {
        ensure!(
            force,
            "{name} was not removed, because {first} runs: stop it first ({} stop {}), or remove it with --force",
            place.systemctl(),
            running.join(" ")
        );
        let systemd = place.systemd()?;
        for unit in &running {
            systemd.stop(unit).with_context(|| format!("stop {unit} to remove {name}"))?;
        }
    }
    let mut folders = BTreeSet::new();
    for file in &removal.files {
        unlink(&removal.folder, file).with_context(|| format!("remove {}", file.display()))?;
        folders.insert(folder_of(file));
    }
    tidy(&folders, place);
    Ok(())
}

/// Removes a file below a folder, by a way without links: a list of files may come from somebody else, who
/// could lead it out of the folder. A file that isn't there is no error.
fn unlink(folder: &Path, file: &Path) -> io::Result<()> {
    let outside = || io::Error::other(format!("it is not below {}", folder.display()));
    let name = file.file_name().ok_or_else(outside)?;
    let way = file.parent().and_then(|above| above.strip_prefix(folder).ok()).ok_or_else(outside)?;
    let way = if way.as_os_str().is_empty() { Path::new(".") } else { way };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let removed = open(folder, flags, Mode::empty())
        .and_then(|folder| openat2(folder, way, flags, Mode::empty(), resolve))
        .and_then(|holder| unlinkat(holder, name, AtFlags::empty()));
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Removes folders that are empty now, and those above them up to the folders that are searched.
/// Folders that hold something else stay.
fn tidy(folders: &BTreeSet<PathBuf>, place: &Place) {
    let roots: Vec<_> = place.roots.iter().filter_map(|root| root.path.canonicalize().ok()).collect();
    for folder in folders.iter().rev() {
        for folder in folder.ancestors() {
            let below = roots.iter().any(|root| folder != root && folder.starts_with(root));
            if !below || fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}
