//! The options of `sampan build`: the vocabulary of podman-build(1).
//!
//! This is a table. Most options are buildah's own and are passed on as they are; [`Own`] says which mean something
//! here, because they name things of ours: networks and volumes.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

/// What follows an option.
#[derive(Clone, Copy)]
enum Value {
    /// A word.
    Text(&'static str),
    /// `=true`, `=false` or nothing.
    Switch,
    /// A word behind `=`, or nothing.
    Optional(&'static str),
}

/// Options that aren't simply passed on.
mod own {
    pub(super) const IIDFILE: &str = "iidfile";
    pub(super) const NETWORK: &str = "network";
    pub(super) const TAG: &str = "tag";
    pub(super) const VOLUME: &str = "volume";
    pub(super) const DNS: &str = "dns";
    pub(super) const ALL: [&str; 5] = [IIDFILE, NETWORK, TAG, VOLUME, DNS];
    pub(super) const CONTEXT: &str = "CONTEXT";
}

type Row = (&'static str, Option<char>, Value, &'static str);

const OPTIONS: &[Row] = &[
    ("add-host", None, Value::Text("HOST:ADDRESS"), "Line for /etc/hosts during the build"),
    ("all-platforms", None, Value::Switch, "Build for all platforms of the base image"),
    ("annotation", None, Value::Text("NAME=VALUE"), "OCI annotation of the image"),
    ("arch", None, Value::Text("ARCH"), "Architecture of the image"),
    ("authfile", None, Value::Text("FILE"), "File with registry credentials, containers-auth.json(5)"),
    ("build-arg", None, Value::Text("NAME=VALUE"), "Value of an ARG instruction"),
    ("build-arg-file", None, Value::Text("FILE"), "File with values of ARG instructions"),
    ("build-context", None, Value::Text("NAME=SOURCE"), "Further context of the build"),
    ("cache-from", None, Value::Text("REPOSITORY"), "Where cached layers may come from"),
    ("cache-to", None, Value::Text("REPOSITORY"), "Where cached layers are pushed to"),
    ("cache-ttl", None, Value::Text("DURATION"), "How long cached layers are good"),
    ("cap-add", None, Value::Text("CAPABILITY"), "Give RUN instructions a capability"),
    ("cap-drop", None, Value::Text("CAPABILITY"), "Take a capability from RUN instructions"),
    ("cert-dir", None, Value::Text("DIR"), "Directory with certificates for registries"),
    ("cgroup-parent", None, Value::Text("PATH"), "Parent of the cgroups of RUN instructions"),
    ("cpp-flag", None, Value::Text("FLAG"), "Flag of the C preprocessor for Containerfile.in"),
    ("cpu-period", None, Value::Text("N"), "Period of the CFS scheduler"),
    ("cpu-quota", None, Value::Text("N"), "Quota of the CFS scheduler"),
    ("cpu-shares", Some('c'), Value::Text("N"), "Share of the processors"),
    ("cpuset-cpus", None, Value::Text("LIST"), "Processors that may be used"),
    ("cpuset-mems", None, Value::Text("LIST"), "Memory nodes that may be used"),
    ("creds", None, Value::Text("USER[:PASSWORD]"), "Credentials"),
    ("decryption-key", None, Value::Text("KEY[:PASSPHRASE]"), "Key for encrypted base images"),
    ("device", None, Value::Text("DEVICE"), "Device of the host for RUN instructions"),
    ("disable-compression", Some('D'), Value::Switch, "Leave the layers uncompressed"),
    (own::DNS, None, Value::Text("ADDRESS"), "Name server during the build"),
    ("dns-option", None, Value::Text("OPTION"), "Option of resolv.conf(5) during the build"),
    ("dns-search", None, Value::Text("DOMAIN"), "Search domain during the build"),
    ("env", None, Value::Text("NAME=VALUE"), "Environment variable of the image"),
    ("file", Some('f'), Value::Text("FILE"), "The Containerfile: a path or a URL"),
    ("force-rm", None, Value::Switch, "Remove intermediate containers also after a failed build"),
    ("format", None, Value::Text("FORMAT"), "oci or docker"),
    ("from", None, Value::Text("IMAGE"), "Image in place of the first FROM's"),
    ("group-add", None, Value::Text("GROUP"), "Further group of RUN instructions, or keep-groups"),
    ("hooks-dir", None, Value::Text("DIR"), "Directory with OCI hooks"),
    ("http-proxy", None, Value::Switch, "Pass http_proxy and its like on"),
    ("identity-label", None, Value::Switch, "Whether the image says which version has built it"),
    ("ignorefile", None, Value::Text("FILE"), "File that says what is left out of the context"),
    (own::IIDFILE, None, Value::Text("FILE"), "Write the image's identifier to this file"),
    ("ipc", None, Value::Text("MODE"), "IPC namespace of RUN instructions"),
    ("isolation", None, Value::Text("TYPE"), "Isolation of RUN instructions: oci or chroot"),
    ("jobs", None, Value::Text("N"), "How many stages are built at once"),
    ("label", None, Value::Text("NAME=VALUE"), "Label of the image"),
    ("layer-label", None, Value::Text("NAME=VALUE"), "Label of intermediate images"),
    ("layers", None, Value::Switch, "Whether intermediate layers are cached"),
    ("logfile", None, Value::Text("FILE"), "Where the output of the build goes"),
    ("memory", Some('m'), Value::Text("SIZE"), "Memory limit of RUN instructions"),
    ("memory-swap", None, Value::Text("SIZE"), "Limit of memory and swap together"),
    (own::NETWORK, None, Value::Text("NETWORK"), "Network of RUN instructions: NAME, host, none, ns:PATH"),
    ("no-cache", None, Value::Switch, "Use no cached layers"),
    ("no-hostname", None, Value::Switch, "Make no /etc/hostname"),
    ("no-hosts", None, Value::Switch, "Make no /etc/hosts"),
    ("omit-history", None, Value::Switch, "Leave the history out of the image"),
    ("os", None, Value::Text("OS"), "Operating system of the image"),
    ("os-feature", None, Value::Text("FEATURE"), "Required feature of the operating system"),
    ("os-version", None, Value::Text("VERSION"), "Exact version of the operating system"),
    ("pid", None, Value::Text("MODE"), "PID namespace of RUN instructions"),
    ("platform", None, Value::Text("PLATFORM"), "Operating system and architecture, as linux/arm64/v8"),
    ("pull", None, Value::Optional("POLICY"), "When base images are pulled: always, missing, never, newer"),
    ("quiet", Some('q'), Value::Switch, "Print the identifier alone"),
    ("retry", None, Value::Text("N"), "How often a failed pull is tried again"),
    ("retry-delay", None, Value::Text("DURATION"), "Pause between these"),
    ("rm", None, Value::Switch, "Remove intermediate containers after the build"),
    ("sbom", None, Value::Text("PRESET"), "Scan for a list of materials"),
    ("secret", None, Value::Text("SECRET"), "Secret for RUN --mount=type=secret, as id=key,src=/path"),
    ("security-opt", None, Value::Text("OPTION"), "Security option of RUN instructions"),
    ("shm-size", None, Value::Text("SIZE"), "Size of /dev/shm"),
    ("skip-unused-stages", None, Value::Switch, "Whether stages that nothing needs are left out"),
    ("squash", None, Value::Switch, "Make one layer of the new ones"),
    ("squash-all", None, Value::Switch, "Make one layer of all"),
    ("ssh", None, Value::Text("AGENT"), "SSH agent for RUN --mount=type=ssh"),
    ("stdin", None, Value::Switch, "Pass standard input to RUN instructions"),
    (own::TAG, Some('t'), Value::Text("NAME"), "Name of the image; may be given several times"),
    ("target", None, Value::Text("STAGE"), "Stage to build"),
    ("timestamp", None, Value::Text("SECONDS"), "When the image was built, since the epoch"),
    ("tls-verify", None, Value::Switch, "Verify certificates; false also allows plain HTTP"),
    ("ulimit", None, Value::Text("NAME=SOFT[:HARD]"), "Limit of RUN instructions"),
    ("unsetenv", None, Value::Text("NAME"), "Drop a variable of the base image"),
    ("unsetlabel", None, Value::Text("NAME"), "Drop a label of the base image"),
    ("userns", None, Value::Text("MODE"), "User namespace of RUN instructions"),
    ("userns-gid-map", None, Value::Text("MAP"), "Group mapping CONTAINER:HOST:COUNT"),
    ("userns-uid-map", None, Value::Text("MAP"), "User mapping CONTAINER:HOST:COUNT"),
    ("uts", None, Value::Text("MODE"), "UTS namespace of RUN instructions"),
    ("variant", None, Value::Text("VARIANT"), "Variant of the architecture"),
    (own::VOLUME, Some('v'), Value::Text("VOLUME"), "Volume or directory: SOURCE:DESTINATION[:OPTIONS]"),
];

/// `sampan build [options] [CONTEXT]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// buildah's own options, each in one word.
    pub(super) passed: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) networks: Vec<String>,
    pub(super) volumes: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) iidfile: Option<PathBuf>,
    pub(super) context: Option<String>,
}

