//! System call filters: every action, flags, arguments, architectures, and an agent that decides.

mod bundle;

use std::io::Read;
use std::os::unix::net::UnixListener;

use bundle::{Bundle, Ran};
use serde_json::{Value, json};

/// A program that changes a mode, under a filter for that.
fn chmod(bundle: &mut Bundle, rule: Value) -> Ran {
    let mut rule = rule;
    rule["names"] = json!(["chmod", "fchmodat", "fchmodat2", "no_such_call"]);
    bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    bundle.script("chmod 700 /tmp; echo $?").run()
}

#[test]
fn each_action_does_what_it_says() {
    let Some(mut bundle) = Bundle::new() else { return };
    let mut of = |rule: Value| chmod(&mut bundle, rule);
    let ran = of(json!({"action": "SCMP_ACT_ERRNO"}));
    assert!(ran.out == "1\n" && ran.err.contains("Operation not permitted"), "{ran:?}");
    let ran = of(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 28}));
    assert!(ran.out == "1\n" && ran.err.contains("No space left"), "{ran:?}");
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        // SIGSYS
        assert_eq!(of(json!({"action": action})).out, "159\n", "{action}");
    }
    // Nobody traces.
    let ran = of(json!({"action": "SCMP_ACT_TRACE", "errnoRet": 1}));
    assert!(ran.out == "1\n" && ran.err.contains("not implemented"), "{ran:?}");
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        assert_eq!(of(json!({"action": action})).out, "0\n", "{action}");
    }
    let ran = of(json!({"action": "SCMP_ACT_KILL", "errnoRet": 1}));
    assert!(ran.status == 1 && ran.err.contains("SCMP_ACT_TRACE"), "{ran:?}");
}

#[test]
fn the_default_has_its_errno() {
    let Some(mut bundle) = Bundle::new() else { return };
    // All that is numbered higher than what a shell and the start need: the table of this machine's calls is long.
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 95,
        "syscalls": [{"names": [
            "access", "arch_prctl", "brk", "capget", "capset", "chdir", "clone", "clone3", "close", "close_range", "dup",
            "dup2", "dup3", "execve", "exit", "exit_group", "faccessat", "faccessat2", "fcntl", "fork", "fstat", "futex",
            "getcwd", "getegid", "geteuid", "getgid", "getpgrp", "getpid", "getppid", "getrandom", "getuid", "ioctl",
            "lseek", "lstat", "mmap", "mprotect", "munmap", "newfstatat", "open", "openat", "pipe", "pipe2", "poll",
            "prctl", "pread64", "prlimit64", "read", "readlink", "rseq", "rt_sigaction", "rt_sigprocmask",
            "rt_sigreturn", "seccomp", "sendto", "set_robust_list", "set_tid_address", "setgid", "setuid", "stat", "statx",
            "sysinfo", "time", "uname", "umask", "vfork", "wait4", "waitid", "write", "writev"
        ], "action": "SCMP_ACT_ALLOW"}],
    });
    let ran = bundle.script("chmod 700 /tmp; echo $?").run();
    assert!(ran.out == "1\n" && ran.err.contains("not supported"), "{ran:?}");
}

#[test]
fn arguments_are_compared() {
    let Some(mut bundle) = Bundle::new() else { return };
    // chmod(path, 0700), and fchmodat has its mode one place later: busybox uses the former.
    let mut case = |args: Value| {
        let rule = json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": args});
        bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        bundle.script("chmod 700 /tmp 2>/dev/null; echo $?").run().good() == "1\n"
    };
    let one = |op: &str, value: u32| json!([{"index": 1, "value": value, "op": op}]);
    for (op, value, denied) in [
        ("SCMP_CMP_EQ", 0o700, true),
        ("SCMP_CMP_EQ", 0o701, false),
        ("SCMP_CMP_NE", 0o701, true),
        ("SCMP_CMP_LT", 0o700, false),
        ("SCMP_CMP_LE", 0o700, true),
        ("SCMP_CMP_GT", 0o677, true),
        ("SCMP_CMP_GE", 0o701, false),
    ] {
        assert_eq!(case(one(op, value)), denied, "{op} {value:o}");
    }
    let masked = |mask: u32, wanted: u32| json!([{"index": 1, "value": mask, "valueTwo": wanted, "op": "SCMP_CMP_MASKED_EQ"}]);
    assert!(case(masked(0o770, 0o700)));
    assert!(!case(masked(0o770, 0o770)));
    // Several conditions on one argument are alternatives, as in runc; on several, all hold.
    let two = |value| json!([{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}]);
    assert!(case(two(1)));
    let both = json!([{"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 1, "op": "SCMP_CMP_LT"}]);
    assert!(!case(both));
}

#[test]
fn flags_and_architectures_are_taken() {
    let Some(mut bundle) = Bundle::new() else { return };
    let names = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"];
    let flags: Vec<_> = names.iter().map(|name| format!("SECCOMP_FILTER_FLAG_{name}")).collect();
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": flags,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64"],
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}],
    });
    let script = "grep Seccomp: /proc/self/status; chmod 700 /tmp";
    let ran = bundle.script(script).run();
    assert!(ran.out.ends_with("2\n") && ran.err.contains("not permitted"), "{ran:?}");
    bundle.spec["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_NONSENSE"]);
    assert_eq!(bundle.run().status, 1);
}

#[test]
fn an_agent_gets_the_listener_and_the_state() {
    let Some(mut bundle) = Bundle::new() else { return };
    let path = bundle.path().join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"],
        "listenerPath": path,
        "listenerMetadata": "some data",
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.spec["annotations"] = json!({"a": "b"});
    let told = std::thread::spawn(move || {
        let (mut stream, _) = agent.accept().unwrap();
        let mut text = String::new();
        // It is closed after one message. The listener, which isn't taken, is closed too: who asks gets ENOSYS.
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let ran = bundle.script("chmod 700 /tmp").run();
    assert!(ran.err.contains("not implemented"), "{ran:?}");
    let state: Value = serde_json::from_str(&told.join().unwrap()).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "some data");
    assert_eq!(state["state"]["id"], "test");
    assert_eq!(state["state"]["status"], "creating");
    assert_eq!(state["state"]["annotations"], json!({"a": "b"}));
    assert!(state["pid"].as_i64().unwrap() > 1 && state["state"]["pid"] == state["pid"], "{state}");
    for key in ["ociVersion", "bundle"] {
        assert!(state["state"][key].is_string(), "{key}");
    }
}

#[test]
fn an_agent_is_needed_where_one_is_asked() {
    let Some(mut bundle) = Bundle::new() else { return };
    let notify = |names: Value, rest: Value| {
        let mut seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]});
        seccomp.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        seccomp
    };
    for (seccomp, words) in [
        (notify(json!(["chmod"]), json!({})), "listenerPath"),
        (notify(json!(["chmod"]), json!({"listenerPath": "/no/such/agent"})), "/no/such/agent"),
        (notify(json!(["write"]), json!({"listenerPath": "/x"})), "hands over the listener"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}), "nobody listens yet"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}), "listenerPath"),
    ] {
        bundle.spec["linux"]["seccomp"] = seccomp;
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status == 1 && ran.err.contains(words), "{words}: {ran:?}");
    }
    // Without a rule that notifies, the path is ignored.
    bundle.spec["linux"]["seccomp"] =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/agent"});
    bundle.run().good();
}
