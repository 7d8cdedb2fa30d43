//! `sampan artifact`: files from registries, which containers have mounted.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use sampan_image::{Artifact, PullOptions, Source, pull_artifact};
use serde_json::{Value, json};

use crate::blame::Blamed as _;
use crate::context::Context;
use crate::output::{self, Format, human};
use crate::progress::Shown;
use crate::pull::Access;
use crate::run::unit::Unit;
use crate::{Coded, containers_conf};

/// podman-artifact-rm(1) and its neighbours: there is no such artifact.
const MISSING: u8 = 1;

const COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.Size}}";

/// `sampan artifact pull|ls|inspect|rm`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Fetch an artifact from a registry
    Pull(Pull),
    /// List artifacts
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show all that is known of an artifact
    Inspect {
        /// json, or a Go template
        #[arg(long, short, value_name = "FORMAT")]
        format: Option<String>,
        /// Its name, or the beginning of its digest
        #[arg(value_name = "ARTIFACT")]
        name: String,
    },
    /// Remove artifacts
    Rm(Remove),
}

#[derive(Debug, clap::Args)]
struct Pull {
    #[command(flatten)]
    access: Access,
    /// Refused: artifacts are not decrypted
    #[arg(long, value_name = "KEY[:PASSPHRASE]", hide = true)]
    decryption_key: Option<String>,
    /// Print the digest alone
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quiet: Option<bool>,
    /// The artifact, with its registry
    #[arg(value_name = "ARTIFACT")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct List {
    /// json, or a Go template for each artifact
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole digests
    #[arg(long)]
    no_trunc: bool,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
    /// The digests alone
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// All artifacts
    #[arg(long, short)]
    all: bool,
    /// An artifact that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Names, or the beginnings of digests
    #[arg(value_name = "ARTIFACT", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Pull(options) => fetch(options, context, modules),
        Verb::Ls(options) => list(&options, context),
        Verb::Inspect { format, name } => inspect(&name, format.as_deref(), context),
        Verb::Rm(options) => remove(&options, context),
    }
}

fn fetch(mut options: Pull, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    options.access.complete(&containers_conf::load(modules)?.engine);
    if options.decryption_key.is_some() {
        let error =
            anyhow!("--decryption-key: artifacts are not decrypted here; use one that is not encrypted");
        return Err(error).blame("DecryptionKey", "");
    }
    let registries = context.registries()?;
    let policy = Context::policy()?;
    let source = Source::parse(&options.name, &registries)?;
    let credentials = options.access.credentials();
    let unit = Unit::current().filter(|unit| unit.listens);
    let shown = Shown::new(options.quiet == Some(true), unit.as_ref());
    let report = |progress: &_| shown.show(progress);
    let mut how = PullOptions::new(&registries, &policy);
    options.access.apply(credentials.as_ref(), &mut how)?;
    how.progress = &report;
    shown.begin(&options.name, how.patience());
    let artifact = pull_artifact(&context.store()?, &source, &how);
    shown.finish();
    let artifact = artifact.blame("Artifact", &options.name)?;
    println!("{}", artifact.digest.hex());
    Ok(ExitCode::SUCCESS)
}

/// The artifact of this name in the store.
///
/// # Errors
/// [`Coded`] with [`MISSING`] if there is none.
pub(crate) fn find(name: &str, context: &Context) -> anyhow::Result<Artifact> {
    let found = context.store()?.artifact(name, &context.registries()?)?;
    found.ok_or_else(|| {
        let message = format!("{name}: artifact does not exist: fetch it by `sampan artifact pull {name}`");
        Coded { code: MISSING, message }.into()
    })
}

fn size(artifact: &Artifact) -> u64 {
    artifact.files.iter().map(|file| file.size).sum()
}

fn list(options: &List, context: &Context) -> anyhow::Result<ExitCode> {
    let all = context.store()?.artifacts()?;
    let row = |artifact: &Artifact| {
        // The last colon behind the last slash is the tag's.
        let slash = artifact.name.rfind('/').unwrap_or(0);
        let (repository, tag) =
            match artifact.name[slash..].find(':').filter(|_| !artifact.name.contains('@')) {
                Some(colon) => artifact.name.split_at(slash + colon),
                None => (artifact.name.as_str(), ""),
            };
        let digest = artifact.digest.hex();
        json!({
            "Repository": repository,
            "Tag": tag.trim_start_matches(':'),
            "Name": artifact.name,
            "Digest": output::short_id(&digest, options.no_trunc),
            "Size": human::size(size(artifact)),
            "VirtualSize": size(artifact),
        })
    };
    if options.quiet && options.format.is_none() {
        let digests = all.iter().map(|artifact| artifact.digest.hex()).collect::<Vec<_>>();
        output::lines(digests.iter().map(|digest| output::short_id(digest, options.no_trunc)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = all.iter().map(row).collect();
    match Format::of(options.format.as_deref(), COLUMNS)? {
        Format::Json => output::json(&rows)?,
        Format::Listing(listing) => listing.print(rows, !options.noheading, &[])?,
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect(name: &str, format: Option<&str>, context: &Context) -> anyhow::Result<ExitCode> {
    let artifact = find(name, context)?;
    let files = artifact.files.iter().map(|file| {
        json!({
            "mediaType": file.media_type,
            "digest": file.digest.to_string(),
            "size": file.size,
            "annotations": file.annotations,
        })
    });
    let shown = json!({
        "Name": artifact.name,
        "Digest": artifact.digest.to_string(),
        "Manifest": {
            "schemaVersion": 2,
            "artifactType": artifact.kind,
            "annotations": artifact.annotations,
            "layers": files.collect::<Vec<_>>(),
        },
    });
    match output::template_or_json(format) {
        None => output::json(&shown)?,
        Some(format) => output::Listing::parse(format)?.print(vec![shown], false, &[])?,
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(options: &Remove, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let names = match options.all {
        true => store.artifacts()?.into_iter().map(|artifact| artifact.name).collect(),
        false => options.names.clone(),
    };
    output::each(&names, |name| {
        let found = store.artifact(name, &context.registries()?)?;
        if found.is_none() && options.ignore {
            return Ok(());
        }
        let artifact = found.map_or_else(|| find(name, context), Ok)?;
        // A container that has files of it mounted keeps them: what has no name any more is still there.
        store.remove_artifact(&artifact)?;
        output::lines([artifact.digest.hex()])
    })
}
