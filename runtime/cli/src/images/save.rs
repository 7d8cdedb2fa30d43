//! `sampan save` and `sampan load`: images as files.

use std::fs::{File, Permissions};
use std::io::{BufWriter, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use sampan_image::{
    Input, PullOptions, Reference, SaveFormat, SaveOptions, Saved, Store, load, save_archive, save_directory,
};

use crate::context::Context;
use crate::output;
use crate::progress::Shown;

/// `sampan save [options] IMAGE [NAME…]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Compress layers; docker-dir only, those of OCI's formats are unless --uncompressed says otherwise
    #[arg(long)]
    compress: bool,
    /// What is written
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Format,
    /// All arguments are images, not further names of the first; docker-archive only
    #[arg(long, short)]
    multi_image_archive: bool,
    /// The file or directory to write; else standard output
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Accepted for scripts: nothing is said that it could silence
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// Do not compress layers; OCI's formats only, those of the others are not
    #[arg(long, conflicts_with = "compress")]
    uncompressed: bool,
    /// The image, and names that it has in the archive besides
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// The formats, by Podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
    OciDir,
    DockerDir,
}

impl Format {
    fn is_directory(self) -> bool {
        matches!(self, Format::OciDir | Format::DockerDir)
    }

    fn of_the_store(self) -> SaveFormat {
        match self {
            Format::DockerArchive => SaveFormat::DockerArchive,
            Format::OciArchive => SaveFormat::OciArchive,
            Format::OciDir => SaveFormat::OciDirectory,
            Format::DockerDir => SaveFormat::DockerDirectory,
        }
    }
}

/// `sampan load [options]`
#[derive(Debug, clap::Args)]
pub(crate) struct LoadOptions {
    /// The archive or directory to read; else standard input
    #[arg(long, short, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Writes images.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    check(options)?;
    let store = context.store()?;
    let images = images(options, &store, context)?;
    let compress = match options.format {
        Format::OciArchive | Format::OciDir => !options.uncompressed,
        Format::DockerDir => options.compress,
        Format::DockerArchive => false,
    };
    let how = SaveOptions { format: options.format.of_the_store(), compress };
    match &options.output {
        Some(path) if options.format.is_directory() => into_directory(&store, &images[0], how, path)?,
        Some(path) => into_file(&store, &images, how, path)?,
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            save_archive(&store, &images, how, &mut out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What can't be done, before anything is.
fn check(options: &Options) -> anyhow::Result<()> {
    let format = options.format;
    if options.output.is_none() {
        ensure!(!format.is_directory(), "a directory can't go to standard output: say where with --output");
        ensure!(
            !std::io::stdout().is_terminal(),
            "an archive is nothing for a terminal: use --output, or redirect standard output"
        );
    }
    ensure!(
        !options.compress || format == Format::DockerDir,
        "--compress is for --format docker-dir; oci-archive and oci-dir are compressed anyway, docker-archive never is"
    );
    ensure!(
        !options.uncompressed || matches!(format, Format::OciArchive | Format::OciDir),
        "--uncompressed is for --format oci-archive and oci-dir; the others are not compressed anyway"
    );
    if options.images.len() > 1 && format != Format::DockerArchive {
        bail!("only --format docker-archive has room for several images or names");
    }
    Ok(())
}

fn images(options: &Options, store: &Store, context: &Context) -> anyhow::Result<Vec<Saved>> {
    let registries = context.registries()?;
    let find = |name: &String| -> anyhow::Result<Saved> {
        let found = store.find_named(name, &registries)?;
        let (image, by_name) = found.with_context(|| format!("{name}: image not known"))?;
        Ok(Saved { image, names: by_name.into_iter().collect() })
    };
    if options.multi_image_archive {
        let mut images: Vec<Saved> = Vec::new();
        for saved in options.images.iter().map(find) {
            let saved = saved?;
            // One image by two of its names is there once.
            match images.iter_mut().find(|other| other.image.id == saved.image.id) {
                Some(other) => other.names.extend(saved.names),
                None => images.push(saved),
            }
        }
        return Ok(images);
    }
    let mut saved = find(&options.images[0])?;
    for name in &options.images[1..] {
        let name = Reference::parse_local(name)?;
        ensure!(name.digest().is_none(), "{name}: a name in an archive cannot have a digest");
        saved.names.push(name.to_string());
    }
    Ok(vec![saved])
}

/// Writes a file that is complete before it has its name. What is no regular file is written as it is.
fn into_file(store: &Store, images: &[Saved], how: SaveOptions, path: &Path) -> anyhow::Result<()> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        ensure!(!path.is_dir(), "{} is a directory", path.display());
        let file = File::options().write(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        return Ok(save_archive(store, images, how, &mut BufWriter::new(file))?);
    }
    let parent = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(".sampan-save.")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(parent)
        .with_context(|| format!("making a file in {}", parent.display()))?;
    let mut out = BufWriter::new(file.as_file_mut());
    save_archive(store, images, how, &mut out)?;
    out.flush().with_context(|| format!("writing {}", path.display()))?;
    drop(out);
    file.persist(path).with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}

/// Writes a directory that is complete before it has its name.
fn into_directory(store: &Store, image: &Saved, how: SaveOptions, path: &Path) -> anyhow::Result<()> {
    let is_free = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    ensure!(is_free, "{} is there already: remove it, or choose another place", path.display());
    let parent = parent(path);
    let directory = tempfile::Builder::new()
        .prefix(".sampan-save.")
        .tempdir_in(parent)
        .with_context(|| format!("making a directory in {}", parent.display()))?;
    save_directory(store, image, how, directory.path())?;
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))
        .and_then(|()| std::fs::rename(directory.path(), path))
        .with_context(|| format!("writing {}", path.display()))?;
    let _ = directory.keep();
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads images.
pub(crate) fn read(options: &LoadOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let registries = context.registries()?;
    let policy = Context::policy()?;
    let store = context.store()?;
    let bar = Shown::new(options.quiet, None);
    let report = |progress: &_| bar.show(progress);
    let mut how = PullOptions::new(&registries, &policy);
    how.progress = &report;
    let mut stdin = std::io::stdin();
    let input = match &options.input {
        Some(path) => Input::Path(path),
        None => {
            ensure!(
                !stdin.is_terminal(),
                "a terminal sends no archive: use --input, or redirect standard input"
            );
            Input::Stream(&mut stdin)
        }
    };
    let loaded = load(&store, input, &how)?;
    bar.finish();
    output::lines(loaded.iter().flat_map(|one| match &one.names[..] {
        [] => vec![format!("Loaded image: sha256:{}", one.image.id)],
        names => names.iter().map(|name| format!("Loaded image: {name}")).collect(),
    }))?;
    Ok(ExitCode::SUCCESS)
}
