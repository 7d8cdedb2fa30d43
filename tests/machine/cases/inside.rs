//! What a program finds inside its container, and what it may not do there.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, Shared, busybox, install, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("inside::{name}"), case);
    vec![
        test("first_process_of_its_own_namespaces", own_namespaces),
        test("environment_folder_and_user", environment_folder_and_user),
        test("volumes_and_tmpfs", volumes_and_tmpfs),
        test("capabilities_are_the_default_set", capabilities),
        test("capabilities_are_added_and_dropped", capabilities_added_and_dropped),
        test("seccomp_and_no_new_privileges", seccomp_and_no_new_privileges),
        test("proc_and_sys_are_masked", proc_and_sys_are_masked),
        test("devices_are_few", devices_are_few),
        test("read_only_root", read_only_root),
        test("writable_layer_is_new_each_start", writable_layer_is_new),
        test("limits_and_sysctls", limits_and_sysctls),
        test("host_name_and_hosts_file", host_name_and_hosts_file),
        test("no_descriptor_leaks_in", no_descriptor_leaks_in),
        test("user_namespace", user_namespace),
        test("sandbox_settings_of_the_service", sandbox_settings),
        test("rootfs_instead_of_an_image", rootfs_instead_of_an_image),
    ]
}

/// Runs a script in a container to its end, with `more` lines of `[Container]`; returns what it
/// printed. Script and output are files of a volume: nothing in them means anything to systemd,
/// and nothing else gets between.
fn output(machine: &Machine, script: &str, more: &str) -> Result<String> {
    machine.shell("rm -rf /srv/script; mkdir -p -m 777 /srv/script")?;
    machine.write("/srv/script/run.sh", &format!("exec >/script/output 2>&1\n{script}\n"))?;
    let text = format!(
        "[Container]\nImage={BUSYBOX}\nVolume=/srv/script:/script\nExec=sh /script/run.sh\n{more}\n\
         [Service]\nType=oneshot\nSuccessExitStatus=1\n"
    );
    install(machine, &[("inside.container", &text)])?;
    start(machine, "inside")?;
    let printed = machine.ok(&["cat", "/srv/script/output"])?;
    uninstall(machine, &["inside.container"])?;
    Ok(printed)
}

fn own_namespaces(machine: &Machine) -> Result<()> {
    let inside = output(
        machine,
        "echo pid $$; for n in pid mnt net uts ipc cgroup; do readlink /proc/self/ns/$n; done",
        "",
    )?;
    ensure!(inside.starts_with("pid 1\n"), "{inside}");
    for kind in ["pid", "mnt", "net", "uts", "ipc", "cgroup"] {
        let host = machine.ok(&["readlink", &format!("/proc/1/ns/{kind}")])?;
        ensure!(
            inside.contains(&format!("{kind}:[")) && !inside.contains(host.trim()),
            "{kind} is the host's"
        );
    }
    Ok(())
}

fn environment_folder_and_user(machine: &Machine) -> Result<()> {
    let script = "echo $A-$B-$HOME; pwd; id -u; id -g; id -G; echo $container; umask";
    let more = "Environment=A=1 \"B=two words\"\nWorkingDir=/tmp\nUser=web\nGroupAdd=2000";
    let printed = output(machine, script, more)?;
    let lines: Vec<&str> = printed.lines().collect();
    ensure!(lines[..4] == ["1-two words-/", "/tmp", "1000", "1000"], "{printed}");
    ensure!(
        lines[4].split(' ').collect::<std::collections::BTreeSet<_>>() == ["1000", "2000"].into(),
        "{printed}"
    );
    ensure!(!lines[5].is_empty(), "the variable container tells programs where they are: {printed}");
    Ok(())
}

fn volumes_and_tmpfs(machine: &Machine) -> Result<()> {
    machine.shell("mkdir -p /srv/data /srv/ro; echo host >/srv/ro/file; rm -f /srv/data/*")?;
    let script = "echo written >/data/file; touch /ro/x 2>/dev/null && echo writable-ro; cat /ro/file; \
                  touch /scratch/x && grep ' /scratch tmpfs' /proc/mounts | cut -d' ' -f2,3; grep -c ' /ro ' /proc/mounts";
    let more = "Volume=/srv/data:/data\nVolume=/srv/ro:/ro:ro\nTmpfs=/scratch:size=1m";
    let printed = output(machine, script, more)?;
    ensure!(printed == "host\n/scratch tmpfs\n1\n", "{printed}");
    ensure!(machine.ok(&["cat", "/srv/data/file"])? == "written\n", "the volume's file");
    Ok(())
}

/// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP:
/// the set of Podman's containers.conf.
const DEFAULT_CAPABILITIES: &str = "00000000800405fb";

fn capabilities(machine: &Machine) -> Result<()> {
    let printed = output(machine, "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status", "")?;
    let expected: String = [
        ("Inh", "0000000000000000"),
        ("Prm", DEFAULT_CAPABILITIES),
        ("Eff", DEFAULT_CAPABILITIES),
        ("Bnd", DEFAULT_CAPABILITIES),
        ("Amb", "0000000000000000"),
    ]
    .map(|(kind, value)| format!("Cap{kind}:\t{value}\n"))
    .concat();
    ensure!(printed == expected, "{printed}");
    Ok(())
}

fn capabilities_added_and_dropped(machine: &Machine) -> Result<()> {
    let all =
        output(machine, "grep ^CapEff /proc/self/status", "DropCapability=all\nAddCapability=CAP_NET_ADMIN")?;
    ensure!(all == "CapEff:\t0000000000001000\n", "{all}");
    let user = output(machine, "grep ^CapEff /proc/self/status", "User=web")?;
    ensure!(user == "CapEff:\t0000000000000000\n", "an ordinary user has {user}");
    Ok(())
}

fn seccomp_and_no_new_privileges(machine: &Machine) -> Result<()> {
    let printed = output(
        machine,
        "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; unshare -m true || echo refused",
        "NoNewPrivileges=true",
    )?;
    ensure!(
        printed.contains("NoNewPrivs:\t1") && printed.contains("Seccomp:\t2") && printed.contains("refused"),
        "{printed}"
    );
    let open = output(machine, "grep ^Seccomp: /proc/self/status", "SeccompProfile=unconfined")?;
    ensure!(open == "Seccomp:\t0\n", "unconfined: {open}");
    Ok(())
}

fn proc_and_sys_are_masked(machine: &Machine) -> Result<()> {
    // Which of these exist depends on the kernel; none may show anything.
    let script = "cat /proc/kcore /proc/keys /proc/timer_list /proc/latency_stats 2>/dev/null | wc -c; \
                  find /proc/acpi /proc/scsi /sys/firmware /sys/fs/selinux -mindepth 1 2>/dev/null | wc -l; \
                  (echo 1 >/proc/sys/kernel/domainname) 2>/dev/null && echo wrote-proc; \
                  (echo x >/proc/sysrq-trigger) 2>/dev/null && echo wrote-sysrq; \
                  mkdir /sys/fs/cgroup/x 2>/dev/null && echo wrote-cgroup; echo end";
    let printed = output(machine, script, "")?;
    ensure!(printed == "0\n0\nend\n", "{printed}");
    Ok(())
}

fn devices_are_few(machine: &Machine) -> Result<()> {
    let script = "ls /dev | tr '\\n' ' '; echo; echo x >/dev/full 2>/dev/null || echo full; head -c1 /dev/zero | wc -c; \
                  mknod /tmp/m b 8 0 && echo made";
    let printed = output(machine, script, "")?;
    let names: Vec<&str> = printed.lines().next().unwrap_or_default().split_whitespace().collect();
    for name in [
        "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "pts", "ptmx",
        "shm", "mqueue",
    ] {
        ensure!(names.contains(&name), "no /dev/{name}: {printed}");
    }
    ensure!(!["kmsg", "mem", "sda", "vda", "fuse"].iter().any(|n| names.contains(n)), "{printed}");
    ensure!(!printed.contains("made"), "a device could be made: {printed}");
    Ok(())
}

fn read_only_root(machine: &Machine) -> Result<()> {
    let script =
        "touch /file 2>/dev/null && echo wrote; touch /tmp/x /run/x /dev/shm/x 2>&1 | wc -l; echo end";
    let printed = output(machine, script, "ReadOnly=true")?;
    // With a read-only root, /tmp, /run and /dev/shm are tmpfs (ReadOnlyTmpfs=, on by default).
    ensure!(printed == "0\nend\n", "{printed}");
    Ok(())
}

