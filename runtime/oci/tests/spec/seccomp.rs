//! config-linux.md: seccomp.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{Case, Invalid, case};
use crate::sockets::holder;

const SECTION: &str = "config-linux.md#seccomp";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("linux/seccomp/errno", SECTION, errno),
        case("linux/seccomp/errno_by_default", SECTION, errno_by_default),
        case("linux/seccomp/errno_of_the_default", SECTION, errno_of_the_default),
        case("linux/seccomp/errno_of_another_action", SECTION, errno_of_another_action),
        case("linux/seccomp/loaded_with_and_without_privileges", SECTION, loaded),
        case("linux/seccomp/in_a_joined_pid_namespace", SECTION, in_a_joined_pid_namespace),
        case("linux/seccomp/of_exec", SECTION, of_exec),
        case("linux/seccomp/of_exec/without_calls_of_runtimes", SECTION, of_exec_without_calls_of_runtimes),
        case("linux/seccomp/architectures", SECTION, architectures),
        case("linux/seccomp/flags", SECTION, flags),
        case("linux/seccomp/names_are_needed", SECTION, names_are_needed),
        case("linux/seccomp/metadata_without_listener", SECTION, metadata_without_listener),
        case("linux/seccomp/listener_without_notify", SECTION, listener_without_notify),
    ];
    for &(action, wanted) in ACTIONS {
        cases.push(case(format!("linux/seccomp/action/{action}"), SECTION, move |b| {
            self::action(b, action, wanted)
        }));
    }
    for &(operator, value, two, wanted) in OPERATORS {
        cases.push(case(format!("linux/seccomp/operator/{operator}"), SECTION, move |b| {
            self::operator(b, operator, value, two, wanted);
        }));
    }
    let invalid: [Invalid; 4] = [
        ("architecture", "/architectures", || json!(["SCMP_ARCH_NOTHING"])),
        ("flag", "/flags", || json!(["SECCOMP_FILTER_FLAG_NOTHING"])),
        ("action", "/syscalls/0/action", || json!("SCMP_ACT_NOTHING")),
        ("operator", "/syscalls/0/args", || json!([{"index": 0, "value": 0, "op": "SCMP_CMP_NOTHING"}])),
    ];
    for (name, pointer, value) in invalid {
        cases.push(case(format!("linux/seccomp/invalid/{name}"), "config.md#valid-values", move |bundle| {
            filter(bundle, json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO"}));
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            bundle.spec["linux"]["seccomp"].pointer_mut(parent).unwrap()[key] = value();
            bundle.refused();
        }));
    }
    cases
}

/// A filter that allows everything but what `rule` says.
fn filter(bundle: &mut Bundle, rule: Value) {
    bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
}

/// System calls that make a directory, on every architecture; and what busybox says about the error.
const MKDIR: &[&str] = &["mkdir", "mkdirat"];

fn errno(bundle: &mut Bundle) {
    filter(bundle, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 95}));
    let ran = bundle.args(&["mkdir", "/tmp/x"]).run();
    assert!(ran.err.contains("Operation not supported") || ran.err.contains("Not supported"), "{ran:?}");
}

/// What makes a container is not for its program: profiles in use forbid it, and whoever shares processes has them, too.
fn in_a_joined_pid_namespace(bundle: &mut Bundle) {
    let holder = holder(&["--pid", "--fork", "--kill-child"], "");
    bundle.namespace("pid", Some(&format!("/proc/{}/ns/pid_for_children", holder.id())));
    filter(bundle, json!({"names": OF_RUNTIMES, "action": "SCMP_ACT_KILL_PROCESS"}));
    assert_eq!(bundle.args(&["echo", "executed"]).run().good(), "executed\n");
}

/// What runtimes do and programs don't.
const OF_RUNTIMES: &[&str] = &["unshare", "setns", "mount", "pivot_root", "clone3"];

fn of_exec_without_calls_of_runtimes(bundle: &mut Bundle) {
    filter(bundle, json!({"names": OF_RUNTIMES, "action": "SCMP_ACT_KILL_PROCESS"}));
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    assert_eq!(running.exec(&[], &["echo", "executed"]).good(), "executed\n");
}

fn errno_by_default(bundle: &mut Bundle) {
    filter(bundle, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO"}));
    let ran = bundle.args(&["mkdir", "/tmp/x"]).run();
    assert!(ran.err.contains("Operation not permitted"), "{ran:?}");
}

/// `ENOSYS` for everything that isn't allowed: busybox then does as on an old kernel.
fn errno_of_the_default(bundle: &mut Bundle) {
    let allowed: Vec<&str> = ALLOWED.split_whitespace().collect();
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 95,
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
    });
    let ran = bundle.args(&["mkdir", "/tmp/x"]).run();
    assert!(ran.err.contains("Operation not supported") || ran.err.contains("Not supported"), "{ran:?}");
}

/// What a runtime does after it has loaded a filter, and what busybox does before it makes a directory.
const ALLOWED: &str = "access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3
    execve execveat exit exit_group faccessat faccessat2 fchdir fcntl fstat fstatfs fstatat64 futex getcwd
    getdents64 getegid geteuid getgid getgroups getpid getppid getrandom getrlimit gettid getuid ioctl kill lseek
    lstat madvise mmap mprotect mremap munmap nanosleep newfstatat open openat openat2 pipe pipe2 poll ppoll prctl
    pread64 prlimit64 pwrite64 read readlink readlinkat rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_yield
    seccomp sendmsg recvmsg recvfrom sendto set_robust_list set_tid_address setgid setgroups setresgid setresuid
    setuid sigaltstack stat statfs statx tgkill umask uname unlink wait4 write writev epoll_ctl epoll_pwait
    epoll_wait epoll_create1 eventfd2 sched_getaffinity sched_setaffinity setsid keyctl symlink rt_sigpending
    restart_syscall clock_gettime clock_nanosleep getpgrp getpgid times fchown fchmod fsync personality socket
    connect setgroups32 membarrier pidfd_open pidfd_send_signal landlock_restrict_self landlock_create_ruleset";

