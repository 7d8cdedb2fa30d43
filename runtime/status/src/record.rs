//! What the bus says about a container: the part of its state that others have a use for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use sampan_container::state::{ContainerDir, Containers, State, Status};
use zbus::{OwnedVariant, Variant};

use crate::Result;

/// A published port: host address (empty: all), host port, container port, how many, protocol.
pub type Port = (String, u16, u16, u16, String);

/// One container as `org.sampan1` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Its status in the words of the OCI runtime specification.
    pub status: Status,
    /// Its first process in the host's PID namespace; 0 if it has none.
    pub pid: u32,
    /// When that process started, in clock ticks since boot.
    pub start_time: Option<u64>,
    /// The name of its image, or its `Rootfs=` directory.
    pub image: String,
    /// Its addresses with prefix length, by network.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// The systemd unit whose main process it is; empty if there is none.
    pub unit: String,
    /// When it was made (RFC 3339).
    pub created: String,
    /// How its last run ended; -1 while it runs and before it has run.
    pub exit_code: i32,
    /// `starting`, `healthy` or `unhealthy`; empty if it has no health check.
    pub health: String,
    /// Its published ports.
    pub ports: Vec<Port>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: u32,
}

impl Record {
    /// Reads a container from its directory.
    ///
    /// # Errors
    /// [`Error::Container`](crate::Error::Container) if it is gone or its files are damaged.
    pub fn read(dir: &ContainerDir) -> Result<Self> {
        let state = dir.read()?;
        let status = state.live_status();
        let health = match &state.healthcheck {
            Some(_) => health(dir.path()),
            None => String::new(),
        };
        Ok(Self::new(state, status, health))
    }

    fn new(state: State, status: Status, health: String) -> Self {
        let runs = matches!(status, Status::Created | Status::Running | Status::Paused);
        let pid = state.pid.filter(|_| runs).and_then(|pid| u32::try_from(pid).ok());
        let rootfs = state.rootfs.map(|rootfs| rootfs.to_string_lossy().into_owned());
        let ports = state.ports.into_iter();
        Self {
            status,
            pid: pid.unwrap_or_default(),
            start_time: state.start_time,
            image: state.image.map(|image| image.name).or(rootfs).unwrap_or_default(),
            addresses: state.networks.into_iter().map(|(name, on)| (name, on.addresses)).collect(),
            unit: state.unit.unwrap_or_default(),
            created: state.created,
            exit_code: state.exit_code.filter(|_| !runs).unwrap_or(-1),
            health,
            ports: ports.map(|p| (p.host_ip, p.host_port, p.container_port, p.range, p.protocol)).collect(),
            labels: state.labels,
            stop_timeout: state.stop_timeout,
            name: state.name,
            id: state.id,
        }
    }

    /// The same container after its first process has ended, before anyone wrote that down.
    pub(crate) fn ended(mut self) -> Self {
        self.status = Status::Stopped;
        self.pid = 0;
        self
    }

    /// The D-Bus properties of `org.sampan1.Container`, by name.
    pub fn properties(&self) -> HashMap<&'static str, OwnedVariant> {
        let pairs: [(&'static str, Variant<'_>); 12] = [
            ("Name", self.name.as_str().into()),
            ("Id", self.id.as_str().into()),
            ("State", self.status.to_string().into()),
            ("Pid", self.pid.into()),
            ("Image", self.image.as_str().into()),
            ("Addresses", self.addresses.clone().into()),
            ("Unit", self.unit.as_str().into()),
            ("Created", self.created.as_str().into()),
            ("ExitCode", self.exit_code.into()),
            ("Health", self.health.as_str().into()),
            ("Ports", self.ports.clone().into()),
            ("Labels", self.labels.clone().into()),
        ];
        // Only a value that holds a file descriptor can fail to become an owned one.
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.try_into().ok()?))).collect()
    }

    /// The properties that differ from those of `old`.
    pub(crate) fn changes(&self, old: &Record) -> HashMap<&'static str, OwnedVariant> {
        let before = old.properties();
        let now = self.properties().into_iter();
        now.filter(|(name, value)| before.get(name) != Some(value)).collect()
    }
}

/// What the last health check found, from the file that `sampan healthcheck` keeps.
fn health(dir: &Path) -> String {
    #[derive(serde::Deserialize)]
    struct Health {
        #[serde(rename = "Status")]
        status: String,
    }
    let text = std::fs::read(dir.join("health.json")).ok();
    let health = text.and_then(|text| serde_json::from_slice::<Health>(&text).ok());
    health.map_or_else(|| "starting".to_owned(), |health| health.status)
}

/// All containers, by name. One that can't be read (it is being made, or it is just gone) is left out.
///
/// # Errors
/// [`Error::Container`](crate::Error::Container) if the directory can't be listed.
pub fn scan(containers: &Containers) -> Result<BTreeMap<String, Record>> {
    let mut records = BTreeMap::new();
    for dir in containers.list()? {
        match Record::read(&dir) {
            Ok(record) => drop(records.insert(dir.name().to_owned(), record)),
            Err(error) => log::debug!("leaving out container {}: {error}", dir.name()),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_container::state::Port as StatePort;

    fn state() -> State {
        State {
            id: "a".repeat(64),
            name: "web".into(),
            status: Status::Running,
            pid: Some(7),
            rootfs: Some("/srv/root".into()),
            exit_code: Some(3),
            ports: vec![StatePort {
                host_port: 8080,
                container_port: 80,
                range: 1,
                protocol: "tcp".into(),
                ..StatePort::default()
            }],
            ..State::default()
        }
    }

    #[test]
    fn a_running_container_has_a_pid_and_no_exit_code() {
        let record = Record::new(state(), Status::Running, String::new());
        assert_eq!((record.pid, record.exit_code), (7, -1));
        assert_eq!(record.image, "/srv/root");
        assert_eq!(record.ports, [(String::new(), 8080, 80, 1, "tcp".to_owned())]);
    }

    #[test]
    fn a_stopped_container_has_an_exit_code_and_no_pid() {
        let record = Record::new(state(), Status::Stopped, String::new());
        assert_eq!((record.pid, record.exit_code), (0, 3));
    }

    #[test]
    fn changes_are_the_properties_that_differ() {
        let old = Record::new(state(), Status::Running, String::new());
        let changes = old.clone().ended().changes(&old);
        let mut names: Vec<_> = changes.keys().copied().collect();
        names.sort();
        assert_eq!(names, ["Pid", "State"]);
        assert!(old.changes(&old).is_empty());
    }

    #[test]
    fn signatures_are_those_documented() {
        let properties = Record::new(state(), Status::Running, String::new()).properties();
        for (name, signature) in [
            ("Name", "s"),
            ("Pid", "u"),
            ("Addresses", "a{sas}"),
            ("ExitCode", "i"),
            ("Ports", "a(sqqqs)"),
            ("Labels", "a{ss}"),
        ] {
            assert_eq!(properties[name].value_signature().to_string(), signature, "{name}");
        }
        assert_eq!(properties.len(), 12);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::open(root.path()).unwrap();
        containers.create("half").unwrap();
        containers.create("web").unwrap().write(&state()).unwrap();
        let names: Vec<_> = scan(&containers).unwrap().into_keys().collect();
        assert_eq!(names, ["web"]);
    }
}
