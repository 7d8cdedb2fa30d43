//! The executable of the runtime, which a container must not reach: it is the host's, and root executes it.

use super::*;

/// CVE-2019-5736: the entry point makes the kernel execute the runtime as its interpreter.
#[test]
fn the_runtime_is_no_interpreter() {
    let Some(mut bundle) = Bundle::new() else { return };
    for interpreter in ["/proc/self/exe", "/proc/1/exe", "/link"] {
        let _ = symlink("/proc/self/exe", bundle.rootfs("link"));
        fs::write(bundle.rootfs("bin/entry"), format!("#!{interpreter}\n")).unwrap();
        executable(&bundle.rootfs("bin/entry"));
        let ran = bundle.args(&["/bin/entry", "--version"]).run();
        assert_eq!(ran.status, 126, "{ran:?}");
        assert!(!ran.out.contains(env!("CARGO_PKG_VERSION")), "the runtime was executed: {ran:?}");
    }
}

/// The same by a hook that is a program of the container.
#[test]
fn the_runtime_is_no_interpreter_of_hooks() {
    let Some(mut bundle) = Bundle::new() else { return };
    fs::write(bundle.rootfs("bin/hook"), "#!/proc/self/exe\n").unwrap();
    executable(&bundle.rootfs("bin/hook"));
    bundle.spec["hooks"] = json!({"startContainer": [{"path": "/bin/hook", "args": ["hook", "--version"]}]});
    let ran = bundle.args(&["true"]).run();
    assert!(
        ran.status != 0 && ran.err.contains("/bin/hook: startContainer hook failed with exit code 126"),
        "{ran:?}"
    );
    assert!(!ran.out.contains(env!("CARGO_PKG_VERSION")), "the runtime was executed: {ran:?}");
}

/// CVE-2019-5736, CVE-2016-9962: a program is executed in a container before its start. The container's first process
/// is then still ours.
#[test]
fn the_runtime_cannot_be_written_before_the_start() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = runtime_bytes();
    bundle.args(&["sleep", "1000"]).create();
    // Whoever gets the capability by exec alone would find the host's file.
    let attack =
        "ls -l /proc/1/fd; readlink /proc/1/exe; (echo hacked > /proc/1/exe) 2>/dev/null; ls /proc/1/root/";
    let ran = bundle.runtime(&["exec", "--cap", "CAP_SYS_PTRACE", "test", "/bin/sh", "-c", attack]);
    assert!(ran.status != 0 && ran.err.contains("start the container first"), "{ran:?}");
    let ran = bundle.runtime(&["exec", "test", "/bin/sh", "-c", attack]);
    assert!(!ran.out.contains("sampan"), "{ran:?}");
    bundle.runtime(&["delete", "--force", "test"]).good();

    add_capability(&mut bundle, "CAP_SYS_PTRACE");
    let leaked = bundle.path().join("leaked");
    fs::create_dir(&leaked).unwrap();
    create_leaking(&bundle, &format!("exec 7<{};", leaked.display()));
    let out = bundle.runtime(&["exec", "test", "/bin/sh", "-c", attack]).good();
    bundle.runtime(&["delete", "--force", "test"]).good();
    assert!(out.contains("memfd:sampan"), "the capability had no effect: {out}");
    assert!(!out.contains("sampan-runtime") && !out.contains("leaked") && !out.contains("boot"), "{out}");
    assert_eq!(runtime_bytes(), before);
}

/// The same by a container in whose PID namespace another one is made, with a hook that takes its time. Nobody is there
/// before the other one is confined, and has lost the host's root and descriptors.
#[test]
fn the_runtime_cannot_be_reached_in_a_shared_pid_namespace() {
    let (Some(mut spying), Some(mut victim)) = (Bundle::new(), Bundle::new()) else { return };
    if !spy(&spying) {
        return;
    }
    let before = runtime_bytes();
    for bundle in [&mut spying, &mut victim] {
        add_capability(bundle, "CAP_SYS_PTRACE");
        bundle.spec["process"]["noNewPrivileges"] = json!(true);
        let no = json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
        bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [no]});
    }
    spying.args(&["/bin/spy", "watch"]);
    let running = spying.start();
    let namespaces = victim.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != "pid");
    namespaces.push(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", spying.pid())}));
    victim.spec["hooks"] = json!({"createContainer": [{"path": "/bin/sleep", "args": ["sleep", "0.02"]}]});
    victim.args(&["true"]);
    let leaked = victim.path().join("leaked");
    fs::create_dir(&leaked).unwrap();
    let seen = || fs::read_to_string(spying.rootfs("tmp/seen")).unwrap_or_default();
    for round in 0..30 {
        let leak = format!("exec 5<{} 9</;", leaked.display());
        victim.run_after(&leak).good();
        if round % 5 == 0 {
            // One that waits is seen for sure.
            victim.create();
            eventually("a sight of who waits", || seen().contains("exe=/memfd:sampan"));
            victim.runtime(&["delete", "--force", "test"]).good();
        }
    }
    drop(running);
    let seen = seen();
    assert_eq!(runtime_bytes(), before);
    for word in ["sampan-runtime", "WROTE"] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
    if !shows_others() {
        eprintln!("SKIP: this kernel makes procfs only for the PID namespace of the caller (before 6.18)");
        return;
    }
    let confinement = |line: &str| line.split(" exe=").next().unwrap().to_owned();
    let processes: Vec<&str> = seen.lines().filter(|line| line.starts_with("process ")).collect();
    for line in &processes {
        assert_eq!(confinement(line), confinement(processes[0]), "{line}");
    }
    for word in ["sleep", "ROOT", "leaked"] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}

/// Whether the set-up of a container can do without being in the PID namespace that it joins.
fn shows_others() -> bool {
    let context = rustix::mount::fsopen(c"proc", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    let own = fs::File::open("/proc/self/ns/pid").unwrap();
    rustix::mount::fsconfig_set_fd(&context, c"pidns", &own).is_ok()
}