impl clap::Args for Options {
    fn augment_args(command: Command) -> Command {
        let option = |(name, short, value, help): &Row| {
            let argument = Arg::new(*name).long(*name).help(*help).action(ArgAction::Append);
            let argument = match short {
                Some(short) => argument.short(*short),
                None => argument,
            };
            let optional = |argument: Arg, value| {
                argument.value_name(value).num_args(0..=1).require_equals(true).default_missing_value("")
            };
            match value {
                Value::Text(value) => argument.value_name(*value).allow_hyphen_values(true),
                Value::Switch => optional(argument, "BOOL"),
                Value::Optional(value) => optional(argument, *value),
            }
        };
        let context =
            Arg::new(own::CONTEXT).value_name("CONTEXT").help("The directory or URL of the context");
        command.args(OPTIONS.iter().map(option)).arg(context)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let all = |name: &str| -> Vec<String> {
            matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
        };
        let passed = OPTIONS.iter().filter(|(name, ..)| !own::ALL.contains(name)).flat_map(|(name, ..)| {
            all(name).into_iter().map(move |value| match value.as_str() {
                "" => format!("--{name}"),
                value => format!("--{name}={value}"),
            })
        });
        Ok(Self {
            passed: passed.collect(),
            tags: all(own::TAG),
            networks: all(own::NETWORK),
            volumes: all(own::VOLUME),
            dns: all(own::DNS),
            iidfile: all(own::IIDFILE).pop().map(PathBuf::from),
            context: all(own::CONTEXT).pop(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_options_are_passed_on() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let parse = |words: &[&str]| {
            <Line as clap::Parser>::try_parse_from(["build"].iter().chain(words)).map(|line| line.options)
        };
        let options =
            parse(&["-t", "a", "--tag=b", "--pull=missing", "--no-cache", "--build-arg", "V=1", "/src"]);
        let options = options.unwrap();
        assert_eq!(options.passed, ["--build-arg=V=1", "--no-cache", "--pull=missing"]);
        assert_eq!((options.tags, options.context), (vec!["a".into(), "b".into()], Some("/src".into())));
        assert_eq!(parse(&["--force-rm=false", "--pull"]).unwrap().passed, ["--force-rm=false", "--pull"]);
        assert!(parse(&["--nosuch"]).is_err() && parse(&["a", "b"]).is_err());
    }
}
