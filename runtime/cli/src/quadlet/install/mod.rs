//! `sampan install`: puts unit files where the generator reads them.
//!
//! The files are checked first, together with what is installed already: an error refuses all of them,
//! a remark is printed. Then they are put in place, all or none.

mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use sampan_generator::check::{Checked, CheckedUnit};
use sampan_generator::keys::UnitType;
use sampan_generator::{Diagnostic, Overlay, Severity};

use self::sources::{Content, Item};
use super::applications::Applications;
use super::place::{self, Place};
use super::transaction::Transaction;
use crate::output;

/// `sampan install [--replace] [--reload] FILE|FOLDER…`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A folder is installed as an application: with its drop-ins, environment files and whatever \
                        else is in it, into a folder of its name. Files that are no unit files may follow a unit \
                        file. The unit files go into /etc/containers/systemd or, while Podman's generator is \
                        active, into /etc/sampan/systemd."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: place::Chosen,
    /// Replace files that differ
    #[arg(long, short)]
    replace: bool,
    /// Have systemd read the units afterwards
    #[arg(long)]
    reload: bool,
    /// Unit files, folders with unit files, and .quadlets files
    #[arg(value_name = "FILE|FOLDER", required = true)]
    paths: Vec<String>,
}

/// `sampan quadlet install`, with the options of podman-quadlet-install(1).
#[derive(Debug, clap::Args)]
pub(crate) struct QuadletOptions {
    #[command(flatten)]
    place: place::Chosen,
    /// Replace files that differ
    #[arg(long, short)]
    replace: bool,
    /// Have systemd read the units afterwards
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    reload_systemd: bool,
    /// Unit files, folders with unit files, and .quadlets files
    #[arg(value_name = "FILE|FOLDER", required = true)]
    paths: Vec<String>,
}

impl From<QuadletOptions> for Options {
    fn from(options: QuadletOptions) -> Self {
        let QuadletOptions { place, replace, reload_systemd, paths } = options;
        Self { place, replace, reload: reload_systemd, paths }
    }
}

/// Checks the files and puts them in place.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let place = options.place.place();
    let folder = place.install_directory()?;
    let folder = folder.canonicalize().unwrap_or(folder);
    let items = sources::gather(&options.paths, &folder)?;
    let mut overlay = Overlay::new();
    for item in &items {
        if let Some(text) = item.text()? {
            overlay.insert(&item.to, text);
        }
    }
    let checked = place.check(overlay);
    judge(&place, &items, &checked)?;
    let units = effective(&items, &checked)?;
    let changes = Changes::find(items, options.replace)?;
    changes.make(&place, &folder)?;
    let shown = changes.installed().filter(|item| !matches!(item.content, Content::Manifest(_)));
    output::lines(shown.map(|item| item.to.display().to_string()))?;
    eprintln!("{}", changes.summary());
    if options.reload {
        place.reload()?;
    }
    next(&place, &units, options.reload);
    Ok(ExitCode::SUCCESS)
}

/// Prints what is wrong with the files, or with others because of them.
///
/// # Errors
/// One has an error.
fn judge(place: &Place, items: &[Item], checked: &Checked) -> anyhow::Result<()> {
    let before = place.check(Overlay::new()).diagnostics;
    // What is told of a file that is copied has the source's path, where it is to be mended.
    let sources: BTreeMap<&Path, &Path> = items
        .iter()
        .filter(|item| matches!(item.content, Content::Copy | Content::Link(_)))
        .map(|item| (item.to.as_path(), item.from.as_path()))
        .collect();
    let ours = |finding: &Diagnostic| items.iter().any(|item| item.to == finding.file);
    let findings = checked.diagnostics.iter().filter(|finding| ours(finding) || !before.contains(finding));
    let findings: Vec<Diagnostic> = findings
        .map(|finding| {
            let file = sources.get(finding.file.as_path()).map_or(&*finding.file, |path| path);
            Diagnostic { file: file.to_owned(), ..finding.clone() }
        })
        .collect();
    super::tell(&findings);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match errors {
        0 => Ok(()),
        1 => bail!("nothing was installed, because of the error above"),
        _ => bail!("nothing was installed, because of the {errors} errors above"),
    }
}

