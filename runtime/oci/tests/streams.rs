//! Whose the standard streams are that a program gets from the caller.

mod bundle;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use bundle::Bundle;
use serde_json::json;

/// A container of the user 1000 and the group 1001.
fn of_a_user() -> Option<Bundle> {
    let mut bundle = Bundle::new()?;
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 1001});
    bundle.spec["process"]["capabilities"] = json!({});
    Some(bundle)
}

fn owner(bundle: &Bundle, file: &str) -> (u32, u32) {
    let data = fs::metadata(bundle.path().join(file)).unwrap();
    (data.uid(), data.gid())
}

/// Programs write their logs to `/dev/stdout`, which they have to open.
#[test]
fn pipes_can_be_opened_again() {
    let Some(mut bundle) = of_a_user() else { return };
    let ran =
        bundle.script("stat -L -c %u:%g /dev/stdout; echo out > /dev/stdout; echo err > /dev/stderr").run();
    assert_eq!((ran.err.as_str(), ran.out.as_str()), ("err\n", "1000:1001\nout\n"));
    bundle.script("sleep 1000");
    let running = bundle.start();
    let ran = running
        .exec(&["--user", "1002:1003"], &["sh", "-c", "stat -L -c %u:%g /dev/stdout; echo > /dev/stdout"]);
    assert_eq!((ran.err.as_str(), ran.out.as_str()), ("", "1002:1003\n\n"));
}

/// A file that is read isn't given away, nor is a device: the host's would be anyone's then.
#[test]
fn files_are_given_to_be_written_only() {
    let Some(mut bundle) = of_a_user() else { return };
    bundle.script("echo written; echo again >> /dev/stdout");
    let path = |file: &str| bundle.path().join(file).display().to_string();
    for file in ["read", "written"] {
        fs::write(path(file), "").unwrap();
        chown(path(file), Some(7), Some(8)).unwrap();
    }
    for (name, minor) in [("null", "3"), ("zero", "5")] {
        assert!(Command::new("mknod").args([&path(name), "c", "1", minor]).status().unwrap().success());
    }
    for input in ["read", "null", "zero"] {
        bundle.run_after(&format!("exec < {} >> {};", path(input), path("written"))).good();
        assert_eq!(owner(&bundle, "written"), (1000, 8), "{input}");
    }
    assert_eq!(
        (owner(&bundle, "read"), owner(&bundle, "null"), owner(&bundle, "zero")),
        ((7, 8), (0, 0), (0, 0))
    );
    assert_eq!(fs::read_to_string(path("written")).unwrap(), "written\nagain\n".repeat(3));
    bundle.run_after(&format!("exec > {} 2>&1;", path("zero")));
    assert_eq!(owner(&bundle, "zero"), (0, 0));
}

/// Nobody there could give them away.
#[test]
fn users_that_are_not_mapped_keep_theirs() {
    let Some(mut bundle) = of_a_user() else { return };
    fs::set_permissions(bundle.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["proc", "sys", "dev"] {
        fs::create_dir(bundle.rootfs(name)).unwrap();
    }
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    assert_eq!(bundle.script("echo good").run().good(), "good\n");
}

/// A terminal made for the container is the user's, as it would be after a login.
#[test]
fn the_terminal_is_the_users() {
    let Some(mut bundle) = of_a_user() else { return };
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.script("stat -c %u:%g /dev/console; echo again > /dev/console").write();
    let arguments = ["run", "--bundle", bundle.path().to_str().unwrap(), "test"];
    let output = bundle.command("", &arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert_eq!(text, "1000:5\nagain\n", "{output:?}");
}
