//! Programs that are executed in a running container: it sees them come.

use super::*;

/// CVE-2019-5736, CVE-2016-9962: a container with `CAP_SYS_PTRACE` looks at whoever joins it, and writes to its
/// executable. It may see the sealed copies, which are nobody's file.
#[test]
fn who_joins_a_container_cannot_be_reached() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = runtime_bytes();
    add_capability(&mut bundle, "CAP_SYS_PTRACE");
    let spy = "while :; do for p in /proc/[0-9]*; do
            readlink $p/exe; ls -l $p/fd; (echo hacked > $p/exe) 2>/dev/null
        done; done >> /tmp/seen 2>/dev/null";
    bundle.script(spy);
    let running = bundle.start();
    let seen = || fs::read_to_string(bundle.rootfs("tmp/seen")).unwrap_or_default();
    eventually("the spy's first look", || seen().contains("/bin/busybox"));
    for _ in 0..40 {
        assert_eq!(running.exec(&[], &["/bin/true"]).status, 0);
    }
    drop(running);
    let seen = seen();
    assert!(!seen.contains("sampan-runtime"), "the host's file was visible");
    assert!(!seen.contains(bundle.path().join("state").to_str().unwrap()), "the state was visible");
    assert_eq!(runtime_bytes(), before);
}

/// CVE-2022-29162, CVE-2022-27650, CVE-2022-24769: programs that are executed in a container inherit capabilities.
#[test]
fn nothing_is_inheritable() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let status = ["grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"];
    for options in [&[][..], &["--cap", "CAP_NET_RAW"], &["--user", "1000"]] {
        let out = running.exec(options, &status).good();
        assert_eq!(out, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n", "{options:?}");
    }
}

/// CVE-2016-9962, CVE-2022-29162: the container looks at each new process from its first moment on. It is confined as
/// the container's own are, can't be written to, and has nothing of the host, though the caller has.
#[test]
fn who_joins_a_container_is_confined_before() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !spy(&bundle) {
        return;
    }
    add_capability(&mut bundle, "CAP_SYS_PTRACE");
    bundle.spec["process"]["noNewPrivileges"] = json!(true);
    // As profiles in use do: clone3(2) isn't there.
    let no = json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [no]});
    let leaked = bundle.path().join("leaked");
    fs::create_dir(&leaked).unwrap();
    bundle.args(&["/bin/spy", "watch"]);
    let running = bundle.start();
    let seen = || fs::read_to_string(bundle.rootfs("tmp/seen")).unwrap_or_default();
    // The spy has to be quick, which it isn't each time where many want a processor.
    for round in 0..1000 {
        let before = format!("exec 5<{} 9</;", leaked.display());
        ran(bundle.command(&before, &["exec", "test", "/bin/true"])).good();
        let has = |words: &str| seen().contains(words);
        if round >= 60 && has("exe=/memfd:sampan") && has("fd 0 of /memfd:sampan") {
            break;
        }
    }
    drop(running);
    let seen = seen();
    let processes: Vec<&str> = seen.lines().filter(|line| line.starts_with("process ")).collect();
    let confinement = |line: &str| line.split(" exe=").next().unwrap().to_owned();
    let own = confinement(processes[0]);
    assert!(own.contains("seccomp=2") && own.contains("privileges=1"), "{own}");
    assert!(processes.iter().any(|line| line.contains("exe=/memfd:sampan")), "the spy came too late: {seen}");
    for line in &processes {
        assert_eq!(confinement(line), own, "{line}");
    }
    assert!(seen.contains("fd 0 of /memfd:sampan"), "the spy saw no descriptors: {seen}");
    for word in ["sampan-runtime", "leaked", "WROTE", "ROOT", bundle.path().join("state").to_str().unwrap()] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}

/// CVE-2025-52565 and its kin: in a running container, what `/dev/pts` should have is something else.
#[test]
fn terminals_are_terminals() {
    let Some(mut bundle) = Bundle::new() else { return };
    let fake = "umount /dev/pts; ln -s /proc/sysrq-trigger /dev/pts/ptmx; touch /dev/pts/0; touch /tmp/done; sleep 1000";
    for applet in ["umount", "ln"] {
        let _ = symlink("busybox", bundle.rootfs("bin").join(applet));
    }
    add_capability(&mut bundle, "CAP_SYS_ADMIN");
    bundle.script(fake);
    let running = bundle.start();
    eventually("its preparations", || bundle.rootfs("tmp/done").exists());
    let ran = running.exec(&["--tty"], &["true"]);
    assert!(ran.status != 0 && ran.err.contains("multiplexer"), "{ran:?}");
}

/// CVE-2019-5736 from beside: the container itself may trace nobody, but another one has come into its PID namespace,
/// as debugging containers do, and that one may.
#[test]
fn who_joins_a_container_cannot_be_reached_by_another_in_its_pid_namespace() {
    let (Some(mut victim), Some(mut spying)) = (Bundle::new(), Bundle::new()) else { return };
    let before = runtime_bytes();
    victim.args(&["sleep", "1000"]);
    // As callers have it, all containers are below one root.
    victim.create();
    add_capability(&mut spying, "CAP_SYS_PTRACE");
    let namespaces = spying.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != "pid");
    namespaces.push(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", victim.pid())}));
    let spy = "while :; do for p in /proc/[0-9]*; do readlink $p/exe; (echo hacked > $p/exe) 2>/dev/null
        done; done >> /tmp/seen 2>/dev/null";
    spying.script(spy);
    spying.write();
    let create = ["create", "--bundle", spying.path().to_str().unwrap(), "spy"];
    let early = victim.runtime(&create);
    assert!(early.status != 0 && early.err.contains("start that container first"), "{early:?}");
    victim.runtime(&["start", "test"]).good();
    ran(victim.command("exec >/dev/null 2>&1;", &create)).good();
    victim.runtime(&["start", "spy"]).good();
    let seen = || fs::read_to_string(spying.rootfs("tmp/seen")).unwrap_or_default();
    eventually("the spy's first look", || seen().contains("/bin/busybox"));
    for _ in 0..40 {
        victim.runtime(&["exec", "test", "/bin/true"]).good();
    }
    victim.runtime(&["delete", "--force", "spy"]).good();
    victim.runtime(&["delete", "--force", "test"]).good();
    let seen = seen();
    assert!(!seen.contains("sampan-runtime"), "the host's file was visible");
    assert_eq!(runtime_bytes(), before);
}
