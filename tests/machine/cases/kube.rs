//! Kubernetes YAML: pods whose containers are services of their own.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::leftovers::Inventory;

use crate::fixture::{
    BUSYBOX, Shared, UNITS, fetch, install, own_processes, shared, start, start_fails, test, uninstall,
};
use crate::leftovers::nothing_new;

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let own = |name: &str, case| test(&format!("kube::{name}"), case);
    let test = |name: &str, case| shared(&MACHINE, &format!("kube::{name}"), case);
    vec![
        own("a_deployment_is_services_and_a_stop_leaves_nothing", a_deployment),
        own("a_start_killed_at_any_time_leaves_nothing", killed_at_any_time),
        test("several_pods_with_volumes_and_parameters", several_pods),
        test("a_template_plays_what_its_instance_names", a_template),
        test("a_killed_container_is_restarted_by_systemd", a_killed_container),
        test("a_restart_makes_all_anew", a_restart),
        test("init_containers_run_before", init_containers),
        test("a_failed_start_says_why_and_leaves_nothing", a_failed_start),
        test("broken_yaml_is_shown_in_the_status", broken_yaml),
        test("secrets_reach_the_program_and_nobody_else", secrets),
        test("a_job_ends_its_unit", a_job),
        test("an_unhealthy_container_is_restarted", unhealthy),
        test("yaml_by_hand", by_hand),
        test("a_pod_made_elsewhere_stays", made_elsewhere),
    ]
}

const READY: Duration = Duration::from_secs(15);

/// A web server that shows an entry of a ConfigMap, and a container beside it.
fn deployment() -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: page}}\ndata:\n  index.html: It floats in a pod.\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: front}}\nspec:\n  replicas: 1\n  template:\n    \
         metadata: {{labels: {{app: front}}}}\n    spec:\n      volumes:\n      - name: page\n        configMap: {{name: page}}\n      \
         - name: scratch\n        emptyDir: {{}}\n      containers:\n      - name: web\n        image: localhost:5000/web\n        \
         imagePullPolicy: IfNotPresent\n        ports:\n        - {{containerPort: 80, hostPort: 8500}}\n        volumeMounts:\n        \
         - {{name: page, mountPath: /www}}\n      - name: side\n        image: {BUSYBOX}\n        imagePullPolicy: IfNotPresent\n        \
         command: [sh, -c, \"trap 'exit 0' TERM; echo here > /scratch/file; sleep 1000 & wait\"]\n        volumeMounts:\n        \
         - {{name: scratch, mountPath: /scratch}}\n"
    )
}

/// A pod of one container.
fn pod(policy: &str, script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: one}}\nspec:\n  restartPolicy: {policy}\n  containers:\n  - name: main\n    \
         image: {BUSYBOX}\n    imagePullPolicy: IfNotPresent\n    command: [sh, -c, \"{script}\"]\n"
    )
}

/// Installs `NAME.kube` with this YAML; `more` are further lines of `[Kube]`.
fn kube(machine: &Machine, name: &str, yaml: &str, more: &str) -> Result<()> {
    let file = format!("[Kube]\nYaml={name}.yaml\n{more}\n");
    install(machine, &[(&format!("{name}.yaml"), yaml), (&format!("{name}.kube"), &file)])
}

fn remove(machine: &Machine, name: &str) -> Result<()> {
    uninstall(machine, &[&format!("{name}.kube"), &format!("{name}.yaml")])
}

fn page(machine: &Machine) -> Result<()> {
    machine.wait("the page of the pod", READY, |m| {
        Ok(fetch(m, "http://127.0.0.1:8500/").is_ok_and(|page| page.contains("It floats in a pod")))
    })
}

fn is(machine: &Machine, unit: &str, state: &str) -> Result<()> {
    machine.wait(&format!("{unit} is {state}"), READY, |m| Ok(m.property(unit, "ActiveState")? == state))
}

