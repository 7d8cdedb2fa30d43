//! The options of `sampan run`: the vocabulary of podman-run(1).
//!
//! This is a table. Generated units are written in these words, and so are people's `PodmanArgs=`; an
//! option that stands here is honoured, or says at the start why it can't be; what isn't here is refused by the
//! parser with its name.

use std::path::PathBuf;

use super::groups::{Naming, Networking, Users};
use crate::pull::Machine;

/// `sampan run [options] IMAGE [command …]`
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "With --rootfs the first argument is a directory instead of an image."
)]
pub(crate) struct Options {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    // -- life --------------------------------------------------------------------------------------
    /// Name of the container [default: its identifier's first twelve digits]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// If another container has the name, remove that one first
    #[arg(long)]
    pub(crate) replace: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// Leave once the container runs, and print its identifier
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Who tells systemd that the service is ready
    #[arg(long, value_name = "MODE", default_value = "conmon", value_parser = ["conmon", "container", "healthy", "ignore"])]
    pub(crate) sdnotify: String,
    /// Control groups: the unit's own in every mode; `disabled` asks for no limits of ours
    #[arg(long, value_name = "MODE", default_value = "split", value_parser = ["enabled", "split", "no-conmon", "disabled"])]
    pub(crate) cgroups: String,
    /// Keep standard input open
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the container a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Run an init that reaps children and forwards signals
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) init: Option<bool>,
    /// The init to use with --init
    #[arg(long, value_name = "FILE")]
    pub(crate) init_path: Option<PathBuf>,
    /// Signal that asks the container to stop [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds to wait after the stop signal before killing
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) stop_timeout: u32,
    /// Write the container's identifier to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Write the process identifier to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,

    /// The ports are published later; until then this socket unit has them
    #[arg(long, value_name = "SOCKET", hide = true)]
    pub(crate) on_demand: Vec<String>,

    // -- image -------------------------------------------------------------------------------------
    /// When to fetch the image
    #[arg(long, value_name = "POLICY", default_value = "missing", value_parser = ["always", "missing", "never", "newer"])]
    pub(crate) pull: String,
    /// Treat the first argument as a directory that holds the root file system
    #[arg(long)]
    pub(crate) rootfs: bool,
    /// File with registry credentials, containers-auth.json(5)
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Verify certificates; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
    /// How often to retry a failed fetch
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,
    /// Pause between retries, as 10s or 1m
    #[arg(long, value_name = "DURATION")]
    pub(crate) retry_delay: Option<String>,
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// Print nothing but errors while fetching
    #[arg(long, short)]
    pub(crate) quiet: bool,

    // -- process -----------------------------------------------------------------------------------
    /// Program that runs instead of the image's entry point: a word, or a JSON array
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User and group, by name or number
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Further groups of the process
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Umask of the process, octal
    #[arg(long, value_name = "MASK")]
    pub(crate) umask: Option<String>,
    /// Environment variable; without `=` the value is taken from this process, `NAME*` takes all that match
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// File with environment variables
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// File of NAME=VALUE, each with a NUL byte behind it: any value, and nothing is looked up
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) env_nul: Option<PathBuf>,
    /// Pass this process's whole environment on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) env_host: Option<bool>,
    /// Pass http_proxy and its like on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) http_proxy: Option<bool>,
    /// Drop a default or image variable
    #[arg(long, value_name = "NAME")]
    pub(crate) unsetenv: Vec<String>,
    /// Drop all default and image variables
    #[arg(long)]
    pub(crate) unsetenv_all: bool,
    /// Time zone: a name below /usr/share/zoneinfo, or `local`
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// Limit of the process, as nofile=1024:2048, or `host`
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// How readily the kernel ends this process when memory is short, -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i32>,
    /// Secret, from the unit's credentials: NAME[,type=mount|env][,target=…][,uid=][,gid=][,mode=]
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,

    // -- confinement -------------------------------------------------------------------------------
    /// Give a capability
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Security option: no-new-privileges, seccomp=, label=, apparmor=, mask=, unmask=
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Take all confinement away
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) privileged: Option<bool>,
    #[command(flatten)]
    pub(crate) users: Users,
    /// The container's root is the user of the unit (User=, DynamicUser= in [Service]): the owner of $RUNTIME_DIRECTORY
    #[arg(long)]
    pub(crate) service_user: bool,
    /// PID namespace: private, host
    #[arg(long, value_name = "MODE")]
    pub(crate) pid: Option<String>,
    /// IPC namespace: private, shareable, host, none
    #[arg(long, value_name = "MODE")]
    pub(crate) ipc: Option<String>,
    /// UTS namespace: private, host
    #[arg(long, value_name = "MODE")]
    pub(crate) uts: Option<String>,
    /// Cgroup namespace: private, host
    #[arg(long, value_name = "MODE")]
    pub(crate) cgroupns: Option<String>,
    /// Namespaced kernel parameter, as net.ipv4.ip_unprivileged_port_start=80
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,

    // -- limits ------------------------------------------------------------------------------------
    /// Memory limit in bytes, with b, k, m, g
    #[arg(long, short, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Memory and swap limit together, or -1
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Number of processors, as 1.5
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// Share of the processors, 2 to 262144
    #[arg(long, short, value_name = "N")]
    pub(crate) cpu_shares: Option<u64>,
    /// Processors that may be used, as 0-3,5
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Number of processes and threads, -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,

    // -- files -------------------------------------------------------------------------------------
    /// Read-only root file system
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) read_only: Option<bool>,
    /// With --read-only: a writable tmpfs on /run, /tmp, /var/tmp and /dev/shm
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) read_only_tmpfs: Option<bool>,
    /// Volume or directory: [SOURCE:]DESTINATION[:OPTIONS]
    #[arg(long, short, value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,
    /// Mount: type=artifact|bind|volume|tmpfs|devpts,source=…,destination=…
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<String>,
    /// Temporary file system: DESTINATION[:OPTIONS]
    #[arg(long, value_name = "TMPFS")]
    pub(crate) tmpfs: Vec<String>,
    /// Size of /dev/shm, with b, k, m, g
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// Device of the host: HOST[:CONTAINER][:rwm]; with a leading `-` only if it exists
    #[arg(long, value_name = "DEVICE", allow_hyphen_values = true)]
    pub(crate) device: Vec<String>,

    // -- network -----------------------------------------------------------------------------------
    /// Pod: the container shares its network, its /dev/shm and its host name
    #[arg(long, value_name = "POD")]
    pub(crate) pod: Option<String>,
    /// File with the name or identifier of the pod
    #[arg(long, value_name = "FILE", conflicts_with = "pod")]
    pub(crate) pod_id_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) net: Networking,
    /// Say that a port is used, PORT[-END][/PROTOCOL]
    #[arg(long, value_name = "PORT")]
    pub(crate) expose: Vec<String>,
    /// Publish all ports that the image and --expose name, on ports of the host that are free
    #[arg(long, short = 'P', num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) publish_all: bool,
    /// Host name
    #[arg(long, short = 'h', value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    #[command(flatten)]
    pub(crate) names: Naming,

    // -- health ------------------------------------------------------------------------------------
    /// Command that checks the health: shell words, a JSON array, or `none`
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between checks, or `disable`
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_interval: Option<String>,
    /// Failed checks in a row that make it unhealthy
    #[arg(long, value_name = "N")]
    pub(crate) health_retries: Option<u32>,
    /// Time after the start in which failures don't count
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_period: Option<String>,
    /// Time that a check may take
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_timeout: Option<String>,
    /// What an unhealthy container leads to
    #[arg(long, value_name = "ACTION", value_parser = ["none", "kill", "restart", "stop"])]
    pub(crate) health_on_failure: Option<String>,
    /// Where the results of checks are kept: local (beside the container's state), events_logger (the journal), or a
    /// directory
    #[arg(long, value_name = "PLACE")]
    pub(crate) health_log_destination: Option<String>,
    /// How many results are kept, 0 for all
    #[arg(long, value_name = "N")]
    pub(crate) health_max_log_count: Option<u32>,
    /// How many bytes of a check's output are kept, 0 for all
    #[arg(long, value_name = "N")]
    pub(crate) health_max_log_size: Option<u32>,
    /// Command that tells whether the program has started; regular checks begin when it succeeds
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_startup_cmd: Option<String>,
    /// Time between startup checks
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_startup_interval: Option<String>,
    /// Failed startup checks that lead to a restart, 0 for none
    #[arg(long, value_name = "N")]
    pub(crate) health_startup_retries: Option<u32>,
    /// Successful startup checks that are needed
    #[arg(long, value_name = "N")]
    pub(crate) health_startup_success: Option<u32>,
    /// Time that a startup check may take
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_startup_timeout: Option<String>,
    /// Ignore the image's health check
    #[arg(long)]
    pub(crate) no_healthcheck: bool,

    // -- description -------------------------------------------------------------------------------
    /// Label
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// File with labels, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Annotation
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Where output goes: passthrough (the unit's own stream), journald (through a pipe, which programs can open by
    /// name), none [default: passthrough, or journald where the image has links to /dev/stdout]
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Option of a log driver; the journal has none, so these have no effect
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<String>,

    /// The image (or root file system), then the command and its arguments
    #[arg(value_name = "IMAGE [COMMAND]…", required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use sampan_generator::keys::UnitType;

    use crate::vocabulary::words;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn every_key_of_a_container_is_an_option() {
        let refused = |(name, words): (&str, Vec<String>)| {
            let line = ["run".to_owned()].into_iter().chain(words).chain(["image".to_owned()]);
            match Line::try_parse_from(line) {
                Err(error) => Some(format!("{name}=: {error}")),
                // An unknown option would be taken for the image.
                Ok(line) if line.options.arguments != ["image"] => {
                    Some(format!("{name}=: {:?}", line.options.arguments))
                }
                Ok(_) => None,
            }
        };
        let keys = UnitType::Container.keys().iter();
        let all = keys.flat_map(|key| words(key).into_iter().map(|words| (key.name, words)));
        let refused: Vec<_> = all.filter_map(refused).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}
