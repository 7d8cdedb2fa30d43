//! config.md: `terminal` and `consoleSize` of the process; config-linux.md: `/dev/console`; runtime-linux.md: file
//! descriptors and links in `/dev`.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};
use crate::sockets;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("config/process/no_terminal", "config.md#process: terminal", no_terminal),
        case("config/process/terminal", "config.md#process: terminal", terminal),
        case("config/process/console_size", "config.md#process: consoleSize", console_size),
        case("config/process/console_size_alone", "config.md#process: consoleSize", console_size_alone),
        case("linux/default_devices/console", "config-linux.md#default-devices: /dev/console", console),
        case("runtime/file_descriptors", "runtime-linux.md#file-descriptors", descriptors),
        case("runtime/dev_links", "runtime-linux.md#dev-symbolic-links", dev_links),
    ]
}

/// What a program on a terminal of its own writes until it ends.
fn on_a_terminal(bundle: &mut Bundle, script: &str) -> String {
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.script(script).write();
    let socket = bundle.path().join("console");
    let listener = sockets::listen(&socket);
    let arguments = [
        "create",
        "--bundle",
        bundle.path().to_str().unwrap(),
        "--console-socket",
        socket.to_str().unwrap(),
        "test",
    ];
    let ran = bundle.runtime(&arguments);
    assert_eq!(ran.status, 0, "{ran:?}");
    let (_, mut fds) = sockets::receive(&listener);
    assert_eq!(fds.len(), 1, "descriptors");
    bundle.runtime(&["start", "test"]).good();
    let text = read(fds.remove(0));
    bundle.runtime(&["delete", "--force", "test"]).good();
    text
}

fn read(master: OwnedFd) -> String {
    let (mut file, mut text) = (fs::File::from(master), Vec::new());
    // An error is how the master says that nobody has the other end any more.
    let _ = file.read_to_end(&mut text);
    String::from_utf8_lossy(&text).replace('\r', "")
}

fn no_terminal(bundle: &mut Bundle) {
    for value in [json!(false), json!(null)] {
        bundle.spec["process"]["terminal"] = value;
        if bundle.spec["process"]["terminal"].is_null() {
            bundle.spec["process"].as_object_mut().unwrap().remove("terminal");
        }
        let ran = bundle.script("tty; test -e /dev/console || echo no console").run();
        assert_eq!(ran.out, "not a tty\nno console\n", "{ran:?}");
    }
}

fn terminal(bundle: &mut Bundle) {
    let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; cut -d' ' -f7 /proc/1/stat; stat -c %t,%T /dev/pts/0";
    let out = on_a_terminal(bundle, script);
    // Its device number says that it controls the process's session (proc_pid_stat(5), tty_nr).
    assert_eq!(out, "/dev/pts/0\n/dev/pts/0\n/dev/pts/0\n34816\n88,0\n");
}

fn console_size(bundle: &mut Bundle) {
    bundle.spec["process"]["consoleSize"] = json!({"height": 33, "width": 111});
    assert_eq!(on_a_terminal(bundle, "stty size"), "33 111\n");
}

fn console_size_alone(bundle: &mut Bundle) {
    bundle.spec["process"]["consoleSize"] = json!({"height": 33, "width": 111});
    bundle.args(&["true"]).run().good();
}

fn console(bundle: &mut Bundle) {
    let out = on_a_terminal(bundle, "stat -c %t,%T /dev/console; echo written > /dev/console");
    assert_eq!(out, "88,0\nwritten\n");
}

fn descriptors(bundle: &mut Bundle) {
    bundle.before = "exec 3</etc 4</etc 7</etc;".into();
    // The listing itself is 3.
    assert_eq!(bundle.args(&["ls", "/proc/self/fd"]).run().good(), "0\n1\n2\n3\n");
    // And those that the caller asks for (`--preserve-fds`).
    let path = bundle.path().to_str().unwrap().to_owned();
    let ran = bundle.runtime(&["run", "--preserve-fds", "2", "--bundle", &path, "test"]);
    assert_eq!(ran.good(), "0\n1\n2\n3\n4\n5\n");
}

fn dev_links(bundle: &mut Bundle) {
    let script = "for l in fd stdin stdout stderr; do readlink /dev/$l; done; echo through > /dev/stdout";
    let out = bundle.script(script).run().good();
    assert_eq!(out, "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\nthrough\n");
}
