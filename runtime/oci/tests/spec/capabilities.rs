//! config.md: capabilities and `noNewPrivileges`.

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("config/capabilities/five_sets", "config.md#linux-process: capabilities", five_sets),
        case("config/capabilities/as_root", "config.md#linux-process: capabilities", as_root),
        case("config/capabilities/none", "config.md#linux-process: capabilities", none),
        case("config/capabilities/unknown_is_a_warning", "config.md#linux-process: capabilities", unknown),
        case(
            "config/capabilities/not_to_be_had_is_a_warning",
            "config.md#linux-process: capabilities",
            not_to_be_had,
        ),
        case(
            "config/process/no_new_privileges",
            "config.md#linux-process: noNewPrivileges",
            no_new_privileges,
        ),
    ]
}

const SHOW: &[&str] = &["grep", "-E", "^(Cap|NoNew)", "/proc/self/status"];

#[track_caller]
fn sets(out: &str, wanted: &[(&str, u64)]) {
    for (name, value) in wanted {
        assert!(out.contains(&format!("Cap{name}:\t{value:016x}")), "Cap{name} isn't {value:x}: {out}");
    }
}

fn five_sets(bundle: &mut Bundle) {
    let set = json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
    bundle.spec["process"]["user"] = json!({"uid": 5, "gid": 5});
    bundle.spec["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_KILL"],
        "permitted": set, "effective": set, "inheritable": set, "ambient": ["CAP_CHOWN"],
    });
    let out = bundle.args(SHOW).run().good();
    // execve(2) gives another user than root the ambient set only.
    sets(&out, &[("Inh", 0x401), ("Prm", 1), ("Eff", 1), ("Bnd", 0x421), ("Amb", 1)]);
}

fn as_root(bundle: &mut Bundle) {
    let set = json!(["CAP_CHOWN", "CAP_KILL"]);
    bundle.spec["process"]["capabilities"] = json!({"bounding": set, "permitted": set, "effective": set});
    let out = bundle.args(SHOW).run().good();
    sets(&out, &[("Inh", 0), ("Prm", 0x21), ("Eff", 0x21), ("Bnd", 0x21), ("Amb", 0)]);
}

fn none(bundle: &mut Bundle) {
    bundle.spec["process"]["capabilities"] = json!({});
    let out = bundle.args(SHOW).run().good();
    sets(&out, &[("Inh", 0), ("Prm", 0), ("Eff", 0), ("Bnd", 0), ("Amb", 0)]);
}

fn unknown(bundle: &mut Bundle) {
    let set = json!(["CAP_CHOWN", "CAP_OF_NOBODY"]);
    bundle.spec["process"]["capabilities"] = json!({"bounding": set, "permitted": set, "effective": set});
    let ran = bundle.args(SHOW).run();
    assert!(ran.err.contains("CAP_OF_NOBODY"), "no warning: {ran:?}");
    sets(&ran.good(), &[("Bnd", 1), ("Eff", 1)]);
}

/// A runtime that lacks a capability itself, as in a container, warns and goes on.
fn not_to_be_had(bundle: &mut Bundle) {
    let set = json!(["CAP_CHOWN", "CAP_SYS_BOOT"]);
    bundle.spec["process"]["capabilities"] = json!({"bounding": set, "permitted": set, "effective": set});
    let path = bundle.path().to_str().unwrap().to_owned();
    bundle.args(SHOW).write();
    bundle.before = "set -- setpriv --bounding-set -sys_boot --inh-caps -sys_boot \"$@\";".into();
    let ran = bundle.runtime(&["run", "--bundle", &path, "test"]);
    assert!(ran.err.contains("SYS_BOOT"), "no warning: {ran:?}");
    sets(&ran.good(), &[("Bnd", 1), ("Eff", 1)]);
}

fn no_new_privileges(bundle: &mut Bundle) {
    for (value, wanted) in [(true, "NoNewPrivs:\t1"), (false, "NoNewPrivs:\t0")] {
        bundle.spec["process"]["noNewPrivileges"] = json!(value);
        let out = bundle.args(SHOW).run().good();
        assert!(out.contains(wanted), "{out}");
    }
    bundle.spec["process"].as_object_mut().unwrap().remove("noNewPrivileges");
    let out = bundle.run().good();
    assert!(out.contains("NoNewPrivs:\t0"), "{out}");
}
