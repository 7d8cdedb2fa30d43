//! `.container`: a container that runs as a service.

use super::Translator;
use super::activation::{DemandKeys, Obstacle};
use super::users::MappingKeys;
use crate::command::CommandLine;
use crate::diagnostic::{Severity, rules};
use crate::engine::{ContainerPlan, Engine, HostUser};
use crate::keys::Key;
use crate::keys::container::*;
use crate::syntax::values;

static MAPPINGS: MappingKeys = MappingKeys {
    modern: &[&USER_NS, &UID_MAP, &GID_MAP, &SUB_UID_MAP, &SUB_GID_MAP],
    remap_users: &REMAP_USERS,
    remap_uid: &REMAP_UID,
    remap_gid: &REMAP_GID,
    remap_uid_size: &REMAP_UID_SIZE,
    manual: true,
};

static DEMAND: DemandKeys = DemandKeys {
    activation: &ACTIVATION,
    idle_timeout: &IDLE_TIMEOUT_KEY,
    publish_port: &PUBLISH_PORT,
    network: &NETWORK,
};

impl Translator<'_> {
    pub(super) fn container(&mut self) {
        let name = crate::book::container_name(self.unit);
        let base = self.base();
        let image = self.image_or_rootfs();
        self.kill_mode();
        let oneshot = self.is_oneshot();
        self.check_own_start(oneshot);
        self.check_startup();
        let reload = self.reload(&base, &name);

        let mut run = base.with(["run", "--name", &name, "--replace", "--rm"]);
        let cgroups = self.text(&CGROUPS_MODE).map(str::to_owned);
        match cgroups {
            Some(mode) => run.flag("--cgroups", mode),
            None => run.word("--cgroups=split"),
        }
        if !oneshot {
            let notify = self.notify();
            run.word(format!("--sdnotify={notify}"));
            run.word("-d");
        }
        let obstacle = self.demand_obstacle(oneshot);
        let on_demand = self.on_demand(&DEMAND, obstacle);
        self.sockets(on_demand.as_ref(), &mut run);
        let root = self.host_user(&MAPPINGS, &mut run);
        self.check_sandbox(root);
        self.networks(&NETWORK, &mut run);
        self.user(&USER, &GROUP, &mut run);
        self.options(&mut run);
        self.credentials();
        self.remap(&MAPPINGS, &mut run);
        self.privileges(&mut run);
        self.volatile_tmp(&mut run);
        self.volumes(&VOLUME, &mut run);
        self.mounts(&mut run);
        self.exposed_ports(&mut run);
        for file in self.values(&ENVIRONMENT_FILE) {
            run.flag("--env-file", self.absolute(&file));
        }
        self.pod_membership(&POD, &START_WITH_POD, &mut run);
        self.further_arguments(&mut run);
        run.words(image);
        run.words(self.values(&EXEC));

        let plan = ContainerPlan {
            name,
            base,
            run,
            reload,
            oneshot,
            memory: self.text(&MEMORY).map(str::to_owned),
            pids_limit: self.text(&PIDS_LIMIT).map(str::to_owned),
            health_interval: self.interval(&HEALTH_CMD, &HEALTH_INTERVAL),
            startup_interval: self.interval(&HEALTH_STARTUP_CMD, &HEALTH_STARTUP_INTERVAL),
            stop_timeout: self.text(&STOP_TIMEOUT).and_then(|seconds| seconds.parse().ok()),
            root,
            on_demand,
        };
        self.more = self.engine().container(&mut self.service, &plan);
    }

    /// The words for what runs: the image, or `--rootfs` and a directory.
    fn image_or_rootfs(&mut self) -> Vec<String> {
        let rootfs = self.text(&ROOTFS).map(str::to_owned);
        match (self.text(&IMAGE), rootfs) {
            (None, None) => {
                match self.unit.section(IMAGE.section) {
                    Some(_) => self.fail(
                        &rules::MISSING_KEY,
                        "neither Image= nor Rootfs= is set",
                        "add Image= with the image to run",
                    ),
                    None => self.fail(
                        &rules::MISSING_SECTION,
                        "there is no [Container] section",
                        "add [Container] with Image=, the image to run",
                    ),
                }
                Vec::new()
            }
            (Some(_), Some(_)) => {
                self.fail_at(
                    &rules::CONFLICTING_KEYS,
                    &ROOTFS,
                    "Image= and Rootfs= can't be set both",
                    "remove one of them",
                );
                Vec::new()
            }
            (Some(_), None) => self.image_source(&IMAGE).into_iter().collect(),
            (None, Some(rootfs)) => vec!["--rootfs".to_owned(), rootfs],
        }
    }

    /// systemd takes one `ExecStart=` only, unless the service is oneshot; Podman leaves it at that.
    fn check_own_start(&mut self, oneshot: bool) {
        if self.engine() == Engine::Sampan
            && !oneshot
            && self.service.last("Service", "ExecStart").is_some_and(|line| !line.is_empty())
        {
            let reason = "ExecStart= is what this generator writes".to_owned();
            self.fail_service(&rules::OWN_EXEC_START, "ExecStart", reason, "write the container's command as Exec= in [Container], a command to run before as ExecStartPre=");
        }
    }

    /// Why nobody's connection could start this container, where that isn't a matter of its network.
    fn demand_obstacle(&mut self, oneshot: bool) -> Option<Obstacle> {
        if self.text(&POD).is_some() {
            let reason = "the ports of a container in a pod are the pod's";
            return Some((
                reason,
                "write Activation=on-demand into the [Pod] section of the .pod file, or remove Pod=",
            ));
        }
        oneshot
            .then_some(("Type=oneshot is for commands that end by themselves", "remove Type= or Activation="))
    }

    /// Who says that the service is ready.
    fn notify(&mut self) -> &'static str {
        match self.text(&NOTIFY) {
            Some(text) if text.eq_ignore_ascii_case("healthy") => "healthy",
            Some(text) if values::boolean(text).is_none() => {
                let reason = format!("Notify= is neither yes, no nor healthy, but \"{text}\"");
                let diagnostic = self.at(&rules::BAD_CHOICE, &NOTIFY, self.engine().wrong_value(), reason);
                self.note(diagnostic.help("write yes if the program itself tells systemd that it is ready"));
                "conmon"
            }
            Some(_) if self.boolean(&NOTIFY) == Some(true) => "container",
            _ => "conmon",
        }
    }

    /// The command for `systemctl reload`.
    fn reload(&mut self, base: &CommandLine, name: &str) -> Option<CommandLine> {
        let command = self.values(&RELOAD_CMD);
        match (command.is_empty(), self.text(&RELOAD_SIGNAL)) {
            (true, None) => None,
            (false, None) => {
                let mut exec = base.with(["exec", name]);
                exec.words(command);
                Some(exec)
            }
            (true, Some(signal)) => Some(base.with(["kill", "--signal", signal, name])),
            (false, Some(_)) => {
                self.fail_at(
                    &rules::CONFLICTING_KEYS,
                    &RELOAD_SIGNAL,
                    "ReloadCmd= and ReloadSignal= can't be set both",
                    "remove one of them",
                );
                None
            }
        }
    }

    /// Devices and capabilities.
    fn privileges(&mut self, run: &mut CommandLine) {
        for device in self.values(&ADD_DEVICE) {
            let wanted = device.strip_prefix('-');
            let path = wanted.unwrap_or(&device).split(':').next().unwrap_or_default();
            let missing =
                || std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
            if wanted.is_none() || !missing() {
                run.flag("--device", wanted.unwrap_or(&device));
            }
        }
        for capability in self.values(&DROP_CAPABILITY) {
            run.flag("--cap-drop", capability.to_lowercase());
        }
        for capability in self.values(&ADD_CAPABILITY) {
            run.flag("--cap-add", capability.to_lowercase());
        }
    }

    fn volatile_tmp(&mut self, run: &mut CommandLine) {
        let read_only = self.boolean(&READ_ONLY).unwrap_or(false);
        if self.boolean(&VOLATILE_TMP).unwrap_or(false) && !read_only {
            run.flag("--tmpfs", "/tmp:rw,size=512M,mode=1777");
        }
        self.deprecated(&VOLATILE_TMP, "write Tmpfs=/tmp instead");
    }

    /// Mounts in the long form, whose source may be another Quadlet file.
    fn mounts(&mut self, run: &mut CommandLine) {
        for mount in self.list(&MOUNT) {
            let Some(fields) = csv::split(&mount.text) else {
                let diagnostic = mount.place.diagnose(
                    &rules::BAD_MOUNT,
                    Severity::Error,
                    "the quotes of this mount don't match",
                );
                self.note(diagnostic.help("write type=TYPE,source=…,destination=…; a field with a comma is enclosed in double quotes"));
                continue;
            };
            let is_type =
                |field: &String| field.strip_prefix("type=").is_some_and(|kind| !kind.contains('='));
            let (mut kind, mut rest) = ("volume".to_owned(), fields);
            if let Some(at) = rest.iter().position(is_type) {
                kind = rest.remove(at).split_off("type=".len());
            }
            if !["volume", "bind", "glob", "image", "artifact"].contains(&kind.as_str()) {
                run.flag("--mount", mount.text);
                continue;
            }
            if self.mount_source(&mount, &kind, &mut rest) {
                rest.insert(0, format!("type={kind}"));
                run.flag("--mount", csv::join(&rest));
            }
        }
    }

    /// Resolves the source among a mount's fields; `false` if that is impossible.
    fn mount_source(&mut self, mount: &super::read::Argument, kind: &str, fields: &mut [String]) -> bool {
        let mut source = None;
        for (at, field) in fields.iter().enumerate() {
            match field.split_once('=').unwrap_or((field, "\0")) {
                ("source" | "src", "\0") => {
                    let diagnostic = mount.place.diagnose(
                        &rules::BAD_MOUNT,
                        Severity::Error,
                        "the mount's source has no value",
                    );
                    self.note(diagnostic.help("write source=PATH or source=NAME.volume"));
                    return false;
                }
                ("source" | "src", value) => source = Some((at, value.to_owned())),
                _ => {}
            }
        }
        match source.filter(|(_, source)| !source.is_empty()) {
            Some((at, source)) => match self.storage_source(&mount.place, &source, true) {
                Some(resolved) => {
                    fields[at] = format!("source={resolved}");
                    true
                }
                None => false,
            },
            None if kind == "volume" => true,
            None => {
                let diagnostic = mount.place.diagnose(
                    &rules::BAD_MOUNT,
                    Severity::Error,
                    format!("a mount of type {kind} needs a source"),
                );
                self.note(diagnostic.help("add source=…"));
                false
            }
        }
    }

    /// Ports that the container is said to listen on. Podman's Quadlet only looks at the end of the
    /// value, and knows neither sctp nor variables.
    fn exposed_ports(&mut self, run: &mut CommandLine) {
        for port in self.list(&EXPOSE_HOST_PORT) {
            let text = port.text.trim();
            if self.engine() == Engine::Podman && !ends_with_port(text) {
                let diagnostic =
                    port.place.diagnose(&rules::BAD_PORT, Severity::Error, format!("\"{text}\" is no port"));
                self.note(diagnostic.help("write PORT[-END][/tcp|/udp]"));
                continue;
            }
            run.flag("--expose", text);
        }
    }

    /// How often a timer has this command run in the container, if there is one.
    fn interval(&mut self, command: &Key, interval: &Key) -> Option<String> {
        self.text(command).filter(|command| !command.eq_ignore_ascii_case("none"))?;
        let interval = self.text(interval).unwrap_or("30s");
        let never = interval == "disable" || interval.trim_end_matches(['s', 'm', 'h']) == "0";
        (!never).then(|| interval.to_owned())
    }

    /// Settings of systemd.exec(5) that take from `sampan run` what it needs to make a container.
    fn check_sandbox(&mut self, root: HostUser) {
        // The "+" of a dynamic user's lines drops them all; Podman has its own troubles.
        if self.engine() == Engine::Podman || root == HostUser::Dynamic {
            return;
        }
        for (key, instead) in [
            ("RestrictSUIDSGID", "write NoNewPrivileges=yes in [Container] against set-user-id programs"),
            ("RestrictNamespaces", "the container's seccomp profile restricts namespaces"),
            ("PrivateUsers", "write UserNS=auto in [Container], or User= in [Service]"),
        ] {
            let value = self.service.last("Service", key).unwrap_or_default();
            if !value.is_empty() && values::boolean(value) != Some(false) {
                let reason = format!("{key}= keeps sampan from making the container");
                self.fail_service(&rules::SANDBOX, key, reason, &format!("remove it; {instead}"));
            }
        }
    }

    /// A check of whether the container has started is followed by regular ones.
    fn check_startup(&mut self) {
        if self.engine() == Engine::Sampan
            && self.text(&HEALTH_STARTUP_CMD).is_some()
            && self.text(&HEALTH_CMD).is_none_or(|command| command.eq_ignore_ascii_case("none"))
        {
            self.fail_at(
                &rules::MISSING_COMPANION,
                &HEALTH_STARTUP_CMD,
                "HealthStartupCmd= is set without HealthCmd=",
                "add HealthCmd=, the check that begins when the container has started",
            );
        }
    }
}

