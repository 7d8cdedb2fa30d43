//! Scheduler, I/O priority, CPUs, memory policy and personality of a container's programs.

mod bundle;

use bundle::Bundle;
use serde_json::json;

/// Policy (field 41), priority (40) and nice value (19) of a process's proc_pid_stat(5).
const STAT: &str = "set -- $(sed 's/.*) //' /proc/self/stat); shift 16; echo $1; shift 21; echo $1 $2";

/// The nice value of the tests, which programs keep whose policy has no use for one.
fn own_nice() -> String {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().to_owned()
}

#[test]
fn the_scheduler_is_set() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    assert_eq!(bundle.script(STAT).run().good(), "7\n0 3\n");
    bundle.spec["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 3});
    assert_eq!(bundle.script(STAT).run().good(), format!("{}\n3 1\n", own_nice()));
    bundle.spec["process"]["scheduler"] = json!({"policy": "SCHED_FIFO"});
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("process.scheduler.priority"), "{ran:?}");
}

#[test]
fn programs_that_are_executed_have_it_too() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["scheduler"] = json!({"policy": "SCHED_IDLE"});
    bundle.spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    bundle.spec["process"]["oomScoreAdj"] = json!(432);
    bundle.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    let script =
        format!("{STAT}; cat /proc/self/oom_score_adj; /bin/busybox uname -m; /bin/busybox ionice -p $$");
    let wanted = format!("{}\n0 5\n432\ni686\nidle\n", own_nice());
    assert_eq!(bundle.script(&script).run().good(), wanted);
    let running = bundle.args(&["sleep", "1000"]).start();
    assert_eq!(running.exec(&[], &["sh", "-c", &script]).good(), wanted);
}

#[test]
fn the_cpus_of_exec_are_first_these_and_then_those() {
    let Some(mut bundle) = Bundle::new() else { return };
    if std::thread::available_parallelism().map_or(1, |n| n.get()) < 2 {
        eprintln!("SKIP: one CPU only");
        return;
    }
    let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let read = |ran: bundle::Ran| ran.good().split_whitespace().last().unwrap().to_owned();
    bundle.spec["process"]["execCPUAffinity"] = json!({"initial": "1", "final": "0"});
    // It isn't for the first process.
    assert_ne!(read(bundle.args(&allowed).run()), "0");
    let running = bundle.args(&["sleep", "1000"]).start();
    assert_eq!(read(running.exec(&[], &allowed)), "0");
    drop(running);
    bundle.spec["process"]["execCPUAffinity"] = json!({"initial": "1"});
    let running = bundle.args(&["sleep", "1000"]).start();
    assert_eq!(read(running.exec(&[], &allowed)), "1");
}

#[test]
fn memory_comes_from_the_nodes() {
    let Some(mut bundle) = Bundle::new() else { return };
    let script = "grep -m1 -o 'bind[^ ]*' /proc/self/numa_maps";
    bundle.spec["linux"]["memoryPolicy"] =
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        eprintln!("SKIP: this kernel has no numa_maps");
        return;
    }
    assert_eq!(bundle.script(script).run().good(), "bind=static:0\n");
    let running = bundle.args(&["sleep", "1000"]).start();
    assert_eq!(running.exec(&[], &["sh", "-c", script]).good(), "bind=static:0\n");
    drop(running);
    for (mode, seen) in [("MPOL_DEFAULT", "default"), ("MPOL_LOCAL", "local")] {
        bundle.spec["linux"]["memoryPolicy"] = json!({"mode": mode});
        let script = format!("grep -q ' {seen} ' /proc/self/numa_maps");
        bundle.script(&script).run().good();
    }
    bundle.spec["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND"});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 125 || ran.status == 1, "{ran:?}");
    assert!(ran.err.contains("set_mempolicy"), "{ran:?}");
}

#[test]
fn classes_of_service_need_resctrl() {
    let Some(mut bundle) = Bundle::new() else { return };
    if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        // What the kernel makes of values depends on the machine; the default class is always there.
        bundle.spec["linux"]["intelRdt"] = json!({"closID": "/"});
        bundle.args(&["true"]).run().good();
        return;
    }
    bundle.spec["linux"]["intelRdt"] = json!({"closID": "gold", "schemata": ["L3:0=f"]});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 1 && ran.err.contains("no file system of type resctrl is mounted"), "{ran:?}");
}