fn errno_of_another_action(bundle: &mut Bundle) {
    filter(bundle, json!({"names": ["acct"], "action": "SCMP_ACT_KILL", "errnoRet": 5}));
    bundle.refused();
    bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5});
    bundle.refused();
}

fn loaded(bundle: &mut Bundle) {
    filter(bundle, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO"}));
    for privileged in [true, false] {
        bundle.spec["process"]["noNewPrivileges"] = json!(!privileged);
        let ran = bundle.script("grep Seccomp: /proc/self/status; mkdir /tmp/x").run();
        assert!(ran.out.contains("Seccomp:\t2") && ran.err.contains("not permitted"), "{ran:?}");
    }
}

fn of_exec(bundle: &mut Bundle) {
    filter(bundle, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO"}));
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let ran = running.exec(&[], &["mkdir", "/tmp/x"]);
    assert!(ran.err.contains("not permitted"), "{ran:?}");
}

/// What `mkdir` under each action ends with, as the shell sees it: an exit status; -1: it is all the same.
const ACTIONS: &[(&str, i32)] = &[
    ("SCMP_ACT_KILL", 159),
    ("SCMP_ACT_KILL_THREAD", 159),
    ("SCMP_ACT_KILL_PROCESS", 159),
    ("SCMP_ACT_TRAP", 159),
    ("SCMP_ACT_ERRNO", 1),
    // Nobody traces it: ENOSYS.
    ("SCMP_ACT_TRACE", 1),
    ("SCMP_ACT_ALLOW", 0),
    ("SCMP_ACT_LOG", 0),
];

fn action(bundle: &mut Bundle, action: &str, wanted: i32) {
    // Another default: a rule that does what the default does would be refused by libseccomp.
    let default = if action == "SCMP_ACT_ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
    bundle.spec["linux"]["seccomp"] =
        json!({"defaultAction": default, "syscalls": [{"names": MKDIR, "action": action}]});
    let ran = bundle.script("mkdir /tmp/x; echo $?").run();
    assert_eq!(ran.out, format!("{wanted}\n"), "{ran:?}");
}

/// Operators: value, second value, and which of the signals 17, 18, 28 and 23 are then refused.
///
/// Those are ignored unless caught, so that `kill` can send them to its own shell.
const OPERATORS: &[(&str, u64, u64, &str)] = &[
    ("SCMP_CMP_NE", 18, 0, "17 28 23"),
    ("SCMP_CMP_LT", 18, 0, "17"),
    ("SCMP_CMP_LE", 18, 0, "17 18"),
    ("SCMP_CMP_EQ", 18, 0, "18"),
    ("SCMP_CMP_GE", 23, 0, "28 23"),
    ("SCMP_CMP_GT", 23, 0, "28"),
    // 17 is 10001, 18 is 10010, 28 is 11100, 23 is 10111.
    ("SCMP_CMP_MASKED_EQ", 0b00011, 0b00001, "17"),
];

fn operator(bundle: &mut Bundle, operator: &str, value: u64, two: u64, wanted: &str) {
    let args = json!([{"index": 1, "value": value, "valueTwo": two, "op": operator}]);
    filter(bundle, json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args}));
    let script = "for s in 17 18 28 23; do kill -$s $$ 2>/dev/null || echo $s; done";
    let ran = bundle.script(script).run();
    assert_eq!(ran.out.split_whitespace().collect::<Vec<_>>().join(" "), wanted, "{ran:?}");
}

fn architectures(bundle: &mut Bundle) {
    filter(bundle, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO"}));
    let all = match std::env::consts::ARCH {
        "x86_64" => json!(["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]),
        "aarch64" => json!(["SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"]),
        _ => json!([]),
    };
    bundle.spec["linux"]["seccomp"]["architectures"] = all;
    let ran = bundle.args(&["mkdir", "/tmp/x"]).run();
    assert!(ran.err.contains("not permitted"), "{ran:?}");
}

fn flags(bundle: &mut Bundle) {
    filter(bundle, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO"}));
    for flag in ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"] {
        bundle.spec["linux"]["seccomp"]["flags"] = json!([flag]);
        let ran = bundle.args(&["mkdir", "/tmp/x"]).run();
        assert!(ran.err.contains("not permitted"), "{flag}: {ran:?}");
    }
}

fn names_are_needed(bundle: &mut Bundle) {
    filter(bundle, json!({"names": [], "action": "SCMP_ACT_ERRNO"}));
    bundle.refused();
}

fn metadata_without_listener(bundle: &mut Bundle) {
    filter(bundle, json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO"}));
    bundle.spec["linux"]["seccomp"]["listenerMetadata"] = json!("data");
    bundle.refused();
}

fn listener_without_notify(bundle: &mut Bundle) {
    filter(bundle, json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO"}));
    bundle.spec["linux"]["seccomp"]["listenerPath"] = json!("/no/such/socket");
    bundle.args(&["true"]).run().good();
}
