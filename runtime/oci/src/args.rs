//! The table of commands and options: runc's, and those of crun that Podman passes. `table` says how an entry is
//! written, `read` how a command line is read by them, `help` makes texts of them. What isn't done is refused,
//! not ignored; the few options that need nothing to be done say so.

pub(crate) mod help;
mod read;
#[macro_use]
pub(crate) mod table;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sampan_container::state::{ContainerDir, Containers};

use crate::events::Interval;
use crate::update::Size;

pub(crate) use read::read;

/// Where the containers of this command line are, apart from those of `sampan run`.
const DEFAULT_ROOT: &str = "/run/sampan/runtime";

/// The same below the directory of an unprivileged user (`$XDG_RUNTIME_DIR`).
const USER_ROOT: &str = "sampan-runtime";

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Run(Command),
    Help(Option<String>),
    Version,
}

commands! {
    "create" Create(Create), "Create a container; its program waits for start";
    "run" Run(Run), "Create a container, start it, wait for its end and delete it";
    "start" Start(Id), "Start the program of a created container";
    "state" State(Id), "Print the state of a container as the OCI runtime specification says";
    "list" List(List), "List containers";
    "ps" Ps(Ps), "List the processes of a container";
    "features" Features(Nothing), "Print what this runtime can do";
    "spec" Spec(SpecOptions), "Write a config.json with default values";
    "kill" Kill(Kill), "Send a signal to a container's first process";
    "pause" Pause(Id), "Freeze all processes of a container";
    "resume" Resume(Id), "Thaw all processes of a container";
    "delete" Delete(Delete), "Delete a stopped container";
    "update" Update(Box<Update>), "Change the limits of a container";
    "events" Events(Events), "Print what a container uses, and when it runs out of memory";
    "exec" Exec(Box<Exec>), "Run a further program in a running container";
    "checkpoint" Checkpoint(Box<Checkpoint>), "Save a running container with criu";
    "restore" Restore(Box<Restore>), "Make a container again from what checkpoint saved";
    "completions" Completions(Shell), "Print a script that completes commands and options in a shell";
}

options! {
    /// Options of all commands.
    Global {
        root: Option<PathBuf> => "--root DIR", "Directory for the state of containers";
        log: Option<PathBuf> => "--log FILE", "Where errors go besides standard error: a file, journald:NAME or syslog:NAME";
        log_format: LogFormat => "--log-format FORMAT", "Format of that file: text or json";
        log_level: LogLevel => "--log-level LEVEL", "What is written there: error, warning or debug";
        debug: bool => "--debug", "Write debug messages, too";
        seccomp_cache: Option<PathBuf> => "--seccomp-cache DIR", "Directory for compiled system call filters";
        systemd_cgroup: bool => "--systemd-cgroup", "Make cgroups through systemd";
        cgroup_manager: Option<CgroupManager> => "--cgroup-manager NAME", "Who makes cgroups: cgroupfs, systemd or disabled";
        rootless: String = "auto".into() => "--rootless VALUE", "Run without root's privileges: true, false or auto; it is found out in any case";
        criu: Option<PathBuf> => "--criu FILE", "Program for checkpoint and restore, instead of criu in $PATH";
    }
}

words!(LogFormat { Text = "text", Json = "json" });
words!(LogLevel { Error = "error", Warning = "warning", Debug = "debug" });
words!(CgroupManager { Cgroupfs = "cgroupfs", Systemd = "systemd", Disabled = "disabled" });
words!(ListFormat { Table = "table", Json = "json" });

/// A command without options.
#[derive(Debug, Default)]
pub(crate) struct Nothing;