fn a_deployment(machine: &Machine) -> Result<()> {
    kube(machine, "app", &deployment(), "")?;
    start(machine, "app")?;
    machine.ok(&["systemctl", "stop", "app"])?;
    let before = Inventory::take(machine)?;
    for _ in 0..2 {
        start(machine, "app")?;
        page(machine)?;
        for unit in ["app", "app-web", "app-side"] {
            is(machine, unit, "active")?;
        }
        let pid = machine.main_pid("app-web")?;
        let parent = machine.shell(&format!("ps -o ppid= -p {pid}"))?;
        ensure!(parent.trim() == "1", "the parent of the web server is {parent:?}, not systemd");
        ensure!(machine.main_pid("app")? == 0, "a process stays for the unit itself");
        machine.wait("nothing of ours runs", READY, |m| Ok(own_processes(m)?.is_empty()))?;
        machine.ok(&["systemctl", "daemon-reload"])?;
        ensure!(machine.main_pid("app-web")? == pid, "a daemon-reload changed the container");
        let file = machine.ok(&["sampan", "exec", "front-pod-side", "cat", "/scratch/file"])?;
        ensure!(file.trim() == "here", "the emptyDir holds {file:?}");
        machine.ok(&["systemctl", "stop", "app"])?;
        is(machine, "app", "inactive")?;
    }
    nothing_new(machine, &before, "starts and stops of a Deployment")
}

fn killed_at_any_time(machine: &Machine) -> Result<()> {
    kube(machine, "app", &deployment(), "")?;
    start(machine, "app")?;
    machine.ok(&["systemctl", "stop", "app"])?;
    let before = Inventory::take(machine)?;
    for delay in 0..15 {
        machine.shell(&format!(
            "systemctl start --no-block app; sleep 0.{:03}; systemctl kill -s KILL app || :; \
             while [ $(systemctl show -P SubState app) = start ]; do sleep 0.01; done; \
             systemctl stop app; systemctl reset-failed",
            delay * 40
        ))?;
        nothing_new(machine, &before, &format!("a kill after {} ms", delay * 40))?;
    }
    start(machine, "app")?;
    page(machine)
}

fn several_pods(machine: &Machine) -> Result<()> {
    let pod = |name: &str, spec: &str, script: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}  volumes:\n  - name: data\n    \
             persistentVolumeClaim: {{claimName: shared}}\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    \
             imagePullPolicy: IfNotPresent\n    command: [sh, -c, \"{script}\"]\n    volumeMounts:\n    - {{name: data, mountPath: /data}}\n"
        )
    };
    let yaml = "kind: PersistentVolumeClaim\nmetadata: {name: shared}\n".to_owned()
        + &pod(
            "writer",
            "  securityContext:\n    fsGroup: 4000\n    sysctls:\n    - {name: net.ipv4.ip_unprivileged_port_start, value: \"80\"}\n",
            "id -G > /data/groups; cat /proc/sys/net/ipv4/ip_unprivileged_port_start > /data/start; sleep 1000",
        )
        + &pod("server", "  hostNetwork: true\n", "httpd -f -p 8501 -h /data");
    kube(machine, "several", &yaml, "KubeDownForce=yes")?;
    start(machine, "several")?;
    for unit in ["several-writer-main", "several-server-main"] {
        is(machine, unit, "active")?;
    }
    machine.wait("what the other pod wrote", READY, |m| {
        let start = fetch(m, "http://127.0.0.1:8501/start").unwrap_or_default();
        let groups = fetch(m, "http://127.0.0.1:8501/groups").unwrap_or_default();
        Ok(start.trim() == "80" && groups.split_whitespace().any(|group| group == "4000"))
    })?;
    machine.ok(&["systemctl", "stop", "several"])?;
    let exists = machine.run(&["sampan", "volume", "exists", "shared"])?;
    ensure!(!exists.success(), "KubeDownForce=yes left the volume");
    remove(machine, "several")
}

fn a_template(machine: &Machine) -> Result<()> {
    let file = format!("{UNITS}/inst.yaml");
    machine.write(&file, &pod("Always", "sleep 1000"))?;
    install(machine, &[("tmpl@.kube", &format!("[Kube]\nYaml={UNITS}/%i.yaml\n"))])?;
    start(machine, "tmpl@inst")?;
    is(machine, "tmpl-main@inst", "active")?;
    machine.ok(&["systemctl", "stop", "tmpl@inst"])?;
    is(machine, "tmpl-main@inst", "inactive")?;
    uninstall(machine, &["tmpl@.kube", "inst.yaml"])
}

