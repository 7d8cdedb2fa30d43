//! The table of commands and options. Names and meanings are runc's; what isn't done is refused, not ignored.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sampan_container::state::Containers;

/// Where the containers of this command line are, apart from those of `sampan run`.
const DEFAULT_ROOT: &str = "/run/sampan/runtime";

/// An OCI runtime: creates and runs containers from bundles.
#[derive(Debug, Parser)]
#[command(name = "sampan-runtime", version = VERSION, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Of this program, and of the OCI runtime specification ([`sampan_container::defaults::OCI_VERSION`]).
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1");

/// Options of all commands.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Directory for the state of containers
    #[arg(long, global = true, default_value = DEFAULT_ROOT)]
    pub(crate) root: PathBuf,
    /// File that errors are written to, besides standard error
    #[arg(long, global = true)]
    pub(crate) log: Option<PathBuf>,
    /// Format of that file
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Directory for compiled system call filters
    #[arg(long, global = true, default_value = sampan_container::seccomp::DEFAULT_CACHE)]
    pub(crate) seccomp_cache: PathBuf,
    /// Write debug messages, too
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    /// Make cgroups through systemd
    #[arg(long, global = true)]
    systemd_cgroup: bool,
    /// Who makes cgroups: cgroupfs, systemd or disabled
    #[arg(long, global = true, value_enum)]
    cgroup_manager: Option<CgroupManager>,
    /// Run without root's privileges: true, false or auto
    #[arg(long, global = true, default_value = "auto")]
    rootless: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

impl Global {
    /// Refuses what this runtime doesn't do.
    pub(crate) fn check(&self) -> Result<()> {
        if self.systemd_cgroup || self.cgroup_manager == Some(CgroupManager::Systemd) {
            bail!(
                "the systemd cgroup driver can't be used by sampan-runtime: choose cgroupfs (podman: --cgroup-manager=cgroupfs; containerd: SystemdCgroup = false)"
            );
        }
        if !["auto", "false"].contains(&self.rootless.as_str()) {
            bail!("--rootless={}: sampan-runtime runs as root", self.rootless);
        }
        Ok(())
    }

    /// Whether containers get a cgroup of their own.
    pub(crate) fn makes_cgroups(&self) -> bool {
        self.cgroup_manager != Some(CgroupManager::Disabled)
    }

    pub(crate) fn containers(&self) -> Result<Containers> {
        Ok(Containers::open(&self.root)?)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a container; its program waits for `start`
    Create(Create),
    /// Create a container, start it, wait for its end and delete it
    Run(Run),
    /// Start the program of a created container
    Start { id: String },
    /// Print the state of a container as the OCI runtime specification says
    State { id: String },
    /// List containers
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Print what this runtime can do
    Features,
    /// Write a config.json with default values
    Spec(SpecOptions),
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Freeze all processes of a container
    Pause { id: String },
    /// Thaw all processes of a container
    Resume { id: String },
    /// Delete a stopped container
    Delete(Delete),
    /// Run a further program in a running container
    Exec(Box<Exec>),
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Name of the container
    pub(crate) id: String,
    /// Directory of the bundle
    #[arg(short, long, default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// Unix socket that the master of the container's terminal is sent to
    #[arg(long)]
    pub(crate) console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long)]
    pub(crate) pid_file: Option<PathBuf>,
    /// Lock the container into its root by chroot instead of pivot_root
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// Pass on this many descriptors from 3 on (and those of $LISTEN_FDS)
    #[arg(long, default_value_t = 0)]
    pub(crate) preserve_fds: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) create: Create,
    /// Do not wait for the container's end
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do not delete the container at its end
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) format: ListFormat,
    /// Print names only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// Name of the container
    pub(crate) id: String,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct SpecOptions {
    /// Directory to write config.json to
    #[arg(short, long, default_value = ".")]
    pub(crate) bundle: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// Name of the container
    pub(crate) id: String,
    /// Signal by name or number
    #[arg(default_value = "SIGTERM")]
    pub(crate) signal: String,
    /// Send it to all processes of the container
    #[arg(short, long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Name of the container
    pub(crate) id: String,
    /// Kill the container first if it runs; it is no error if it doesn't exist
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Unix socket that the master of the terminal is sent to
    #[arg(long)]
    pub(crate) console_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long)]
    pub(crate) cwd: Option<PathBuf>,
    /// Environment variable (KEY=VALUE)
    #[arg(short, long)]
    pub(crate) env: Vec<String>,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// User: UID or UID:GID
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Supplementary group id
    #[arg(short = 'g', long)]
    pub(crate) additional_gids: Vec<u32>,
    /// File with the process as JSON (the object `process` of a Spec)
    #[arg(short, long)]
    pub(crate) process: Option<PathBuf>,
    /// Do not wait for the end
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// File that the process id is written to
    #[arg(long)]
    pub(crate) pid_file: Option<PathBuf>,
    /// SELinux label of the program
    #[arg(long)]
    pub(crate) process_label: Option<String>,
    /// AppArmor profile of the program
    #[arg(long)]
    pub(crate) apparmor: Option<String>,
    /// Set no_new_privs
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// Capability to add to the bounding, effective and permitted set
    #[arg(short, long)]
    pub(crate) cap: Vec<String>,
    /// Pass on this many descriptors from 3 on
    #[arg(long, default_value_t = 0)]
    pub(crate) preserve_fds: u32,
    /// Run in this cgroup, below the container's
    #[arg(long)]
    pub(crate) cgroup: Option<String>,
    /// Name of the container
    pub(crate) id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}
