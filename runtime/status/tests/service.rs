//! `org.sampan1` on a bus of the test's own, with the policy that the package installs.

mod bus;

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_core::Stream;
use sampan_container::process;
use sampan_container::state::{Attachment, Containers, Port, State, Status};
use sampan_status::service::{self, Configuration, NAME, PATH, object_path};
use tempfile::TempDir;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, interface};

use bus::Bus;

const SOON: Duration = Duration::from_secs(60);
/// For a service that isn't to leave during a test.
const LONG: Duration = Duration::from_secs(3600);

/// The service in a thread, and its containers.
struct Fixture {
    bus: Bus,
    client: Connection,
    root: TempDir,
    containers: Containers,
    service: Option<JoinHandle<sampan_status::Result<()>>>,
}

impl Fixture {
    fn start(test: &str, idle: Duration) -> Option<Self> {
        let bus = Bus::start(test)?;
        let root = TempDir::new().unwrap();
        let containers = Containers::open(root.path()).unwrap();
        let client = bus.connect();
        Some(Self { bus, client, root, containers, service: None }.serving(idle))
    }

    fn serving(mut self, idle: Duration) -> Self {
        let configuration = Configuration {
            bus: Some(self.bus.address.clone()),
            containers: self.root.path().to_owned(),
            idle,
        };
        self.service = Some(std::thread::spawn(move || service::serve(&configuration)));
        let start = Instant::now();
        while !self.owned() {
            assert!(start.elapsed() < SOON, "the service took no name");
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }

    fn owned(&self) -> bool {
        let bus = "org.freedesktop.DBus";
        let reply = self.call_at(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", &NAME).unwrap();
        reply.body().deserialize().unwrap()
    }

    fn call_at<B>(
        &self,
        to: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        zbus::block_on(self.client.call_method(Some(to), path, Some(interface), method, body))
    }

    fn manager<B>(&self, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.call_at(NAME, PATH, "org.sampan1.Manager", method, body)
    }

    fn list(&self) -> Vec<HashMap<String, OwnedVariant>> {
        self.manager("ListContainers", &()).unwrap().body().deserialize().unwrap()
    }

    fn property(&self, container: &str, name: &str) -> zbus::Result<OwnedVariant> {
        let body = ("org.sampan1.Container", name);
        let path = object_path(container);
        let reply = self.call_at(NAME, &path, "org.freedesktop.DBus.Properties", "Get", &body)?;
        reply.body().deserialize()
    }

    fn act<B>(&self, container: &str, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.call_at(NAME, &object_path(container), "org.sampan1.Container", method, body)
    }

    /// Writes the state of a container whose first process is `program`.
    fn container(&self, name: &str, program: &Program) -> State {
        let pid = i32::try_from(program.0.id()).unwrap();
        let state = State {
            id: "ab".repeat(32),
            name: name.into(),
            status: Status::Running,
            pid: Some(pid),
            start_time: Some(process::start_time(pid).unwrap()),
            unit: Some(format!("{name}.service")),
            networks: [(
                "front".to_owned(),
                Attachment { addresses: vec!["10.90.0.2/24".into()], ..Attachment::default() },
            )]
            .into(),
            ports: vec![Port {
                host_port: 8080,
                container_port: 80,
                range: 1,
                protocol: "tcp".into(),
                ..Port::default()
            }],
            ..State::default()
        };
        self.containers.create(name).unwrap().write(&state).unwrap();
        state
    }

    /// All signals of an interface from now on.
    fn signals(&self, interface: &'static str) -> Receiver<Message> {
        let connection = self.client.clone();
        let (send, receive) = mpsc::channel();
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(interface).build().unwrap();
        let mut stream = zbus::block_on(MessageStream::for_match_rule(rule, &connection, None)).unwrap();
        std::thread::spawn(move || {
            loop {
                let next = std::future::poll_fn(|cx| std::pin::Pin::new(&mut stream).poll_next(cx));
                let Some(Ok(message)) = zbus::block_on(next) else { return };
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        receive
    }
}

fn text(properties: &HashMap<String, OwnedVariant>, name: &str) -> String {
    <&str>::try_from(&properties[name]).unwrap().to_owned()
}

/// A program that stands for a container's first process; it ends with the value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper() -> Program {
    let mut sleep = Command::new("sleep");
    Program(sleep.arg("1000").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn state_changed(signals: &Receiver<Message>) -> (String, String, String) {
    signals.recv_timeout(SOON).unwrap().body().deserialize().unwrap()
}

fn triple(name: &str, old: &str, new: &str) -> (String, String, String) {
    (name.into(), old.into(), new.into())
}

#[test]
fn containers_are_listed_with_their_properties() {
    let Some(fixture) = Fixture::start("containers_are_listed_with_their_properties", LONG) else { return };
    assert!(fixture.list().is_empty());
    let program = sleeper();
    fixture.container("web-1", &program);
    let list = fixture.list();
    assert_eq!(list.len(), 1);
    assert_eq!((text(&list[0], "Name"), text(&list[0], "State")), ("web-1".into(), "running".into()));
    assert_eq!(u32::try_from(&list[0]["Pid"]), Ok(program.0.id()));
    assert_eq!(list[0]["Addresses"].value_signature().to_string(), "a{sas}");

    for name in ["web-1", "abab"] {
        let path: OwnedObjectPath =
            fixture.manager("GetContainer", &name).unwrap().body().deserialize().unwrap();
        assert_eq!(path.as_str(), "/org/sampan1/container/web_2d1");
    }
    let error = fixture.manager("GetContainer", &"nothing").unwrap_err().to_string();
    assert!(error.contains("nothing"), "{error}");
    drop(program);
}

#[test]
fn changes_are_signalled() {
    let Some(fixture) = Fixture::start("changes_are_signalled", LONG) else { return };
    let signals = fixture.signals("org.sampan1.Manager");
    let properties = fixture.signals("org.freedesktop.DBus.Properties");
    fixture.manager("Subscribe", &()).unwrap();
    let program = sleeper();
    let mut state = fixture.container("web", &program);
    assert_eq!(state_changed(&signals), triple("web", "", "running"));
    assert_eq!(
        fixture.property("web", "State").unwrap(),
        OwnedVariant::try_from(zbus::Variant::from("running")).unwrap()
    );

    // The process ends and nobody writes it down.
    drop(program);
    assert_eq!(state_changed(&signals), triple("web", "running", "stopped"));
    let message = properties.recv_timeout(SOON).unwrap();
    let body = message.body();
    let (interface, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
        body.deserialize().unwrap();
    assert_eq!(interface, "org.sampan1.Container");
    assert_eq!(text(&changed, "State"), "stopped");
    assert_eq!(u32::try_from(&changed["Pid"]), Ok(0));

    // It starts again.
    let program = sleeper();
    state.pid = Some(i32::try_from(program.0.id()).unwrap());
    state.start_time = Some(process::start_time(state.pid.unwrap()).unwrap());
    fixture.containers.get("web").unwrap().write(&state).unwrap();
    assert_eq!(state_changed(&signals), triple("web", "stopped", "running"));
    drop(program);
    assert_eq!(state_changed(&signals), triple("web", "running", "stopped"));

    fixture.containers.get("web").unwrap().remove().unwrap();
    assert_eq!(state_changed(&signals), triple("web", "stopped", ""));
    let error = fixture.property("web", "State").unwrap_err().to_string();
    assert!(error.contains("Unknown"), "{error}");
}

#[test]
fn it_leaves_when_idle_but_not_while_someone_is_subscribed() {
    // Long enough to subscribe in time.
    let idle = Duration::from_secs(3);
    let Some(mut fixture) = Fixture::start("it_leaves_when_idle_but_not_while_someone_is_subscribed", idle)
    else {
        return;
    };
    let subscriber = fixture.bus.connect();
    let subscribe = subscriber.call_method(Some(NAME), PATH, Some("org.sampan1.Manager"), "Subscribe", &());
    zbus::block_on(subscribe).unwrap();
    std::thread::sleep(idle + Duration::from_secs(1));
    assert!(fixture.owned(), "it has left a subscriber alone");

    // The subscriber leaves the bus without a word.
    let start = Instant::now();
    zbus::block_on(subscriber.close()).unwrap();
    while fixture.owned() {
        assert!(start.elapsed() < SOON, "it stays for ever");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() >= idle, "it left at once");
    fixture.service.take().unwrap().join().unwrap().unwrap();
    assert!(fixture.manager("ListContainers", &()).is_err());
}

#[test]
fn subscriptions_are_counted_per_client() {
    let Some(fixture) = Fixture::start("subscriptions_are_counted_per_client", LONG) else { return };
    assert!(fixture.manager("Unsubscribe", &()).is_err());
    fixture.manager("Subscribe", &()).unwrap();
    fixture.manager("Subscribe", &()).unwrap();
    fixture.manager("Unsubscribe", &()).unwrap();
    assert!(fixture.manager("Unsubscribe", &()).is_err());
}

#[test]
fn the_introspection_data_documents_the_interface() {
    let Some(fixture) = Fixture::start("the_introspection_data_documents_the_interface", LONG) else {
        return;
    };
    let interface = "org.freedesktop.DBus.Introspectable";
    let reply = fixture.call_at(NAME, PATH, interface, "Introspect", &()).unwrap();
    let xml: String = reply.body().deserialize().unwrap();
    for part in ["org.sampan1.Manager", "ListContainers", "aa{sv}", "StateChanged", "Addresses (a{sas})"] {
        assert!(xml.contains(part), "{part} is not in {xml}");
    }
}

#[test]
fn a_signal_reaches_the_first_process() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: a_signal_reaches_the_first_process: only root acts without polkit");
        return;
    }
    let Some(fixture) = Fixture::start("a_signal_reaches_the_first_process", LONG) else { return };
    let mut program = sleeper();
    fixture.container("web", &program);
    while fixture.property("web", "State").is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = fixture.act("web", "Kill", &0).unwrap_err().to_string();
    assert!(error.contains("no signal"), "{error}");
    fixture.act("web", "Kill", &15).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&program.0.wait().unwrap()), Some(15));
}

/// An authority that lets nobody through but for one container, and remembers the questions.
#[derive(Debug, Clone, Default)]
struct Authority(Arc<Mutex<Vec<String>>>);

type Subject = (String, HashMap<String, OwnedVariant>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    fn check_authorization(
        &self,
        subject: Subject,
        action: &str,
        details: HashMap<String, String>,
        flags: u32,
        _cancellation: &str,
    ) -> ((bool, bool, HashMap<String, String>),) {
        self.0.lock().unwrap().push(format!("{} {action} {} {flags}", subject.0, details["container"]));
        ((details["container"] == "allowed", details["container"] == "ask", HashMap::new()),)
    }
}

/// Calls a method as another user, by dbus-send(1). Says whether it went well, and what it printed.
fn call_as_nobody(fixture: &Fixture, path: &str, method: &str, argument: Option<&str>) -> (bool, String) {
    let mut send = Command::new("dbus-send");
    send.arg(format!("--bus={}", fixture.bus.address)).arg("--print-reply").arg(format!("--dest={NAME}"));
    send.args([path, method]).args(argument);
    let output = send.uid(65534).gid(65534).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn kill_as_nobody(fixture: &Fixture, container: &str) -> (bool, String) {
    call_as_nobody(fixture, &object_path(container), "org.sampan1.Container.Kill", Some("int32:15"))
}

#[test]
fn others_than_root_need_polkit_to_act_but_not_to_read() {
    let test = "others_than_root_need_polkit_to_act_but_not_to_read";
    let dbus_send = Command::new("dbus-send").arg("--help").output().is_ok();
    if !rustix::process::geteuid().is_root() || !dbus_send {
        eprintln!("SKIP: {test}: it takes root, to become another user, and dbus-send");
        return;
    }
    let Some(fixture) = Fixture::start(test, LONG) else { return };
    std::fs::set_permissions(fixture.root.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let programs: Vec<Program> = ["allowed", "ask", "denied"]
        .into_iter()
        .map(|name| {
            let program = sleeper();
            fixture.container(name, &program);
            program
        })
        .collect();
    while fixture.property("denied", "State").is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }

    let (ok, error) = kill_as_nobody(&fixture, "allowed");
    assert!(!ok && error.contains("asking polkit about org.sampan1.manage"), "no polkit: {error}");

    let authority = Authority::default();
    let polkit = fixture.bus.connect();
    zbus::block_on(async {
        polkit.object_server().at("/org/freedesktop/PolicyKit1/Authority", authority.clone()).await?;
        polkit.request_name("org.freedesktop.PolicyKit1").await
    })
    .unwrap();
    let (ok, error) = kill_as_nobody(&fixture, "denied");
    assert!(!ok && error.contains("polkit does not allow org.sampan1.manage"), "{error}");
    let (ok, error) = kill_as_nobody(&fixture, "ask");
    assert!(!ok && error.to_lowercase().contains("interactive"), "{error}");
    let (ok, error) = kill_as_nobody(&fixture, "allowed");
    assert!(ok, "{error}");
    let asked = authority.0.lock().unwrap().clone();
    assert_eq!(asked[0], "system-bus-name org.sampan1.manage denied 0");

    let (ok, error) = call_as_nobody(&fixture, PATH, "org.sampan1.Manager.ListContainers", None);
    assert!(ok, "{error}");
    drop(programs);
}