/// Whether the text ends in a port as Podman's Quadlet sees it.
fn ends_with_port(text: &str) -> bool {
    let ports = text.strip_suffix("/udp").or_else(|| text.strip_suffix("/tcp")).unwrap_or(text);
    ports.ends_with(|c: char| c.is_ascii_digit())
}

/// Comma-separated fields, where double quotes hold a field together (RFC 4180).
mod csv {
    /// The fields of one record, or `None` if its quotes don't match.
    pub(super) fn split(record: &str) -> Option<Vec<String>> {
        let mut fields = Vec::new();
        let mut rest = record;
        loop {
            let (field, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted_field(quoted)?,
                None => {
                    let end = rest.find(',').unwrap_or(rest.len());
                    if rest[..end].contains('"') {
                        return None;
                    }
                    (rest[..end].to_owned(), &rest[end..])
                }
            };
            fields.push(field);
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after.is_empty() => return Some(fields),
                None => return None,
            }
        }
    }

    fn quoted_field(text: &str) -> Option<(String, &str)> {
        let mut field = String::new();
        let mut rest = text;
        loop {
            let (part, after) = rest.split_once('"')?;
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(next) => {
                    field.push('"');
                    rest = next;
                }
                None => return Some((field, after)),
            }
        }
    }

    /// One record of these fields.
    pub(super) fn join(fields: &[String]) -> String {
        let quoted = fields.iter().map(|field| {
            let needs_quotes =
                field.contains([',', '"', '\r', '\n']) || field.starts_with(char::is_whitespace);
            if needs_quotes { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.clone() }
        });
        quoted.collect::<Vec<_>>().join(",")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn fields_with_commas_and_quotes() {
            let record = "type=bind,\"src=/a,\"\"b\"\"\",dst=/c";
            let fields = split(record).unwrap();
            assert_eq!(fields, ["type=bind", "src=/a,\"b\"", "dst=/c"]);
            assert_eq!(join(&fields), record);
            assert_eq!(split("a,\"b"), None);
            assert_eq!(split("a\"b"), None);
        }
    }
}
