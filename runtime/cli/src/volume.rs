//! `sampan volume`: makes, shows and removes named volumes.

use std::collections::BTreeMap;
use std::process::ExitCode;

use sampan_container::state::{ContainerDir, State};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Coded;
use crate::context::Context;
use crate::output::filter::{Filters, matches};
use crate::output::{self, Format};
use crate::users;
use crate::volumes::{Config, Volume};

/// podman-volume-rm(1), "Exit Status": there is no such volume.
const MISSING: u8 = 1;
/// The same: a container uses it.
const IN_USE: u8 = 2;

/// `sampan volume create|ls|inspect|rm|exists|prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a volume
    Create(Create),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show all that is known of volumes
    Inspect(Inspect),
    /// Remove volumes with all that is in them
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Exit with 0 if there is such a volume, with 1 if not
    Exists {
        /// The volume
        name: String,
    },
    /// Remove all volumes that no container uses
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The driver: local
    #[arg(long, short, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// What is mounted: type=, device= and o= as in mount(8); copy, nocopy
    #[arg(long, short, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Note something about the volume
    #[arg(long, short, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// A volume that exists is no error
    #[arg(long)]
    ignore: bool,
    /// The user who owns the data
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// The group that owns the data
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,
    /// Its name; without one, 64 random hexadecimal digits
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only some: name=, label=, driver=, dangling=true|false
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a Go template for each volume
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<String>,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
    /// The names alone
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// All volumes
    #[arg(long, short)]
    all: bool,
    /// json, or a Go template for each volume
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// Their names
    #[arg(value_name = "VOLUME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// All volumes
    #[arg(long, short)]
    all: bool,
    /// Also stop and remove the containers that use them; one that doesn't exist is no error
    #[arg(long, short)]
    force: bool,
    /// Their names
    #[arg(value_name = "VOLUME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Prune {
    /// Only some: label=
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    force: bool,
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Create(options) => create(options, context),
        Verb::Ls(options) => list(&options, context),
        Verb::Inspect(options) => inspect(&options, context),
        Verb::Rm(options) => remove(&options, context),
        Verb::Exists { name } => {
            let exists = context.volumes().find(&name)?.is_some();
            Ok(ExitCode::from(u8::from(!exists)))
        }
        Verb::Prune(options) => prune(&options, context),
    }
}

fn create(options: Create, context: &Context) -> anyhow::Result<ExitCode> {
    let volumes = context.volumes();
    let name = match options.name {
        Some(name) => name,
        None => random_name()?,
    };
    let config = Config {
        name,
        driver: options.driver,
        labels: output::assignments(&options.label),
        options: output::assignments(&options.opt),
        uid: options.uid,
        gid: options.gid,
    };
    let existing = if options.ignore { volumes.find(&config.name)? } else { None };
    let volume = match existing {
        Some(volume) => volume,
        None => match volumes.create(&config) {
            // Someone else was first.
            Err(error) if options.ignore => volumes.find(&config.name)?.ok_or(error)?,
            other => other?,
        },
    };
    output::lines([volume.name()])?;
    Ok(ExitCode::SUCCESS)
}

fn random_name() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A volume with Podman's field names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    driver: &'a str,
    mountpoint: String,
    created_at: &'a str,
    labels: &'a BTreeMap<String, String>,
    scope: &'static str,
    options: &'a BTreeMap<String, String>,
    #[serde(rename = "UID")]
    uid: u32,
    #[serde(rename = "GID")]
    gid: u32,
    mount_count: usize,
    needs_copy_up: bool,
    needs_chown: bool,
}

/// A volume as `inspect` shows it.
pub(crate) fn shown(volume: &Volume) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(Shown::new(volume))?)
}

impl<'a> Shown<'a> {
    fn new(volume: &'a Volume) -> Self {
        let (uid, gid) = volume.owner();
        Self {
            name: volume.name(),
            driver: volume.driver(),
            mountpoint: volume.data().display().to_string(),
            created_at: volume.created(),
            labels: volume.labels(),
            scope: "local",
            options: volume.options(),
            uid,
            gid,
            mount_count: 0,
            needs_copy_up: std::fs::read_dir(volume.data()).is_ok_and(|mut entries| entries.next().is_none()),
            needs_chown: false,
        }
    }
}

