//! config.md: process, its limits, scheduling, and its user.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{Case, case, lacks};

pub(crate) fn cases() -> Vec<Case> {
    let nice = || lacks(caps::Capability::CAP_SYS_NICE);
    vec![
        case("config/process/cwd", "config.md#process: cwd", cwd),
        case("config/process/relative_cwd", "config.md#process: cwd", relative_cwd),
        case("config/process/env", "config.md#process: env", env),
        case("config/process/args", "config.md#process: args", args),
        case("config/process/args_by_path", "config.md#process: args", args_by_path),
        case("config/process/no_args", "config.md#process: args", no_args),
        case("config/process/rlimits", "config.md#posix-process: rlimits", rlimits),
        case("config/process/rlimits_twice", "config.md#posix-process: rlimits", rlimits_twice),
        case("config/process/oom_score_adj", "config.md#linux-process: oomScoreAdj", oom_score_adj),
        case("config/process/oom_score_adj_unset", "config.md#linux-process: oomScoreAdj", oom_unset),
        case("config/process/scheduler_batch", "config.md#linux-process: scheduler", batch),
        case("config/process/scheduler_idle", "config.md#linux-process: scheduler", idle),
        case("config/process/scheduler_fifo", "config.md#linux-process: scheduler", fifo).needs(nice),
        case("config/process/scheduler_flag", "config.md#linux-process: scheduler", scheduler_flag),
        case("config/process/io_priority", "config.md#linux-process: ioPriority", io_priority),
        case("config/process/exec_cpu_affinity", "config.md#linux-process: execCPUAffinity", cpu_affinity),
        case("config/user/ids", "config.md#posix-platform-user", ids),
        case("config/user/umask", "config.md#posix-platform-user: umask", umask),
        case("config/user/of_exec", "config.md#posix-platform-user", of_exec),
    ]
}

fn cwd(bundle: &mut Bundle) {
    fs::create_dir_all(bundle.rootfs("some/where")).unwrap();
    bundle.spec["process"]["cwd"] = json!("/some/where");
    assert_eq!(bundle.args(&["pwd"]).run().good(), "/some/where\n");
}

fn relative_cwd(bundle: &mut Bundle) {
    bundle.spec["process"]["cwd"] = json!("bin");
    bundle.refused();
}

fn env(bundle: &mut Bundle) {
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/", "EMPTY=", "TWO=a=b", "WORDS=c d"]);
    let out = bundle.args(&["env"]).run().good();
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["EMPTY=", "HOME=/", "PATH=/bin", "TWO=a=b", "WORDS=c d"]);
}

fn args(bundle: &mut Bundle) {
    let script = r#"for word; do echo "<$word>"; done"#;
    let out = bundle.args(&["/bin/sh", "-c", script, "zero", "", "a b", "$HOME", "\"", "é"]).run().good();
    assert_eq!(out, "<>\n<a b>\n<$HOME>\n<\">\n<é>\n");
}

/// A word without a slash is looked for in the container's PATH, not in the runtime's.
fn args_by_path(bundle: &mut Bundle) {
    fs::create_dir(bundle.rootfs("only")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", bundle.rootfs("only/uname")).unwrap();
    fs::remove_file(bundle.rootfs("bin/uname")).unwrap();
    bundle.spec["process"]["env"] = json!(["PATH=/no/such:/only", "HOME=/"]);
    assert_eq!(bundle.args(&["uname"]).run().good(), "Linux\n");
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/"]);
    let ran = bundle.run();
    assert!(ran.status != 0 && ran.out.is_empty(), "{ran:?}");
}

fn no_args(bundle: &mut Bundle) {
    bundle.spec["process"]["args"] = json!([]);
    bundle.refused();
    bundle.spec["process"].as_object_mut().unwrap().remove("args");
    bundle.refused();
}

const LIMITS: &[(&str, &str)] = &[
    ("AS", "Max address space"),
    ("CORE", "Max core file size"),
    ("CPU", "Max cpu time"),
    ("DATA", "Max data size"),
    ("FSIZE", "Max file size"),
    ("LOCKS", "Max file locks"),
    ("MEMLOCK", "Max locked memory"),
    ("MSGQUEUE", "Max msgqueue size"),
    ("NICE", "Max nice priority"),
    ("NOFILE", "Max open files"),
    ("NPROC", "Max processes"),
    ("RSS", "Max resident set"),
    ("RTPRIO", "Max realtime priority"),
    ("RTTIME", "Max realtime timeout"),
    ("SIGPENDING", "Max pending signals"),
    ("STACK", "Max stack size"),
];

/// Each limit that can be lowered here: twice what is no obstacle to the test, and once.
fn rlimits(bundle: &mut Bundle) {
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let mut wanted = Vec::new();
    let mut entries = Vec::new();
    for (name, title) in LIMITS {
        let hard = own.lines().find_map(|line| line.strip_prefix(title)).unwrap();
        let hard = hard.split_whitespace().nth(1).unwrap();
        let hard = hard.parse().unwrap_or(u64::MAX).min(if *name == "NOFILE" { 1000 } else { 1 << 33 });
        let soft = hard - hard / 4;
        entries.push(json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard}));
        wanted.push((title, soft.to_string(), hard.to_string()));
    }
    bundle.spec["process"]["rlimits"] = json!(entries);
    let out = bundle.args(&["cat", "/proc/self/limits"]).run().good();
    for (title, soft, hard) in wanted {
        let line = out.lines().find_map(|line| line.strip_prefix(title)).unwrap();
        let found: Vec<&str> = line.split_whitespace().take(2).collect();
        assert_eq!(found, [soft, hard], "{title}");
    }
}

