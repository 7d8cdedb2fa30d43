//! A message bus of a test's own, with the policy that the package installs on the system bus.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use zbus::Connection;

/// A running dbus-daemon; it and its directory are gone with the value.
#[derive(Debug)]
pub(crate) struct Bus {
    daemon: Child,
    _directory: TempDir,
    pub(crate) address: String,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Bus {
    /// Starts a bus, or says why the test is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        // Other users have to reach the socket.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let user = directory.path().metadata().unwrap().uid();
        let socket = directory.path().join("bus");
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/dbus/org.sampan1.conf");
        let configuration = directory.path().join("bus.conf");
        std::fs::write(&configuration, configure(&socket, user, &policy)).unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .args(["--print-address=1", "--nofork"])
            .stdout(Stdio::piped())
            // It complains there about limits that it may not raise.
            .stderr(Stdio::null())
            .spawn();
        let mut daemon = match daemon {
            Ok(daemon) => daemon,
            Err(error) => {
                eprintln!("SKIP: {test}: dbus-daemon can't be started: {error}");
                return None;
            }
        };
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "dbus-daemon gave no address");
        Some(Self { daemon, _directory: directory, address })
    }

    /// A client.
    pub(crate) fn connect(&self) -> Connection {
        zbus::block_on(zbus::connection::Builder::address(self.address.as_str()).build()).unwrap()
    }
}

/// What the system bus is by default (nothing is allowed that no policy file allows), but that the
/// user who runs the test may do everything.
fn configure(socket: &Path, user: u32, policy: &Path) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{policy}</include>
  <policy user="{user}">
    <allow own="*"/>
    <allow send_destination="*"/>
  </policy>
</busconfig>"#,
        socket = socket.display(),
        policy = policy.display(),
    )
}