fn in_use(volume: &Volume, context: &Context) -> anyhow::Result<Vec<(ContainerDir, State)>> {
    users::of(context, |state| state.mounts.iter().any(|mount| mount.name.as_deref() == Some(volume.name())))
}

fn list(options: &List, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["name", "label", "driver", "dangling"])?;
    let mut volumes = context.volumes().list()?;
    volumes.retain(|volume| {
        filters.any("name", |name| matches(volume.name(), name))
            && filters.any("driver", |driver| volume.driver() == driver)
            && filters.labels(volume.labels())
    });
    if filters.has("dangling") {
        let mut kept = Vec::new();
        for volume in volumes {
            let dangling = in_use(&volume, context)?.is_empty();
            if filters.any("dangling", |wanted| wanted == dangling.to_string()) {
                kept.push(volume);
            }
        }
        volumes = kept;
    }
    if options.quiet {
        output::lines(volumes.iter().map(Volume::name))?;
        return Ok(ExitCode::SUCCESS);
    }
    match Format::of(options.format.as_deref(), "{{.Driver}}\t{{.Name}}")? {
        Format::Json => output::json(&volumes.iter().map(Shown::new).collect::<Vec<_>>())?,
        Format::Listing(listing) => {
            let mut rows = Vec::new();
            for volume in &volumes {
                let mut row = shown(volume)?;
                row["Label"] = row["Labels"].take();
                row["Labels"] = json!(output::pairs(volume.labels()));
                rows.push(row);
            }
            listing.print(rows, !options.noheading, &[("Name", "VOLUME NAME")])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect(options: &Inspect, context: &Context) -> anyhow::Result<ExitCode> {
    let volumes = context.volumes();
    let found = match options.all {
        true => volumes.list()?,
        false => options.names.iter().map(|name| volumes.get(name)).collect::<Result<_, _>>()?,
    };
    let all = found.iter().map(shown).collect::<anyhow::Result<Vec<_>>>()?;
    match output::template_or_json(options.format.as_deref()) {
        None => output::json(&found.iter().map(Shown::new).collect::<Vec<_>>())?,
        Some(format) => output::Listing::parse(format)?.print(all, false, &[])?,
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(options: &Remove, context: &Context) -> anyhow::Result<ExitCode> {
    let names = match options.all {
        true => context.volumes().list()?.iter().map(|volume| volume.name().to_owned()).collect(),
        false => options.names.clone(),
    };
    output::each(&names, |name| remove_one(name, options.force, context))
}

fn remove_one(name: &str, force: bool, context: &Context) -> anyhow::Result<()> {
    let volumes = context.volumes();
    let volume = match volumes.get(name) {
        Ok(volume) => volume,
        Err(error) if force && error.to_string().contains("no such volume") => return Ok(()),
        Err(error) => return Err(Coded { code: MISSING, message: format!("{error:#}") }.into()),
    };
    let users = in_use(&volume, context)?;
    if !users.is_empty() && !force {
        let message = format!(
            "volume {} is being used by the following container(s): {}: volume is being used",
            volume.name(),
            users::ids(&users).join(", ")
        );
        return Err(Coded { code: IN_USE, message }.into());
    }
    users::remove(context, users, None)?;
    volumes.remove(&volume)?;
    output::lines([name])
}

fn prune(options: &Prune, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["label"])?;
    let question = "WARNING! This will remove all volumes not used by at least one container.";
    if !options.force && !output::confirm(question)? {
        return Ok(ExitCode::SUCCESS);
    }
    let volumes = context.volumes();
    for volume in volumes.list()? {
        if filters.labels(volume.labels()) && in_use(&volume, context)?.is_empty() {
            volumes.remove(&volume)?;
            output::lines([volume.name()])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