fn writable_layer_is_new(machine: &Machine) -> Result<()> {
    for _ in 0..2 {
        let printed = output(machine, "[ -e /mark ] && echo old; touch /mark; echo end", "")?;
        ensure!(printed == "end\n", "{printed}");
    }
    Ok(())
}

fn limits_and_sysctls(machine: &Machine) -> Result<()> {
    let script = "ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2";
    let more = "Ulimit=nofile=512:1000\nSysctl=net.ipv4.ip_unprivileged_port_start=79\nShmSize=8m";
    let printed = output(machine, script, more)?;
    ensure!(printed == "512\n1000\n79\n8192\n", "{printed}");
    Ok(())
}

fn host_name_and_hosts_file(machine: &Machine) -> Result<()> {
    let printed = output(
        machine,
        "hostname; cat /etc/hosts; cat /etc/hostname",
        "HostName=my-host\nAddHost=friend:192.0.2.7",
    )?;
    ensure!(printed.starts_with("my-host\n") && printed.ends_with("my-host\n"), "{printed}");
    ensure!(printed.lines().any(|l| l.split_whitespace().eq(["192.0.2.7", "friend"])), "{printed}");
    ensure!(printed.contains("localhost"), "{printed}");
    Ok(())
}

fn no_descriptor_leaks_in(machine: &Machine) -> Result<()> {
    // The shell's own are 0, 1, 2, and one for the script.
    let printed = output(machine, "ls -l /proc/1/fd", "")?;
    let foreign: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .filter(|(_, target)| !target.starts_with("/script/") && !target.starts_with("/dev/null"))
        .map(|(_, target)| target)
        .collect();
    ensure!(printed.contains("/script/") && foreign.is_empty(), "{foreign:?} in {printed}");
    Ok(())
}

fn user_namespace(machine: &Machine) -> Result<()> {
    let printed = output(
        machine,
        "id -u; cat /proc/self/uid_map; stat -c %u /bin/busybox",
        "UIDMap=0:100000:65536\nGIDMap=0:100000:65536",
    )?;
    let words: Vec<&str> = printed.split_whitespace().collect();
    ensure!(words == ["0", "0", "100000", "65536", "0"], "{printed}");
    Ok(())
}

fn sandbox_settings(machine: &Machine) -> Result<()> {
    let settings = "[Service]\nPrivateDevices=yes\nNoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=yes\n\
                    PrivateTmp=yes\nProtectKernelTunables=yes\nProtectControlGroups=yes\nLockPersonality=yes";
    machine.shell("mkdir -p /srv/sandbox; chmod 777 /srv/sandbox")?;
    let exec = "sh -c 'head -c1 /dev/zero >/dev/null && grep NoNewPrivs /proc/self/status; ls /dev | wc -l; sleep 1000'";
    busybox(machine, "sandbox", exec, &format!("Volume=/srv/sandbox:/data\n{settings}"))?;
    start(machine, "sandbox")?;
    machine.wait("it uses its devices", std::time::Duration::from_secs(5), |m| {
        Ok(m.journal("sandbox")?.contains("NoNewPrivs:\t1"))
    })?;
    machine.ok(&["sampan", "exec", "systemd-sandbox", "true"])?;
    machine.ok(&["systemctl", "stop", "sandbox"])?;
    uninstall(machine, &["sandbox.container"])
}

fn rootfs_instead_of_an_image(machine: &Machine) -> Result<()> {
    machine.shell("mkdir -p /srv/root/bin /srv/root/etc; cp /bin/busybox /srv/root/bin/; ln -sf busybox /srv/root/bin/sh")?;
    let text =
        "[Container]\nRootfs=/srv/root\nExec=/bin/sh -c '/bin/busybox ls /; exec /bin/busybox sleep 1000'\n";
    install(machine, &[("rootfs.container", text)])?;
    start(machine, "rootfs")?;
    machine.wait("it lists its root", std::time::Duration::from_secs(5), |m| {
        Ok(m.journal("rootfs")?.contains("bin"))
    })?;
    machine.ok(&["systemctl", "stop", "rootfs"])?;
    ensure!(machine.path("/srv/root/bin/busybox").exists(), "the folder was changed");
    uninstall(machine, &["rootfs.container"])
}
