//! `sampan`: the command line. Each command is a file of its own; this one only tells them apart.

mod artifact;
mod auto_update;
mod blame;
mod build;
mod check;
mod containers_conf;
mod context;
mod dhcp;
mod doctor;
mod exec;
mod fmt;
mod healthcheck;
mod holders;
mod images;
mod inspect;
mod kill;
mod kube;
mod logging;
mod login;
mod logs;
mod lsp;
mod man;
mod namespace;
mod network;
mod on_demand;
mod output;
mod pod;
mod port;
mod progress;
mod prompt;
mod ps;
mod pull;
mod quadlet;
mod release;
mod replacement;
mod rm;
mod run;
mod schema;
mod service;
mod settings;
mod stop;
mod system;
mod terminal;
mod timer;
mod users;
#[cfg(test)]
mod vocabulary;
mod volume;
mod volumes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::context::Context;

/// What Podman exits with when the fault is its own and not the container's.
const OWN_FAULT: u8 = 125;

/// Containers as systemd services.
// The last one of an option counts, as in Podman: PodmanArgs= may say something else than a key.
#[derive(Debug, Parser)]
#[command(name = "sampan", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(args_override_self = true)]
struct CommandLine {
    /// Where images, volumes and writable layers are kept
    #[arg(long, value_name = "DIR", default_value = context::DEFAULT_ROOT)]
    root: PathBuf,
    /// Where the state of running containers is kept (a tmpfs)
    #[arg(long, value_name = "DIR", default_value = context::DEFAULT_RUNROOT)]
    runroot: PathBuf,
    /// Also read this containers.conf(5) module (a path, or a name below containers.conf.modules)
    #[arg(long = "module", value_name = "FILE")]
    modules: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program in a new container
    Run(Box<run::Options>),
    /// List containers
    Ps(ps::Options),
    /// Show all that is known of containers, images, networks or volumes
    Inspect(inspect::Options),
    /// Run another program in a running container
    Exec(exec::Options),
    /// Show what containers wrote to the journal
    Logs(logs::Options),
    /// Stop containers
    Stop(stop::Options),
    /// Send a signal to containers
    Kill(kill::Options),
    /// Remove containers, or unit files
    Rm(rm::Options),
    /// Fetch an image
    Pull(pull::Options),
    /// Log in to a registry
    Login(login::Options),
    /// Log out from a registry
    Logout(login::LogoutOptions),
    /// Build an image from a Containerfile, by buildah
    Build(Box<build::Options>),
    /// Give services the images that their names lead to now
    ///
    /// Updates the containers that run with AutoUpdate= in their .container or .kube file (the label
    /// io.containers.autoupdate). With registry the registry is asked whether the name has another digest by now, one
    /// request for each name, and the image is fetched, once for all that use it; with local the name has to lead to
    /// another image in the store, one that was built or pulled meanwhile. Their services are restarted one after the
    /// other, those of containers in a pod by the pod's.
    ///
    /// A service has to prove that it runs with the new image: it has to become ready, and healthy if the container has
    /// a health check; without one it has to run for 10 seconds. If it doesn't, the name is returned to the previous
    /// image, all services that were restarted for it are restarted again, and the list says "rolled back". The image
    /// that was taken back isn't tried again; the next one is. To try the same one again, pull it: sampan pull NAME.
    ///
    /// An update that was killed is brought to its end by the next one. The outcome for each service is in the journal
    /// too, with the fields SAMPAN_AUTO_UPDATE, IMAGE_NAME and CONTAINER_NAME, and shows in journalctl -u of the service.
    ///
    /// The timer sampan-auto-update.timer calls this daily: systemctl enable --now sampan-auto-update.timer.
    AutoUpdate(auto_update::Options),
    /// List images
    Images(images::Options),
    /// Remove images
    Rmi(images::RemoveOptions),
    /// Show how an image was made, the last step first
    History(images::HistoryOptions),
    /// Give an image further names
    Tag(images::TagOptions),
    /// Take names away from an image
    Untag(images::UntagOptions),
    /// Write images into an archive or directory
    Save(images::SaveOptions),
    /// Read images from an archive or directory
    Load(images::LoadOptions),
    /// Work on images
    Image(images::Command),
    /// Work on artifacts: files that containers have mounted
    Artifact(artifact::Command),
    /// Work on networks
    Network(network::Command),
    /// Show the published ports of containers
    Port(port::Options),
    /// Work on what sampan keeps: how much there is, what can go, whether it is whole
    System(system::Command),
    /// Work on volumes
    Volume(volume::Command),
    /// Work on pods: containers that share a network, /dev/shm and a host name
    Pod(pod::Command),
    /// Say what is wrong with Quadlet files, and what to write instead
    Check(Box<check::Options>),
    /// Say what on this host stands in the way of containers, and what to do
    Doctor(doctor::Options),
    /// Play Kubernetes YAML
    Kube(kube::Command),
    /// Check the health of a container
    Healthcheck(healthcheck::Command),
    /// Write Quadlet files in one style
    Fmt(fmt::Options),
    /// List unit files
    List(quadlet::list::Options),
    /// Show unit files with their drop-ins
    Cat(quadlet::cat::Options),
    /// Print the units that a unit file becomes
    Generate(quadlet::generate::Options),
    /// Show what a reload of systemd would change
    Diff(quadlet::diff::Options),
    /// Check unit files and put them in place
    Install(quadlet::install::Options),
    /// Work on unit files, with the names that podman quadlet has
    Quadlet(quadlet::Command),
    /// Serve an editor that has Quadlet files open
    Lsp(lsp::Options),
    /// Print the JSON schema of unit files
    Schema(schema::Options),
    /// What generated units call when they stop
    #[command(hide = true)]
    Service(service::Command),
    /// Write a completion script for a shell to standard output
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory, which must exist
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    // Of a unit with UMask=0077, or containers could not read their own hosts file.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let arguments = CommandLine::parse();
    logging::begin();
    let context = Context::new(arguments.root, arguments.runroot);
    match dispatch(arguments.command, &context, &arguments.modules) {
        Ok(code) => code,
        Err(error) => {
            blame::report(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(command: Command, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(options) => run::run(*options, context, modules),
        Command::Ps(options) => ps::run(options, context),
        Command::Inspect(options) => inspect::run(options, context),
        Command::Exec(options) => exec::run(options, context),
        Command::Logs(options) => logs::run(options, context),
        Command::Stop(options) => stop::run(options, context),
        Command::Kill(options) => kill::run(options, context),
        Command::Rm(options) => rm::run(options, context),
        Command::Pull(options) => pull::run(options, context, modules),
        Command::Login(options) => login::run(&options, context),
        Command::Logout(options) => login::logout(&options, context),
        Command::Build(options) => build::run(&options, context, modules),
        Command::AutoUpdate(options) => auto_update::run(options, context),
        Command::Images(options) => images::run(options, context),
        Command::Rmi(options) => images::remove(options, context),
        Command::History(options) => images::history(&options, context),
        Command::Tag(options) => images::tag(&options, context),
        Command::Untag(options) => images::untag(&options, context),
        Command::Save(options) => images::save(&options, context),
        Command::Load(options) => images::load(&options, context),
        Command::Image(command) => images::command(command, context, modules),
        Command::Artifact(command) => artifact::command(command, context, modules),
        Command::Network(command) => network::command(command, context),
        Command::Port(options) => port::run(&options, context),
        Command::System(command) => system::command(command, context),
        Command::Volume(command) => volume::command(command, context),
        Command::Pod(command) => pod::command(command, context, modules),
        Command::Check(options) => check::run(*options, context),
        Command::Doctor(options) => doctor::run(&options, context),
        Command::Kube(command) => kube::command(command, context, modules),
        Command::Healthcheck(command) => healthcheck::command(command, context),
        Command::Fmt(options) => fmt::run(options),
        Command::List(options) => quadlet::list::run(options),
        Command::Cat(options) => quadlet::cat::run(options),
        Command::Generate(options) => quadlet::generate::run(options),
        Command::Diff(options) => quadlet::diff::run(options),
        Command::Install(options) => quadlet::install::run(options),
        Command::Quadlet(command) => quadlet::command(command),
        Command::Lsp(options) => lsp::run(&options),
        Command::Schema(options) => schema::run(options),
        Command::Service(command) => service::command(command, context),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut CommandLine::command(), "sampan", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => {
            man::write(&directory, CommandLine::command())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// An error that knows its exit code, where Podman's scripts expect another one than 125.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Coded {
    /// What `$?` will be.
    pub(crate) code: u8,
    /// What is printed after `Error: `.
    pub(crate) message: String,
}

fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<Coded>()).map_or(OWN_FAULT, |coded| coded.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_options_or_groups_of_a_command_have_one_name() {
        CommandLine::command().debug_assert();
    }
}
