//! `sampan build`: buildah builds, the result is an image of our store.
//!
//! buildah keeps its own store (base images, cached layers) below `build` of ours, apart from Podman's. It runs the
//! RUN instructions by `sampan-runtime`, in a network namespace that we have connected to networks of ours. What it
//! has built is handed over as an OCI layout in a temporary directory, and comes in as every other image does.

mod network;
mod options;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, anyhow, bail, ensure};
use sampan_image::{Image, Policy, PullOptions, Reference, Source};

use self::network::Network;
pub(crate) use self::options::Options;
use crate::blame::Blamed as _;
use crate::containers_conf;
use crate::context::Context;
use crate::run::mounts::{self, Source as Mounted};

const PROGRAM: &str = "buildah";
/// Overrides `--runtime`, as in buildah(1).
const RUNTIME: &str = "BUILDAH_RUNTIME";

/// Names a further file for buildah, containers.conf(5).
const OVERRIDE: &str = "CONTAINERS_CONF_OVERRIDE";

/// Builds an image and prints its identifier.
pub(crate) fn run(options: &Options, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let tags = options.tags.iter().map(|tag| full_name(tag).blame("ImageTag", tag));
    let tags = tags.collect::<anyhow::Result<Vec<_>>>()?;
    let places = Places::make(context)?;
    let network = Network::prepare(options, &tags, context)?;
    let built = command(options, &tags, &network, &places, context).and_then(|mut command| {
        if let Some(module) = module(modules)? {
            command.env(OVERRIDE, module);
        }
        execute(command)
    });
    network.release(context)?;
    built?;

    let image = import(&places, context)?;
    let store = context.store()?;
    for tag in &tags {
        store.tag(&image, tag)?;
    }
    if let Some(path) = &options.iidfile {
        let text = format!("sha256:{}", image.id);
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{}", image.id);
    Ok(ExitCode::SUCCESS)
}

/// The file that `ContainersConfModule=` names. buildah has no modules, but reads one file more than the usual ones.
fn module(modules: &[PathBuf]) -> anyhow::Result<Option<PathBuf>> {
    match modules {
        [] => Ok(None),
        [module] => containers_conf::find_module(module).map(Some).blame("ContainersConfModule", ""),
        [_, second, ..] => {
            Err(anyhow!("buildah reads one containers.conf module: put {} into the other", second.display()))
                .blame("ContainersConfModule", second.display().to_string())
        }
    }
}

/// The command that builds.
fn command(
    options: &Options,
    tags: &[Reference],
    network: &Network,
    places: &Places,
    context: &Context,
) -> anyhow::Result<Command> {
    let mut build = buildah(places);
    build.arg("build").arg(path_option("--iidfile=", &places.identifier()));
    if std::env::var_os(RUNTIME).is_none() {
        build.arg(path_option("--runtime=", &runtime()?));
    }
    // Of several layers only the new ones are written again.
    if !options.passed.iter().any(|option| option.starts_with("--layers")) {
        build.arg("--layers");
    }
    build.args(network.options()).args(volumes(options, context)?).args(&options.passed);
    build.args(tags.iter().map(|tag| format!("--tag={tag}")));
    build.args(&options.context);
    Ok(build)
}

/// A name of its own for the image: without a registry it is this machine's, as Podman has it.
pub(crate) fn full_name(tag: &str) -> anyhow::Result<Reference> {
    let has_registry =
        tag.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']));
    let full = if has_registry { tag.to_owned() } else { format!("localhost/{tag}") };
    let reference = Reference::parse(&full)?;
    ensure!(reference.digest().is_none(), "{tag}: a name to give can't have a digest");
    Ok(reference)
}

/// Where buildah keeps its things, and what it hands over.
struct Places {
    root: PathBuf,
    runroot: PathBuf,
    scratch: tempfile::TempDir,
}

impl Places {
    fn make(context: &Context) -> anyhow::Result<Self> {
        let root = context.root().join("build");
        std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        // Beside the store: /tmp may be memory, and images are large.
        let scratch = tempfile::Builder::new().prefix("handover.").tempdir_in(&root);
        let scratch = scratch.with_context(|| format!("making a directory in {}", root.display()))?;
        Ok(Self { root, runroot: context.runroot().join("build"), scratch })
    }

    /// The file with the identifier of what was built.
    fn identifier(&self) -> PathBuf {
        self.scratch.path().join("id")
    }
}

/// buildah on its own store.
fn buildah(places: &Places) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--root").arg(&places.root).arg("--runroot").arg(&places.runroot);
    command
}

fn path_option(option: &str, path: &Path) -> OsString {
    let mut word = OsString::from(option);
    word.push(path);
    word
}

/// `sampan-runtime`, beside this program.
fn runtime() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    Ok(own.with_file_name("sampan-runtime"))
}

fn execute(mut command: Command) -> anyhow::Result<()> {
    let status = match command.status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{PROGRAM} is not installed, and sampan build needs it: `dnf install {PROGRAM}` or `apt-get install {PROGRAM}`"
        ),
        status => status.with_context(|| format!("running {PROGRAM}"))?,
    };
    ensure!(status.success(), "{PROGRAM} has failed ({status}): its own messages say why");
    Ok(())
}

/// `--volume` with names of our volumes resolved to their directories.
fn volumes(options: &Options, context: &Context) -> anyhow::Result<Vec<String>> {
    let volume = |text: &String| {
        let asked = mounts::volume(text).blame("Volume", text)?;
        let source = match asked.source {
            Mounted::Volume(name) => {
                let volume = context.volumes().open_or_create(&name)?;
                ensure!(volume.backing().is_none(), "the volume {name} is mounted from elsewhere");
                volume.data()
            }
            Mounted::Bind(path) => path,
            _ => return Err(anyhow!("write SOURCE:DESTINATION[:OPTIONS]")).blame("Volume", text),
        };
        let rest = text.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
        Ok(format!("--volume={}:{rest}", source.display()))
    };
    options.volumes.iter().map(volume).collect()
}

/// Brings what buildah has built into our store. buildah has checked the policy for what it is made of.
fn import(places: &Places, context: &Context) -> anyhow::Result<Image> {
    let id = std::fs::read_to_string(places.identifier());
    let id = id.with_context(|| format!("{PROGRAM} has not said what it has built"))?;
    let layout = places.scratch.path().join("image");
    let mut push = buildah(places);
    push.args(["push", "--quiet", "--disable-compression", id.trim()]);
    push.arg(path_option("oci:", &layout));
    execute(push)?;
    let (registries, policy) = (context.registries()?, Policy::accept_anything());
    let source = Source::parse(&format!("oci:{}", layout.display()), &registries)?;
    let image = sampan_image::pull(&context.store()?, &source, &PullOptions::new(&registries, &policy));
    image.context("taking the built image into the store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_registry_are_this_machines() {
        let full = |tag| full_name(tag).unwrap().to_string();
        assert_eq!(full("app"), "localhost/app:latest");
        assert_eq!(full("team/app:1"), "localhost/team/app:1");
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("quay.io/team/app:1"), "quay.io/team/app:1");
        assert!(full_name("A b").is_err());
    }
}