fn rlimits_twice(bundle: &mut Bundle) {
    let entry = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100});
    bundle.spec["process"]["rlimits"] = json!([entry, entry]);
    bundle.refused();
}

fn oom_score_adj(bundle: &mut Bundle) {
    bundle.spec["process"]["oomScoreAdj"] = json!(321);
    assert_eq!(bundle.args(&["cat", "/proc/self/oom_score_adj"]).run().good(), "321\n");
}

fn oom_unset(bundle: &mut Bundle) {
    bundle.before = "echo 234 > /proc/self/oom_score_adj;".into();
    assert_eq!(bundle.args(&["cat", "/proc/self/oom_score_adj"]).run().good(), "234\n");
}

/// `nice` value, real-time priority and policy of the program (proc_pid_stat(5): fields 19, 40 and 41).
fn scheduled(bundle: &mut Bundle, scheduler: Value) -> String {
    bundle.spec["process"]["scheduler"] = scheduler;
    bundle.args(&["cut", "-d", " ", "-f", "19,40,41", "/proc/self/stat"]).run().good()
}

fn batch(bundle: &mut Bundle) {
    assert_eq!(scheduled(bundle, json!({"policy": "SCHED_BATCH", "nice": 7})), "7 0 3\n");
    // What isn't set is 0, whatever the caller has.
    bundle.before = "renice 3 $$ > /dev/null;".into();
    assert_eq!(scheduled(bundle, json!({"policy": "SCHED_BATCH"})), "0 0 3\n");
}

fn idle(bundle: &mut Bundle) {
    assert_eq!(scheduled(bundle, json!({"policy": "SCHED_IDLE"})), "0 0 5\n");
}

fn fifo(bundle: &mut Bundle) {
    assert_eq!(scheduled(bundle, json!({"policy": "SCHED_FIFO", "priority": 10})), "0 10 1\n");
    assert_eq!(scheduled(bundle, json!({"policy": "SCHED_RR", "priority": 20})), "0 20 2\n");
}

/// With `SCHED_FLAG_RESET_ON_FORK` children are scheduled as any others.
fn scheduler_flag(bundle: &mut Bundle) {
    let flags = ["SCHED_FLAG_RESET_ON_FORK"];
    bundle.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": -5, "flags": flags});
    let script = "cut -d' ' -f19,41 /proc/1/stat; cut -d' ' -f19,41 /proc/self/stat; true";
    assert_eq!(bundle.script(script).run().good(), "-5 3\n0 3\n");
    bundle.spec["process"]["scheduler"]["flags"] = json!(["SCHED_FLAG_NOTHING"]);
    bundle.refused();
}

fn io_priority(bundle: &mut Bundle) {
    for (class, priority, wanted) in
        [("IOPRIO_CLASS_BE", 6, "best-effort: prio 6\n"), ("IOPRIO_CLASS_IDLE", 0, "idle")]
    {
        bundle.spec["process"]["ioPriority"] = json!({"class": class, "priority": priority});
        let out = bundle.script("ionice -p $$").run().good();
        assert!(out.starts_with(wanted), "{out}");
    }
}

fn cpu_affinity(bundle: &mut Bundle) {
    bundle.spec["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let out = running.exec(&[], &["grep", "Cpus_allowed_list", "/proc/self/status"]).good();
    assert_eq!(out, "Cpus_allowed_list:\t0\n");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let first = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
    let list = |text: &str| text.lines().find(|l| l.starts_with("Cpus_allowed_list")).map(str::to_owned);
    assert_eq!(list(&first), list(&own), "the first process has it too");
}

fn ids(bundle: &mut Bundle) {
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8]});
    let out = bundle.args(&["grep", "-E", "^(Uid|Gid|Groups)", "/proc/self/status"]).run().good();
    let words: Vec<Vec<&str>> = out.lines().map(|l| l.split_whitespace().skip(1).collect()).collect();
    assert_eq!(words, [vec!["1000"; 4], vec!["1001"; 4], vec!["7", "8"]]);
}

fn umask(bundle: &mut Bundle) {
    bundle.spec["process"]["user"]["umask"] = json!(0o27);
    assert_eq!(bundle.script("umask").run().good(), "0027\n");
}

fn of_exec(bundle: &mut Bundle) {
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let mut process = bundle.spec["process"].clone();
    process["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o77});
    process["cwd"] = json!("/bin");
    process["args"] = json!(["sh", "-c", "id; umask; pwd"]);
    let path = bundle.path().join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    let out = running.exec(&["--process", path.to_str().unwrap()], &[]).good();
    assert_eq!(out, "uid=5 gid=6 groups=7\n0077\n/bin\n");
}
