//! config.md: mounts with mapped ids (`uidMappings` and `gidMappings` of a mount, options `idmap` and `ridmap`).

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("config/mounts/idmap/mapped", "config.md#posix-platform-mounts: uidMappings", mapped),
        case("config/mounts/idmap/by_option_only", "config.md#linux-mount-options: idmap", not_recursive),
        case("config/mounts/idmap/ridmap", "config.md#linux-mount-options: ridmap", recursive),
        case(
            "config/mounts/idmap/written_back",
            "config.md#posix-platform-mounts: uidMappings",
            written_back,
        ),
        case(
            "config/mounts/idmap/in_a_user_namespace",
            "config.md#linux-mount-options: idmap",
            in_a_user_namespace,
        ),
        case(
            "config/mounts/idmap/both_or_none",
            "config.md#posix-platform-mounts: uidMappings",
            both_or_none,
        ),
        case(
            "config/mounts/idmap/without_a_mapping",
            "config.md#linux-mount-options: idmap",
            without_a_mapping,
        ),
    ]
}

/// A volume on a tmpfs with a file of user 0 and one of user 5, and the same in a mount below it.
fn volume(bundle: &mut Bundle) -> String {
    let volume = bundle.folder("volume").to_str().unwrap().to_owned();
    let files = "touch root five; chown 5:6 five; chmod 777 .";
    bundle.before = format!(
        "mount -t tmpfs above {volume}; mkdir {volume}/below; mount -t tmpfs below {volume}/below;
        (cd {volume}; {files}; cd below; {files});"
    );
    volume
}

fn map(host: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": 100}])
}

fn add(bundle: &mut Bundle, source: &str, options: &[&str], uids: Option<Value>, gids: Option<Value>) {
    bundle.add_mount("bind", source, "/t", options);
    let mount = bundle.spec["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    if let Some(map) = uids {
        mount["uidMappings"] = map;
    }
    if let Some(map) = gids {
        mount["gidMappings"] = map;
    }
}

fn mapped(bundle: &mut Bundle) {
    let volume = volume(bundle);
    add(bundle, &volume, &["bind", "idmap"], Some(map(1000)), Some(map(2000)));
    let out = bundle.args(&["stat", "-c", "%u:%g", "/t/root", "/t/five"]).run().good();
    assert_eq!(out, "1000:2000\n1005:2006\n");
}

fn not_recursive(bundle: &mut Bundle) {
    let volume = volume(bundle);
    add(bundle, &volume, &["rbind", "idmap"], Some(map(1000)), Some(map(2000)));
    let out = bundle.args(&["stat", "-c", "%u:%g", "/t/five", "/t/below/five"]).run().good();
    assert_eq!(out, "1005:2006\n5:6\n");
}

fn recursive(bundle: &mut Bundle) {
    let volume = volume(bundle);
    add(bundle, &volume, &["rbind", "ridmap"], Some(map(1000)), Some(map(2000)));
    let out = bundle.args(&["stat", "-c", "%u:%g", "/t/five", "/t/below/five"]).run().good();
    assert_eq!(out, "1005:2006\n1005:2006\n");
}

fn written_back(bundle: &mut Bundle) {
    let volume = volume(bundle);
    add(bundle, &volume, &["bind", "idmap"], Some(map(1000)), Some(map(1000)));
    bundle.add_mount("bind", &volume, "/plain", &["bind"]);
    bundle.spec["process"]["user"] = json!({"uid": 1007, "gid": 1008});
    let out = bundle.script("touch /t/new; stat -c %u:%g /t/new /plain/new").run().good();
    assert_eq!(out, "1007:1008\n7:8\n");
}

/// The volume's users are the container's, whatever those are on the host.
fn in_a_user_namespace(bundle: &mut Bundle) {
    let volume = volume(bundle);
    bundle.users(100_000, 1000);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    add(bundle, &volume, &["bind", "idmap"], Some(map.clone()), Some(map));
    let out = bundle.args(&["stat", "-c", "%u:%g", "/t/root", "/t/five"]).run().good();
    assert_eq!(out, "0:0\n5:6\n");
}

fn both_or_none(bundle: &mut Bundle) {
    let volume = volume(bundle);
    add(bundle, &volume, &["bind", "idmap"], Some(map(1000)), None);
    bundle.refused();
    bundle.drop_mount("/t");
    add(bundle, &volume, &["bind", "idmap"], None, Some(map(1000)));
    bundle.refused();
}

fn without_a_mapping(bundle: &mut Bundle) {
    let volume = volume(bundle);
    add(bundle, &volume, &["bind", "idmap"], None, None);
    bundle.refused();
}
