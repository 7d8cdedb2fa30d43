//! `sampan ps`: one row for each container.
//!
//! [`Row`] is a container with Podman's field names, as `--format json` shows it; `fields` is what
//! templates and the table see, where most fields hold text for people. `select` chooses rows.

mod select;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use sampan_container::state::{ContainerDir, Port, State, Status};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::healthcheck::Health;
use crate::output::{self, Format, human};

const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedHuman}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const POD_COLUMNS: &str = "\t{{.Pod}}\t{{.PodName}}";

const HEADINGS: &[(&str, &str)] =
    &[("ID", "CONTAINER ID"), ("CreatedHuman", "CREATED"), ("PodName", "PODNAME"), ("Pod", "POD ID")];

/// The longest command that is shown whole, in letters.
const COMMAND_LENGTH: usize = 17;

/// `sampan ps [options]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All containers, not only those that run
    #[arg(long, short)]
    all: bool,
    /// Only some: id=, name=, label=, status=, ancestor=, network=, volume=, health=, pod=, exited=
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a Go template for each container
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only the last N made, in whatever state
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "latest")]
    last: Option<usize>,
    /// Only the last one made, in whatever state
    #[arg(long, short)]
    latest: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Without the headings
    #[arg(long)]
    noheading: bool,
    /// Also the pods that they are in
    #[arg(long, short)]
    pod: bool,
    /// The ids alone
    #[arg(long, short)]
    quiet: bool,
    /// Refused: the sizes of writable layers are not counted
    #[arg(long, short, hide = true)]
    size: bool,
    /// By what the rows are sorted
    #[arg(long, value_name = "KEY", default_value = "created", value_parser = ["command", "created", "id", "image", "names", "runningfor", "status"])]
    sort: String,
}

/// A container with Podman's field names.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    auto_remove: bool,
    command: Vec<String>,
    created_at: String,
    #[serde(rename = "CIDFile")]
    cid_file: String,
    exited: bool,
    exited_at: i64,
    exit_code: i32,
    exposed_ports: Option<BTreeMap<u16, Vec<String>>>,
    id: String,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    is_infra: bool,
    labels: BTreeMap<String, String>,
    mounts: Vec<String>,
    names: Vec<String>,
    namespaces: BTreeMap<String, String>,
    networks: Vec<String>,
    pid: i32,
    pod: String,
    pod_name: String,
    ports: Vec<PortRow>,
    restarts: u32,
    size: Option<u64>,
    started_at: i64,
    state: &'static str,
    status: String,
    created: i64,
    /// The systemd unit; Podman has no such field.
    unit: String,
    #[serde(skip)]
    made: Timestamp,
    #[serde(skip)]
    health: String,
    #[serde(skip)]
    volumes: Vec<String>,
}

/// A published port with Podman's field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct PortRow {
    host_ip: String,
    container_port: u16,
    host_port: u16,
    range: u16,
    protocol: String,
}