fn a_killed_container(machine: &Machine) -> Result<()> {
    kube(machine, "app", &deployment(), "")?;
    start(machine, "app")?;
    page(machine)?;
    let first = machine.main_pid("app-web")?;
    let beside = machine.main_pid("app-side")?;
    machine.ok(&["kill", "-KILL", &first.to_string()])?;
    machine.wait("a new web server", READY, |m| {
        let pid = m.main_pid("app-web")?;
        Ok(pid != 0 && pid != first && m.property("app-web", "ActiveState")? == "active")
    })?;
    page(machine)?;
    ensure!(machine.main_pid("app-side")? == beside, "the other container was restarted as well");
    is(machine, "app", "active")?;
    machine.ok(&["systemctl", "stop", "app"])?;
    is(machine, "app-web", "inactive")?;
    remove(machine, "app")
}

fn a_restart(machine: &Machine) -> Result<()> {
    kube(machine, "app", &deployment(), "")?;
    start(machine, "app")?;
    for _ in 0..3 {
        let first = machine.main_pid("app-web")?;
        machine.ok(&["systemctl", "restart", "app"])?;
        page(machine)?;
        let second = machine.main_pid("app-web")?;
        ensure!(second != 0 && second != first, "{first} became {second}");
        is(machine, "app-side", "active")?;
    }
    machine.ok(&["systemctl", "stop", "app"])?;
    remove(machine, "app")
}

fn init_containers(machine: &Machine) -> Result<()> {
    let yaml = |script: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: two}}\nspec:\n  volumes:\n  - {{name: v, emptyDir: {{medium: Memory}}}}\n  \
             initContainers:\n  - name: first\n    image: {BUSYBOX}\n    command: [sh, -c, \"{script}\"]\n    \
             volumeMounts: [{{name: v, mountPath: /v}}]\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    \
             command: [sh, -c, \"cat /v/x; sleep 1000\"]\n    volumeMounts: [{{name: v, mountPath: /v}}]\n"
        )
    };
    kube(machine, "init", &yaml("sleep 0.5; echo it-was-prepared > /v/x"), "")?;
    start(machine, "init")?;
    machine.wait("what the init container wrote", READY, |m| {
        Ok(m.journal("init-main")?.contains("it-was-prepared"))
    })?;
    machine.ok(&["systemctl", "stop", "init"])?;
    kube(machine, "init", &yaml("echo no-such-thing >&2; exit 4"), "")?;
    let said = start_fails(machine, "init")?;
    ensure!(said.contains("init container two-first failed") && said.contains("no-such-thing"), "{said}");
    is(machine, "init-main", "inactive")?;
    remove(machine, "init")
}

fn a_failed_start(machine: &Machine) -> Result<()> {
    // What stays of a first start on purpose, images and the table of the firewall, is there before.
    kube(machine, "app", &deployment(), "")?;
    start(machine, "app")?;
    machine.ok(&["systemctl", "stop", "app"])?;
    remove(machine, "app")?;
    let before = Inventory::take(machine)?;
    let yaml = deployment().replace("localhost:5000/web", "localhost:5000/there-is-none");
    kube(machine, "app", &yaml, "")?;
    let said = start_fails(machine, "app")?;
    ensure!(said.contains("front-pod-web did not start") && said.contains("there-is-none"), "{said}");
    remove(machine, "app")?;
    nothing_new(machine, &before, "a failed start")
}

fn broken_yaml(machine: &Machine) -> Result<()> {
    for (yaml, expected) in [
        ("kind: Pod\nmetadata: {name: x\n", "bad.yaml:"),
        (
            "kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: c\n    image: 5\n",
            "bad.yaml:6:12: spec.containers[0].image must be a string",
        ),
    ] {
        kube(machine, "bad", yaml, "")?;
        let said = start_fails(machine, "bad")?;
        ensure!(said.contains(expected), "{expected} is not in {said}");
    }
    remove(machine, "bad")
}

fn secrets(machine: &Machine) -> Result<()> {
    let yaml = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{pw: \"hunter2\\nnext \\\"$HOME\\\"\"}}\n---\n{}    env:\n    \
         - name: PW\n      valueFrom: {{secretKeyRef: {{name: s, key: pw}}}}\n",
        pod("Always", "echo \\\"<$PW>\\\" > /seen; sleep 1000")
    );
    kube(machine, "secret", &yaml, "")?;
    start(machine, "secret")?;
    machine.wait("the variable", READY, |m| {
        let seen = m.run(&["sampan", "exec", "one-main", "cat", "/seen"])?;
        Ok(seen.stdout == "<hunter2\nnext \"$HOME\">\n")
    })?;
    let shown = machine.ok(&["systemctl", "show", "secret-main.service"])?;
    ensure!(!shown.contains("hunter2"), "systemctl show tells the secret");
    // LD_PRELOAD of a Secret would be the host's root.
    ensure!(!shown.contains("EnvironmentFiles="), "secrets are in the environment of sampan run");
    let mode = machine.shell("stat -c %a /run/sampan/kube")?;
    ensure!(mode.trim() == "700", "the directory with secrets has the mode {mode}");
    machine.ok(&["systemctl", "stop", "secret"])?;
    machine.shell("! grep -rs hunter2 /run/sampan")?;
    remove(machine, "secret")
}