/// The unit files as they will count.
///
/// # Errors
/// Another file of the same name counts instead.
fn effective<'a>(items: &[Item], checked: &'a Checked) -> anyhow::Result<Vec<&'a CheckedUnit>> {
    let mut units = Vec::new();
    for (item, name) in items.iter().filter_map(|item| Some((item, item.unit_name()?))) {
        match checked.units.iter().find(|unit| unit.name == name) {
            Some(unit) if unit.file == item.to => units.push(unit),
            Some(unit) => bail!(
                "{} would have no effect beside {}, which has the same name: rename the file, or remove the other one",
                item.to.display(),
                unit.file.display()
            ),
            // A link to /dev/null.
            None => {}
        }
    }
    Ok(units)
}

/// What has to be done.
#[derive(Debug)]
struct Changes {
    new: Vec<Item>,
    replaced: Vec<Item>,
    unchanged: usize,
}

impl Changes {
    /// Compares the files with what is in their places.
    ///
    /// # Errors
    /// A place is taken, and nothing is to be replaced.
    fn find(items: Vec<Item>, replace: bool) -> anyhow::Result<Self> {
        let mut changes = Self { new: Vec::new(), replaced: Vec::new(), unchanged: 0 };
        for item in items {
            match fs::symlink_metadata(&item.to) {
                Err(_) => changes.new.push(item),
                Ok(_) if same(&item) => changes.unchanged += 1,
                Ok(_) => changes.replaced.push(item),
            }
        }
        if !replace && let Some(taken) = changes.replaced.first() {
            let others = match changes.replaced.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            bail!(
                "{} exists and differs{others}; nothing was installed. Look with diff {} {}, and write --replace to replace it",
                taken.to.display(),
                taken.to.display(),
                taken.from.display()
            );
        }
        Ok(changes)
    }

    /// Puts all in place; files that an application no longer has go.
    fn make(&self, place: &Place, folder: &Path) -> anyhow::Result<()> {
        if self.new.is_empty() && self.replaced.is_empty() {
            return Ok(());
        }
        let mut transaction = Transaction::begin(folder)?;
        for item in self.installed() {
            match &item.content {
                Content::Copy => transaction.copy(&item.to, &item.from, item.mode()?)?,
                Content::Link(target) => transaction.link(&item.to, target)?,
                Content::Text(text) | Content::Manifest(text) => {
                    transaction.text(&item.to, text, item.mode()?)?
                }
            }
        }
        for path in self.superseded(place) {
            transaction.remove(&path);
        }
        transaction.commit()
    }

    /// The files of replaced manifests that the new ones don't have.
    fn superseded(&self, place: &Place) -> Vec<PathBuf> {
        let applications = Applications::read(&place.roots);
        let mut files = Vec::new();
        for item in &self.replaced {
            let Content::Manifest(text) = &item.content else { continue };
            let (Some(old), Some(folder)) = (applications.listed_in(&item.to), item.to.parent()) else {
                continue;
            };
            let kept = |file: &&PathBuf| text.lines().any(|line| folder.join(line) == **file);
            files.extend(old.files.iter().filter(|file| !kept(file)).cloned());
        }
        files
    }

    /// The files that are written.
    fn installed(&self) -> impl Iterator<Item = &Item> {
        self.new.iter().chain(&self.replaced)
    }

    fn summary(&self) -> String {
        let counts =
            [(self.new.len(), "installed"), (self.replaced.len(), "replaced"), (self.unchanged, "unchanged")];
        let words =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Whether a place holds already what is to be put there.
fn same(item: &Item) -> bool {
    match &item.content {
        Content::Link(target) => fs::read_link(&item.to).is_ok_and(|old| old == *target),
        Content::Text(text) | Content::Manifest(text) => {
            fs::read(&item.to).is_ok_and(|old| old == text.as_bytes())
        }
        Content::Copy => match (fs::read(&item.to), fs::read(&item.from)) {
            (Ok(old), Ok(new)) => old == new,
            _ => false,
        },
    }
}

/// Says what to do next.
fn next(place: &Place, units: &[&CheckedUnit], reloaded: bool) {
    let systemctl = place.systemctl();
    let starts =
        |unit: &&&CheckedUnit| matches!(unit.kind, UnitType::Container | UnitType::Pod | UnitType::Kube);
    let names = units.iter().filter(starts).map(|unit| {
        let name = unit.service.trim_end_matches(".service");
        if name.ends_with('@') { format!("{name}INSTANCE") } else { name.to_owned() }
    });
    let mut commands = Vec::new();
    if !reloaded {
        commands.push(format!("{systemctl} daemon-reload"));
    }
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        commands.push(format!("{systemctl} start {}", names.join(" ")));
    }
    if !commands.is_empty() {
        eprintln!("Next: {}", commands.join(" && "));
    }
}