/// Lists containers.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    if options.size {
        bail!("--size is not available: the sizes of writable layers are not counted; see du(1)");
    }
    let containers = context.containers()?.list()?;
    // A container that can't be read is just being made or removed.
    let rows = containers.iter().filter_map(|container| Some(Row::new(container, container.read().ok()?)));
    let last = if options.latest { Some(1) } else { options.last };
    let wanted = select::Wanted { filter: &options.filter, all: options.all, last, sort: &options.sort };
    let rows = select::select(rows.collect(), &wanted)?;
    if options.quiet && options.format.is_none() {
        output::lines(rows.iter().map(|row| output::short_id(&row.id, options.no_trunc)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = if options.pod { format!("{COLUMNS}{POD_COLUMNS}") } else { COLUMNS.to_owned() };
    match Format::of(options.format.as_deref(), &columns)? {
        Format::Json => output::json(&rows)?,
        Format::Listing(listing) => {
            let rows = rows.iter().map(|row| row.fields(options.no_trunc)).collect();
            listing.print(rows, !options.noheading, HEADINGS)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A status in Podman's word for it.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Creating => "initialized",
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Stopped => "exited",
    }
}

/// What the last health check found; empty without one.
pub(crate) fn health(container: &ContainerDir, state: &State) -> String {
    match &state.healthcheck {
        None => String::new(),
        Some(_) => Health::read(container).map_or_else(|| "starting".to_owned(), |health| health.status),
    }
}

impl Row {
    fn new(container: &ContainerDir, state: State) -> Self {
        let health = health(container, &state);
        Self::of(state, health)
    }

    fn of(state: State, health: String) -> Self {
        let status = state.live_status();
        let exited = status == Status::Stopped;
        let time = |text: Option<&str>| text.and_then(|text| text.parse::<Timestamp>().ok());
        let made = time(Some(&state.created)).unwrap_or_default();
        let started = time(state.started.as_deref());
        let finished = time(state.finished.as_deref());
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second).unwrap_or_default();
        let exit_code = state.exit_code.unwrap_or_default();
        let (image, image_id) = match &state.image {
            Some(image) => (image.name.clone(), image.id.clone()),
            None => (
                state.rootfs.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
                String::new(),
            ),
        };
        let words = status_words(status, started, finished, exit_code, &health);
        Self {
            auto_remove: state.remove,
            command: state.command,
            created_at: format!("{} ago", human::since(made)),
            cid_file: String::new(),
            exited,
            exited_at: seconds(finished),
            exit_code,
            exposed_ports: None,
            id: state.id,
            image,
            image_id,
            is_infra: false,
            labels: state.labels,
            mounts: state.mounts.iter().map(|mount| mount.destination.clone()).collect(),
            names: vec![state.name],
            namespaces: BTreeMap::new(),
            networks: state.networks.into_keys().collect(),
            pid: state.pid.filter(|_| !exited).unwrap_or_default(),
            pod: state.pod.as_ref().map(|pod| pod.id.clone()).unwrap_or_default(),
            pod_name: state.pod.map(|pod| pod.name).unwrap_or_default(),
            ports: state.ports.into_iter().map(PortRow::from).collect(),
            restarts: 0,
            size: None,
            started_at: seconds(started),
            state: word(status),
            status: words,
            created: made.as_second(),
            unit: state.unit.unwrap_or_default(),
            made,
            health,
            volumes: state
                .mounts
                .into_iter()
                .flat_map(|m| [m.destination].into_iter().chain(m.name))
                .collect(),
        }
    }

    /// What templates and the table see.
    fn fields(&self, whole: bool) -> Value {
        let ports: Vec<String> = self.ports.iter().map(PortRow::to_string).collect();
        json!({
            "ID": output::short_id(&self.id, whole),
            "Image": self.image,
            "ImageID": output::short_id(&self.image_id, whole),
            "Command": shorten(&self.command.join(" "), whole),
            "Created": human::moment(self.made),
            "CreatedAt": human::moment(self.made),
            "CreatedHuman": self.created_at,
            "RunningFor": self.created_at,
            "State": self.state,
            "Status": self.status,
            "Ports": ports.join(", "),
            "Names": self.names.join(","),
            "Labels": output::pairs(&self.labels),
            "Label": self.labels,
            "Mounts": self.mounts.join(","),
            "Networks": self.networks.join(","),
            "Pid": self.pid,
            "Exited": self.exited,
            "ExitedAt": self.exited_at,
            "ExitCode": self.exit_code,
            "StartedAt": self.started_at,
            "AutoRemove": self.auto_remove,
            "CIDFile": self.cid_file,
            "IsInfra": self.is_infra,
            "Pod": output::short_id(&self.pod, whole),
            "PodName": self.pod_name,
            "Restarts": self.restarts,
            "Unit": self.unit,
        })
    }
}

/// `Up 3 minutes (healthy)`, `Exited (1) 2 hours ago`, `Created`.
fn status_words(
    status: Status,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    exit_code: i32,
    health: &str,
) -> String {
    let words = match status {
        Status::Running => format!("Up {}", started.map(human::since).unwrap_or_default()),
        Status::Stopped => match finished {
            Some(finished) => format!("Exited ({exit_code}) {} ago", human::since(finished)),
            // Nobody has written down how it ended: its unit is about to clean up.
            None => format!("Exited ({exit_code})"),
        },
        Status::Paused => "Paused".to_owned(),
        Status::Created => "Created".to_owned(),
        Status::Creating => "Initialized".to_owned(),
    };
    let words = words.trim_end();
    if health.is_empty() || status == Status::Stopped {
        words.to_owned()
    } else {
        format!("{words} ({health})")
    }
}

fn shorten(command: &str, whole: bool) -> String {
    match command.char_indices().nth(COMMAND_LENGTH) {
        Some((end, _)) if !whole => format!("{}...", &command[..end]),
        _ => command.to_owned(),
    }
}

impl From<Port> for PortRow {
    fn from(port: Port) -> Self {
        Self {
            host_ip: port.host_ip,
            container_port: port.container_port,
            host_port: port.host_port,
            range: port.range.max(1),
            protocol: port.protocol,
        }
    }
}

impl std::fmt::Display for PortRow {
    /// `0.0.0.0:8080-8082->80-82/tcp`
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = match self.host_ip.as_str() {
            "" => "0.0.0.0".to_owned(),
            ip if ip.contains(':') => format!("[{ip}]"),
            ip => ip.to_owned(),
        };
        let row = |first: u16| match self.range {
            0 | 1 => first.to_string(),
            range => format!("{first}-{}", u32::from(first) + u32::from(range) - 1),
        };
        write!(formatter, "{host}:{}->{}/{}", row(self.host_port), row(self.container_port), self.protocol)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sampan_container::state::{Attachment, Image, UserMount};

    use super::*;

    /// A container that has ended, with something of everything.
    pub(crate) fn state(name: &str) -> State {
        State {
            id: format!("{name:0<64}"),
            name: name.into(),
            status: Status::Stopped,
            created: "2026-01-02T03:04:05Z".into(),
            started: Some("2026-01-02T03:04:06Z".into()),
            finished: Some("2026-01-02T03:05:00Z".into()),
            exit_code: Some(3),
            image: Some(Image {
                name: "quay.io/a/web:1".into(),
                id: "ab".repeat(32),
                digest: "sha256:cd".into(),
            }),
            command: vec!["nginx".into(), "-g".into(), "daemon off;".into(), "-x".into()],
            networks: [(
                "front".to_owned(),
                Attachment { addresses: vec!["10.90.0.2/24".into()], ..Attachment::default() },
            )]
            .into(),
            ports: vec![Port {
                host_port: 8080,
                container_port: 80,
                range: 3,
                protocol: "tcp".into(),
                ..Port::default()
            }],
            labels: [("app".to_owned(), "web".to_owned())].into(),
            mounts: vec![UserMount {
                kind: "volume".into(),
                name: Some("data".into()),
                destination: "/data".into(),
                ..UserMount::default()
            }],
            remove: true,
            unit: Some(format!("{name}.service")),
            ..State::default()
        }
    }

    #[test]
    fn json_has_podmans_fields() {
        let row = serde_json::to_value(Row::of(state("web"), String::new())).unwrap();
        let expected = json!({
            "Names": ["web"], "Image": "quay.io/a/web:1", "ImageID": "ab".repeat(32), "State": "exited",
            "Exited": true, "ExitCode": 3, "Pid": 0, "AutoRemove": true, "Created": 1_767_323_045,
            "ExitedAt": 1_767_323_100, "StartedAt": 1_767_323_046, "Networks": ["front"], "Mounts": ["/data"],
            "Labels": {"app": "web"}, "Command": ["nginx", "-g", "daemon off;", "-x"],
            "Ports": [{"host_ip": "", "container_port": 80, "host_port": 8080, "range": 3, "protocol": "tcp"}],
            "Pod": "", "PodName": "", "IsInfra": false, "Size": null, "Namespaces": {}, "CIDFile": "",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&row[name], value, "{name}");
        }
        assert!(row["Status"].as_str().unwrap().starts_with("Exited (3) "));
    }

    #[test]
    fn the_table_has_podmans_columns() {
        let Format::Listing(listing) = Format::of(None, COLUMNS).unwrap() else { panic!("JSON") };
        let row = Row {
            created_at: "1 hour ago".into(),
            status: "Up 1 hour".into(),
            ..Row::of(state("web"), String::new())
        };
        assert_eq!(
            listing.text(vec![row.fields(false)], true, HEADINGS).unwrap(),
            "CONTAINER ID  IMAGE            COMMAND               CREATED     STATUS      PORTS                         NAMES\n\
             web000000000  quay.io/a/web:1  nginx -g daemon o...  1 hour ago  Up 1 hour   0.0.0.0:8080-8082->80-82/tcp  web\n"
        );
    }

    #[test]
    fn templates_see_text() {
        let row = Row::of(state("web"), "healthy".into()).fields(false);
        let text = |format: &str| {
            output::Listing::parse(format).unwrap().text(vec![row.clone()], true, HEADINGS).unwrap()
        };
        assert_eq!(text("{{.Names}}|{{.State}}|{{.Labels}}|{{.Label \"app\"}}"), "web|exited|app=web|web\n");
        assert_eq!(text("{{.ID}} {{.ImageID}}"), "web000000000 abababababab\n");
        assert_eq!(text("{{.CreatedAt}}"), "2026-01-02 03:04:05 +0000 UTC\n");
        assert!(text("table {{.Names}} {{.RunningFor}}").starts_with("NAMES       RUNNING FOR\n"));
    }

    #[test]
    fn status_is_in_podmans_words() {
        let now = Some(Timestamp::now());
        let words = |status, health: &str| status_words(status, now, now, 1, health);
        assert_eq!(words(Status::Running, ""), "Up Less than a second");
        assert_eq!(words(Status::Running, "healthy"), "Up Less than a second (healthy)");
        assert_eq!(words(Status::Stopped, "healthy"), "Exited (1) Less than a second ago");
        assert_eq!(words(Status::Created, ""), "Created");
        assert_eq!(status_words(Status::Stopped, now, None, 0, ""), "Exited (0)");
    }

    #[test]
    fn ports_are_written_as_podman_does() {
        let port = |ip: &str, range| PortRow {
            host_ip: ip.into(),
            container_port: 80,
            host_port: 8080,
            range,
            protocol: "udp".into(),
        };
        assert_eq!(port("", 1).to_string(), "0.0.0.0:8080->80/udp");
        assert_eq!(port("::1", 2).to_string(), "[::1]:8080-8081->80-81/udp");
    }
}