impl table::Table for Nothing {
    fn each(&self, _: &mut dyn FnMut(&'static table::Entry)) {}

    fn set(&mut self, _: &str, _: &OsStr) -> Result<bool> {
        Ok(false)
    }
}

options! {
    /// A command that needs a container.
    Id {
        id: String => "ID", "Name of the container";
    }
}

options! {
    Create {
        id: String => "ID", "Name of the container";
        bundle: PathBuf = ".".into() => "--bundle -b DIR", "Directory of the bundle, by default the current one";
        config: Option<PathBuf> => "--config -f FILE", "Configuration, instead of config.json in the bundle";
        console_socket: Option<PathBuf> => "--console-socket SOCKET", "Unix socket that the master of the container's terminal is sent to";
        pid_file: Option<PathBuf> => "--pid-file FILE", "File that the process id is written to";
        no_pivot: bool => "--no-pivot", "Lock the container into its root by chroot instead of pivot_root";
        no_new_keyring: bool => "--no-new-keyring", "Keep the caller's session keyring";
        preserve_fds: u32 => "--preserve-fds COUNT", "Pass on this many descriptors from 3 on (and those of $LISTEN_FDS)";
        no_subreaper: bool => "--no-subreaper", "Nothing: this runtime is never a reaper of processes that lost their parent";
    }
}

options! {
    Run {
        detach: bool => "--detach -d", "Do not wait for the container's end";
        keep: bool => "--keep", "Do not delete the container at its end";
        + create: Create;
    }
}

options! {
    List {
        format: ListFormat => "--format -f FORMAT", "Output format: table or json";
        quiet: bool => "--quiet -q", "Print names only";
    }
}

options! {
    Ps {
        id: String => "ID", "Name of the container";
        arguments: Vec<String> => "[-ARGUMENT]...", "Arguments of ps(1), which are -ef if there are none; its output needs a column PID";
        format: ListFormat => "--format -f FORMAT", "Output format: table or json";
    }
}

options! {
    SpecOptions {
        bundle: PathBuf = ".".into() => "--bundle -b DIR", "Directory to write config.json to";
        file: Option<PathBuf> => "--file -f FILE", "File to write instead";
        rootless: bool => "--rootless", "A configuration for users without root's privileges";
    }
}

options! {
    Kill {
        id: String => "ID", "Name of the container";
        signal: Option<String> => "[SIGNAL]", "Signal by name or number, by default SIGTERM";
        all: bool => "--all -a", "Send it to all processes of the container";
    }
}

options! {
    Delete {
        id: String => "ID", "Name of the container";
        force: bool => "--force -f", "Kill the container first if it runs; it is no error if it doesn't exist";
        regex: bool => "--regex -r", "ID is an extended regular expression: delete all containers that it matches anywhere in";
    }
}

options! {
    Update {
        id: String => "ID", "Name of the container";
        resources: Option<PathBuf> => "--resources -r FILE", "File with the object resources of a configuration, or - for standard input; other options are ignored then";
        blkio_weight: Option<u16> => "--blkio-weight WEIGHT", "Weight of block I/O, from 10 to 1000";
        cpu_period: Option<u64> => "--cpu-period TIME", "Period of the quota of processors, in microseconds";
        cpu_quota: Option<i64> => "--cpu-quota TIME", "Time on processors per period, in microseconds; -1 for no limit";
        cpu_burst: Option<u64> => "--cpu-burst TIME", "Time on processors that may be saved up, in microseconds";
        cpu_share: Option<u64> => "--cpu-share SHARE", "Share of processors, beside other containers";
        cpu_rt_period: Option<u64> => "--cpu-rt-period TIME", "Period of real-time scheduling, which cgroup version 2 has no limit for";
        cpu_rt_runtime: Option<i64> => "--cpu-rt-runtime TIME", "Time of real-time scheduling, which cgroup version 2 has no limit for";
        cpuset_cpus: Option<String> => "--cpuset-cpus LIST", "Processors to run on, such as 0-3,7";
        cpuset_mems: Option<String> => "--cpuset-mems LIST", "Memory nodes to use";
        cpu_idle: Option<i64> => "--cpu-idle 0|1", "1 to run only when nobody else does, 0 to run as usual";
        kernel_memory: Option<String> => "--kernel-memory SIZE", "Nothing: the kernel has no such limit any more";
        kernel_memory_tcp: Option<String> => "--kernel-memory-tcp SIZE", "Nothing: the kernel has no such limit any more";
        memory: Option<Size> => "--memory SIZE", "Memory in bytes, or with a suffix such as 512m; -1 for no limit";
        memory_reservation: Option<Size> => "--memory-reservation SIZE", "Memory that is left alone as long as others have some to give back";
        memory_swap: Option<Size> => "--memory-swap SIZE", "Memory and swap together; -1 for no limit";
        pids_limit: Option<i64> => "--pids-limit COUNT", "Number of processes and threads; -1 for no limit";
        l3_cache_schema: Option<String> => "--l3-cache-schema SCHEMA", "Schema of the level 3 cache (Intel RDT)";
        mem_bw_schema: Option<String> => "--mem-bw-schema SCHEMA", "Schema of the bandwidth of memory (Intel RDT)";
    }
}

options! {
    Events {
        id: String => "ID", "Name of the container";
        interval: Interval => "--interval TIME", "Time between two reports, such as 500ms, 5s or 1m; by default 5s";
        stats: bool => "--stats", "Report once, and end";
    }
}

options! {
    Exec {
        id: String => "ID", "Name of the container";
        command: Vec<String> => "[COMMAND]...", "Program and arguments";
        console_socket: Option<PathBuf> => "--console-socket SOCKET", "Unix socket that the master of the terminal is sent to";
        cwd: Option<PathBuf> => "--cwd DIR", "Working directory";
        env: Vec<String> => "--env -e KEY=VALUE", "Environment variable";
        tty: bool => "--tty -t", "Give the program a terminal";
        user: Option<String> => "--user -u UID[:GID]", "User and group, as numbers";
        additional_gids: Vec<u32> => "--additional-gids -g GID", "Supplementary group";
        process: Option<PathBuf> => "--process -p FILE", "File with the process as JSON (the object process of a configuration)";
        detach: bool => "--detach -d", "Do not wait for the end";
        pid_file: Option<PathBuf> => "--pid-file FILE", "File that the process id is written to";
        process_label: Option<String> => "--process-label LABEL", "SELinux label of the program";
        apparmor: Option<String> => "--apparmor PROFILE", "AppArmor profile of the program";
        no_new_privs: bool => "--no-new-privs", "Set no_new_privs";
        cap: Vec<String> => "--cap -c NAME", "Capability to add to the bounding, effective and permitted set";
        preserve_fds: u32 => "--preserve-fds COUNT", "Pass on this many descriptors from 3 on";
        cgroup: Option<String> => "--cgroup PATH", "Run in this cgroup, below the container's";
        ignore_paused: bool => "--ignore-paused", "Do not refuse if the container is paused; the program then waits, frozen";
        no_subreaper: bool => "--no-subreaper", "Nothing: this runtime is never a reaper of processes that lost their parent";
    }
}

options! {
    /// What checkpoint and restore have in common.
    Images {
        image_path: PathBuf = "checkpoint".into() => "--image-path DIR", "Directory of the images, by default ./checkpoint";
        work_path: Option<PathBuf> => "--work-path DIR", "Directory for criu's log and working files";
        tcp_established: bool => "--tcp-established", "Allow open TCP connections";
        ext_unix_sk: bool => "--ext-unix-sk", "Allow Unix sockets whose other end is outside";
        shell_job: bool => "--shell-job", "Allow a session or terminal of outside";
        lazy_pages: bool => "--lazy-pages", "Leave memory to be fetched when it is needed";
        file_locks: bool => "--file-locks", "Save and restore file locks";
        manage_cgroups_mode: Option<String> => "--manage-cgroups-mode MODE", "soft, full, strict or ignore";
        empty_ns: Vec<String> => "--empty-ns TYPE", "Make a namespace, and leave it empty: network";
        auto_dedup: bool => "--auto-dedup", "Remove what is there twice from the images";
    }
}

options! {
    Checkpoint {
        id: String => "ID", "Name of the container";
        parent_path: Option<PathBuf> => "--parent-path DIR", "Images of an earlier --pre-dump, relative to the image directory";
        leave_running: bool => "--leave-running", "Do not end the container";
        status_fd: Option<i32> => "--status-fd FD", "criu writes a zero byte there once it serves lazy pages";
        page_server: Option<String> => "--page-server ADDRESS:PORT", "Send memory to a page server";
        pre_dump: bool => "--pre-dump", "Save memory only, and leave the container running";
        + images: Images;
    }
}

options! {
    Restore {
        id: String => "ID", "Name of the container";
        bundle: PathBuf = ".".into() => "--bundle -b DIR", "Directory of the bundle, by default the current one";
        console_socket: Option<PathBuf> => "--console-socket SOCKET", "Refused: containers with a terminal aren't restored";
        detach: bool => "--detach -d", "Do not wait for the container's end";
        pid_file: Option<PathBuf> => "--pid-file FILE", "File that the process id is written to";
        no_subreaper: bool => "--no-subreaper", "Nothing: a restored container is this program's child only while it waits for it";
        no_pivot: bool => "--no-pivot", "Refused: criu restores the root by pivot_root";
        lsm_profile: Option<String> => "--lsm-profile TYPE:NAME", "Label of SELinux or AppArmor";
        lsm_mount_context: Option<String> => "--lsm-mount-context LABEL", "SELinux label of mounts";
        + images: Images;
    }
}

options! {
    Shell {
        shell: String => "SHELL", "bash, zsh or fish";
    }
}

impl Global {
    /// Refuses what this runtime doesn't do.
    pub(crate) fn check(&self) -> Result<()> {
        // Whether there are privileges the kernel knows better than an option; a wrong word is still one.
        if self.rootless != "auto" {
            table::truth(&self.rootless).context("--rootless")?;
        }
        Ok(())
    }

    /// Who makes the cgroups of containers.
    pub(crate) fn cgroup_manager(&self) -> CgroupManager {
        match self.cgroup_manager {
            Some(manager) => manager,
            None if self.systemd_cgroup => CgroupManager::Systemd,
            None => CgroupManager::Cgroupfs,
        }
    }

    /// The containers of this caller.
    pub(crate) fn containers(&self) -> Result<Containers> {
        Ok(Containers::of_ids(&self.root()?)?)
    }

    /// The container with exactly this id: to take a beginning for the whole would delete another one.
    pub(crate) fn container(&self, id: &str) -> Result<ContainerDir> {
        Ok(self.containers()?.get(id)?)
    }

    fn root(&self) -> Result<PathBuf> {
        match &self.root {
            Some(root) => Ok(root.clone()),
            None => match user_directory()? {
                Some(directory) => Ok(directory.join(USER_ROOT)),
                None => Ok(DEFAULT_ROOT.into()),
            },
        }
    }

    /// Where compiled filters are kept; nowhere for users who have no directory of their own.
    pub(crate) fn seccomp_cache(&self) -> Option<PathBuf> {
        if let Some(cache) = &self.seccomp_cache {
            return Some(cache.clone());
        }
        match user_directory() {
            Ok(Some(directory)) => Some(directory.join(USER_ROOT).join(".seccomp")),
            Ok(None) => Some(sampan_container::seccomp::DEFAULT_CACHE.into()),
            Err(_) => None,
        }
    }
}

/// The run-time directory of a caller who isn't the system's root: of another user, or root in a user namespace.
/// `None`: the system's own directories are to be used.
fn user_directory() -> Result<Option<PathBuf>> {
    let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| Path::new(d).is_absolute());
    let root = rustix::process::geteuid().is_root();
    match directory {
        Some(directory) if !root || sampan_container::rootless::in_user_namespace() => {
            Ok(Some(directory.into()))
        }
        None if !root => bail!("XDG_RUNTIME_DIR is not set: set it, or give --root"),
        _ => Ok(None),
    }
}
