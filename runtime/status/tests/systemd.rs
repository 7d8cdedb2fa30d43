//! Calls to systemd, against an imitation of it on a bus of the test's own.

mod bus;

use std::sync::{Arc, Mutex};

use sampan_status::Error;
use sampan_status::systemd::{Property, Systemd, Whom};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, DBusError, OwnedObjectPath, OwnedVariant, fdo, interface};

use bus::Bus;

#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Failure {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
}

/// Remembers what it was asked, and ends every job at once.
#[derive(Debug, Default, Clone)]
struct Imitation {
    calls: Arc<Mutex<Vec<String>>>,
}

/// Name, description, load, active and sub state, leader, object, and a job with type and object.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

fn row(name: &str, active: &str, sub: &str) -> Row {
    let text = str::to_owned;
    let path = || OwnedObjectPath::try_from("/").unwrap();
    (
        text(name),
        text("a page"),
        text("loaded"),
        text(active),
        text(sub),
        text(""),
        path(),
        0,
        text(""),
        path(),
    )
}

type Auxiliary = Vec<(String, Vec<(String, OwnedVariant)>)>;

impl Imitation {
    async fn job(
        &self,
        emitter: &SignalEmitter<'_>,
        call: String,
        unit: &str,
    ) -> Result<OwnedObjectPath, Failure> {
        if unit == "none.service" {
            return Err(Failure::NoSuchUnit(format!("Unit {unit} not loaded.")));
        }
        self.calls.lock().unwrap().push(call);
        let job = |number: u32| OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{number}"));
        let result = if unit == "bad.service" { "failed" } else { "done" };
        // A job of somebody else ends first.
        emitter.job_removed(1, job(1)?, "other.service", "timeout").await?;
        emitter.job_removed(2, job(2)?, unit, result).await?;
        Ok(job(2)?)
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager", spawn = false)]
impl Imitation {
    async fn start_unit(
        &self,
        unit: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Failure> {
        self.job(&emitter, format!("start {unit} {mode}"), unit).await
    }

    async fn stop_unit(
        &self,
        unit: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Failure> {
        self.job(&emitter, format!("stop {unit} {mode}"), unit).await
    }

    async fn start_transient_unit(
        &self,
        unit: &str,
        mode: &str,
        properties: Vec<(String, OwnedVariant)>,
        _auxiliary: Auxiliary,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Failure> {
        let properties: Vec<String> =
            properties.iter().map(|(name, value)| format!("{name}={}", value.value_signature())).collect();
        self.job(&emitter, format!("transient {unit} {mode} {}", properties.join(" ")), unit).await
    }

    fn kill_unit(&self, unit: &str, whom: &str, signal: i32) {
        self.calls.lock().unwrap().push(format!("kill {unit} {whom} {signal}"));
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<Row> {
        names.iter().map(|name| row(name, "active", "running")).collect()
    }

    fn list_units_by_patterns(&self, states: Vec<String>, patterns: Vec<String>) -> Vec<Row> {
        assert!(states.is_empty());
        patterns.iter().map(|pattern| row(&pattern.replace('*', "1"), "failed", "failed")).collect()
    }

    fn load_unit(&self, _unit: &str) -> OwnedObjectPath {
        OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/web").unwrap()
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

#[derive(Debug)]
struct Unit;

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn id(&self) -> &str {
        "web.service"
    }

    #[zbus(property)]
    fn active_state(&self) -> &str {
        "active"
    }

    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> Vec<u8> {
        vec![0xab; 16]
    }
}

#[derive(Debug)]
struct Service;

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        42
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        9
    }

    #[zbus(property)]
    fn result(&self) -> &str {
        "signal"
    }

    #[zbus(property)]
    fn control_group(&self) -> &str {
        "/system.slice/web.service"
    }
}

fn systemd(bus: &Bus) -> (Imitation, Connection, Systemd) {
    let imitation = Imitation::default();
    let connection = bus.connect();
    zbus::block_on(async {
        let server = connection.object_server();
        server.at("/org/freedesktop/systemd1", imitation.clone()).await?;
        server.at("/org/freedesktop/systemd1/unit/web", Unit).await?;
        server.at("/org/freedesktop/systemd1/unit/web", Service).await?;
        connection.request_name("org.freedesktop.systemd1").await
    })
    .unwrap();
    (imitation, connection, Systemd::at(&bus.address).unwrap())
}

#[test]
fn jobs_are_waited_for() {
    let Some(bus) = Bus::start("jobs_are_waited_for") else { return };
    let (imitation, _connection, systemd) = systemd(&bus);
    systemd.start("web.service").unwrap();
    systemd.stop("web.service").unwrap();
    assert_eq!(*imitation.calls.lock().unwrap(), ["start web.service replace", "stop web.service replace"]);

    let error = systemd.start("bad.service").unwrap_err();
    assert!(
        matches!(&error, Error::Job { verb: "start", unit, result } if unit == "bad.service" && result == "failed")
    );
    assert!(error.to_string().contains("systemctl status bad.service"), "{error}");
    assert!(matches!(systemd.stop("none.service"), Err(Error::NoSuchUnit(unit)) if unit == "none.service"));
}

#[test]
fn transient_units_have_properties_of_systemds_types() {
    let Some(bus) = Bus::start("transient_units_have_properties_of_systemds_types") else { return };
    let (imitation, _connection, systemd) = systemd(&bus);
    let properties = [
        Property::text("Slice", "machine.slice"),
        Property::boolean("Delegate", true),
        Property::number("MemoryMax", 1 << 30),
        Property::list("After", &["a.service".to_owned()]),
    ];
    systemd.start_scope("a.scope", &[1, 2], &properties).unwrap();
    systemd.start_service("b.service", &["/bin/true".to_owned(), "x".to_owned()], &[]).unwrap();
    systemd.kill("b.service", Whom::Main, 15).unwrap();
    assert_eq!(
        *imitation.calls.lock().unwrap(),
        [
            "transient a.scope fail PIDs=au Slice=s Delegate=b MemoryMax=t After=as",
            "transient b.service fail ExecStart=a(sasb)",
            "kill b.service main 15",
        ]
    );
}

#[test]
fn the_states_of_many_units_come_in_one_call() {
    let Some(bus) = Bus::start("the_states_of_many_units_come_in_one_call") else { return };
    let (_imitation, _connection, systemd) = systemd(&bus);
    let words = |unit: &sampan_status::systemd::Listed| {
        format!("{} {} {} {}", unit.name, unit.load_state, unit.active_state, unit.sub_state)
    };
    let named = systemd.named(&["a.service".to_owned(), "b.service".to_owned()]).unwrap();
    assert_eq!(
        named.iter().map(words).collect::<Vec<_>>(),
        ["a.service loaded active running", "b.service loaded active running"]
    );
    let matching = systemd.matching(&["web@*.service".to_owned()]).unwrap();
    assert_eq!(matching.iter().map(words).collect::<Vec<_>>(), ["web@1.service loaded failed failed"]);
}

#[test]
fn a_bus_that_is_not_there_is_named() {
    let error = Systemd::at("unix:path=/nonexistent/bus").unwrap_err().to_string();
    assert!(error.contains("unix:path=/nonexistent/bus"), "{error}");
    let Some(bus) = Bus::start("a_bus_that_is_not_there_is_named") else { return };
    let systemd = Systemd::at(&bus.address).unwrap();
    let error = systemd.start("web.service").unwrap_err().to_string();
    assert!(error.contains("systemd StartUnit(web.service)"), "{error}");
}

#[test]
fn a_foreign_sender_cannot_end_a_job() {
    // The imitation answers StartUnit but its signal comes from another connection.
    #[derive(Debug)]
    struct Slow(Connection);

    #[interface(name = "org.freedesktop.systemd1.Manager")]
    impl Slow {
        async fn start_unit(
            &self,
            unit: &str,
            _mode: &str,
            #[zbus(header)] header: zbus::message::Header<'_>,
            #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        ) -> fdo::Result<OwnedObjectPath> {
            let job = OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap();
            let caller = header.sender().unwrap().to_string();
            let body = (7_u32, &job, unit, "done");
            let (path, interface) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
            self.0.emit_signal(Some(caller), path, interface, "JobRemoved", &body).await?;
            let body = (7_u32, &job, unit, "canceled");
            emitter.emit(interface, "JobRemoved", &body).await?;
            Ok(job)
        }
    }

    let Some(bus) = Bus::start("a_foreign_sender_cannot_end_a_job") else { return };
    let connection = bus.connect();
    zbus::block_on(async {
        connection.object_server().at("/org/freedesktop/systemd1", Slow(bus.connect())).await?;
        connection.request_name("org.freedesktop.systemd1").await
    })
    .unwrap();
    let systemd = Systemd::at(&bus.address).unwrap();
    let result = systemd.start("web.service");
    assert!(matches!(&result, Err(Error::Job { result, .. }) if result == "canceled"), "{result:?}");
}

#[test]
fn properties_of_a_unit_are_those_of_all_its_interfaces() {
    let Some(bus) = Bus::start("properties_of_a_unit_are_those_of_all_its_interfaces") else { return };
    let (_imitation, _connection, systemd) = systemd(&bus);
    let unit = systemd.unit("web.service").unwrap();
    assert_eq!((unit.id.as_str(), unit.active_state.as_str()), ("web.service", "active"));
    assert_eq!(unit.invocation_id, "ab".repeat(16));
    assert_eq!((unit.main_pid, unit.exec_main_status, unit.result.as_str()), (42, 9, "signal"));
    assert_eq!(unit.control_group, "/system.slice/web.service");
    assert_eq!(unit.load_state, "");
}