fn a_job(machine: &Machine) -> Result<()> {
    for (code, more, state) in [
        (0, "ExitCodePropagation=any", "inactive"),
        (3, "", "inactive"),
        (3, "ExitCodePropagation=any", "failed"),
        (3, "ExitCodePropagation=all", "failed"),
    ] {
        kube(machine, "job", &pod("Never", &format!("sleep 1; exit {code}")), more)?;
        start(machine, "job")?;
        is(machine, "job", state)?;
        is(machine, "job-main", "inactive")?;
        machine.run(&["systemctl", "reset-failed", "job"])?;
    }
    remove(machine, "job")
}

fn unhealthy(machine: &Machine) -> Result<()> {
    let probe = "    livenessProbe:\n      exec: {command: [test, -e, /healthy]}\n      periodSeconds: 1\n      failureThreshold: 1\n      initialDelaySeconds: 6\n";
    let yaml = pod("Always", "touch /healthy; echo begun; sleep 1000") + probe;
    kube(machine, "ill", &yaml, "")?;
    start(machine, "ill")?;
    let first = machine.main_pid("ill-main")?;
    std::thread::sleep(Duration::from_secs(9));
    ensure!(machine.main_pid("ill-main")? == first, "a healthy container was restarted");
    for _ in 0..2 {
        let pid = machine.main_pid("ill-main")?;
        machine.wait("a program to make ill", READY, |m| {
            Ok(m.run(&["sampan", "exec", "one-main", "rm", "/healthy"])?.success())
        })?;
        machine.wait("a new container", READY, |m| {
            let now = m.main_pid("ill-main")?;
            Ok(now != 0 && now != pid && m.property("ill-main", "ActiveState")? == "active")
        })?;
    }
    machine.ok(&["systemctl", "stop", "ill"])?;
    is(machine, "ill-health.timer", "inactive")?;
    remove(machine, "ill")
}

fn made_elsewhere(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pod", "create", "--name", "one"])?;
    kube(machine, "foreign", &pod("Always", "sleep 1000"), "")?;
    let said = start_fails(machine, "foreign")?;
    ensure!(said.contains("there is a pod one already"), "{said}");
    machine.run(&["systemctl", "stop", "foreign"])?;
    machine.ok(&["sampan", "pod", "exists", "one"])?;
    machine.ok(&["sampan", "pod", "rm", "one"])?;
    machine.run(&["systemctl", "reset-failed", "foreign"])?;
    start(machine, "foreign")?;
    machine.ok(&["systemctl", "stop", "foreign"])?;
    ensure!(!machine.run(&["sampan", "pod", "exists", "one"])?.success(), "its own pod is left");
    remove(machine, "foreign")
}

fn by_hand(machine: &Machine) -> Result<()> {
    let file = format!("{UNITS}/hand.yaml");
    machine.write(&file, &deployment())?;
    machine.ok(&["sampan", "kube", "play", &file])?;
    machine.ok(&["sampan", "kube", "down", &file])?;
    let before = Inventory::take(machine)?;
    for again in [&["--replace"][..], &[]] {
        let play = [&["sampan", "kube", "play"][..], again, &[file.as_str()]].concat();
        let said = machine.ok(&play)?;
        ensure!(said.contains("Pod front-pod: front-pod-web, front-pod-side"), "{said}");
        page(machine)?;
        if !again.is_empty() {
            let refused = machine.run(&["sampan", "kube", "play", &file])?;
            ensure!(refused.text().contains("is there already"), "{}", refused.text());
            machine.ok(&play)?;
            page(machine)?;
        }
        machine.ok(&["sampan", "kube", "down", &file])?;
    }
    nothing_new(machine, &before, "sampan kube by hand")?;
    std::fs::remove_file(machine.path(&file))?;
    Ok(())
}
