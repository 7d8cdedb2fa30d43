//! The whole job with real programs: nginx, PostgreSQL and Redis from a registry, on a network of
//! their own, with volumes, reached from the host and from each other.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, UNITS, fetch, install, own_processes, shared, start};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("stacks::{name}"), case);
    vec![
        test("nginx_answers_host_and_neighbour", nginx_answers_host_and_neighbour),
        test("nginx_logs_to_dev_stdout", nginx_logs_to_dev_stdout),
        test("postgres_answers_another_container", postgres_answers_another_container),
        test("redis_keeps_its_data", redis_keeps_its_data),
        test("examples_start_as_shipped", examples_start_as_shipped),
    ]
}

const READY: Duration = Duration::from_secs(30);

fn nginx_answers_host_and_neighbour(machine: &Machine) -> Result<()> {
    install(
        machine,
        &[
            ("front.network", "[Network]\n"),
            ("site.volume", "[Volume]\n"),
            (
                "nginx.container",
                "[Container]\nImage=localhost:5000/nginx\nContainerName=nginx\nPublishPort=8080:80\n\
                 Network=front.network\nVolume=site.volume:/usr/share/nginx/html\n",
            ),
            (
                "neighbour.container",
                "[Container]\nImage=localhost:5000/busybox\nContainerName=neighbour\n\
                 Network=front.network\nExec=sleep 1000\n",
            ),
        ],
    )?;
    start(machine, "nginx")?;
    start(machine, "neighbour")?;
    machine.wait("nginx answers the host", READY, |m| Ok(fetch(m, "http://localhost:8080/").is_ok()))?;
    let page = fetch(machine, "http://localhost:8080/")?;
    ensure!(page.contains("Welcome to nginx"), "the page, filled from the image: {page}");

    let pid = machine.main_pid("nginx")?;
    let program =
        machine.shell(&format!("cat /proc/{pid}/comm; readlink /proc/{pid}/ns/pid /proc/1/ns/pid"))?;
    ensure!(program.starts_with("nginx\n"), "the main process is {program:?}");
    ensure!(
        own_processes(machine)?.iter().all(|p| p.contains("sampand") || p.contains("aardvark")),
        "ours stay"
    );
    let status = machine.ok(&["systemctl", "status", "nginx"])?;
    ensure!(status.contains(&format!("Main PID: {pid} (nginx)")), "systemctl status: {status}");

    let by_name = machine.ok(&["sampan", "exec", "neighbour", "wget", "-q", "-O-", "http://nginx/"])?;
    ensure!(by_name.contains("Welcome to nginx"), "by name: {by_name}");

    // What is written into the volume is still there after a restart.
    machine.ok(&["sampan", "exec", "nginx", "sh", "-c", "echo kept >/usr/share/nginx/html/kept.txt"])?;
    machine.ok(&["systemctl", "restart", "nginx"])?;
    machine.wait("nginx answers again", READY, |m| Ok(fetch(m, "http://localhost:8080/").is_ok()))?;
    ensure!(fetch(machine, "http://localhost:8080/kept.txt")? == "kept\n", "the volume's data");
    machine.ok(&["systemctl", "stop", "nginx", "neighbour"]).map(drop)
}

fn nginx_logs_to_dev_stdout(machine: &Machine) -> Result<()> {
    // The official image's log files are links to /dev/stdout and /dev/stderr, which are opened
    // anew: that must work although a unit's output is no file.
    let text = "[Container]\nImage=localhost:5000/nginx-stdout\nPublishPort=8082:80\n";
    install(machine, &[("logs.container", text)])?;
    start(machine, "logs")?;
    machine.wait("nginx answers", READY, |m| {
        Ok(fetch(m, "http://localhost:8082/seen-in-log").is_err_and(|e| e.to_string().contains("404")))
    })?;
    machine.wait("the access log is in the journal", READY, |m| {
        Ok(m.journal("logs")?.contains("GET /seen-in-log"))
    })?;
    machine.ok(&["systemctl", "stop", "logs"]).map(drop)
}

fn postgres_answers_another_container(machine: &Machine) -> Result<()> {
    install(
        machine,
        &[
            ("db.network", "[Network]\n"),
            ("db.volume", "[Volume]\n"),
            (
                "db.container",
                "[Container]\nImage=localhost:5000/postgres:15\nContainerName=db\nNetwork=db.network\n\
                 Volume=db.volume:/var/lib/postgresql/data\nEnvironment=POSTGRES_PASSWORD=secret\n",
            ),
            (
                "client.container",
                "[Container]\nImage=localhost:5000/postgres:15\nContainerName=client\nNetwork=db.network\n\
                 Environment=PGPASSWORD=secret PGHOST=db PGUSER=postgres\nExec=sleep 1000\n",
            ),
        ],
    )?;
    start(machine, "db")?;
    start(machine, "client")?;
    let query = |m: &Machine, sql: &str| m.run(&["sampan", "exec", "client", "psql", "-Atc", sql]);
    machine.wait("PostgreSQL answers", READY, |m| Ok(query(m, "select 1")?.stdout == "1\n"))?;
    let made = query(machine, "create table t as select generate_series(1, 1000) as n")?;
    ensure!(made.success(), "create table: {}", made.text());
    machine.ok(&["systemctl", "restart", "db"])?;
    machine.wait("PostgreSQL answers again", READY, |m| Ok(query(m, "select 1")?.stdout == "1\n"))?;
    let sum = query(machine, "select sum(n) from t")?;
    ensure!(sum.stdout == "500500\n", "after the restart: {}", sum.text());
    // SIGINT, the image's stop signal, is a clean shutdown.
    machine.ok(&["systemctl", "stop", "db", "client"])?;
    ensure!(machine.journal("db")?.contains("database system is shut down"), "it was not shut down");
    ensure!(machine.property("db", "Result")? == "success", "the stop failed");
    Ok(())
}

fn redis_keeps_its_data(machine: &Machine) -> Result<()> {
    let text = "[Container]\nImage=localhost:5000/redis:7\nContainerName=cache\n\
                Volume=cache.volume:/data\nExec=redis-server --appendonly yes\n";
    install(machine, &[("cache.container", text), ("cache.volume", "[Volume]\n")])?;
    start(machine, "cache")?;
    let cli = |m: &Machine, words: &str| {
        let mut command = vec!["sampan", "exec", "cache", "redis-cli"];
        command.extend(words.split(' '));
        m.run(&command)
    };
    machine.wait("Redis answers", READY, |m| Ok(cli(m, "ping")?.stdout == "PONG\n"))?;
    cli(machine, "set key value")?;
    machine.ok(&["systemctl", "restart", "cache"])?;
    machine.wait("Redis answers again", READY, |m| Ok(cli(m, "ping")?.stdout == "PONG\n"))?;
    ensure!(cli(machine, "get key")?.stdout == "value\n", "the value is lost");
    let user = machine.shell(&format!("ps -o uid= -p {}", machine.main_pid("cache")?))?;
    ensure!(user.trim() != "0", "the server still runs as root");
    machine.ok(&["systemctl", "stop", "cache"]).map(drop)
}

fn examples_start_as_shipped(machine: &Machine) -> Result<()> {
    machine.shell(&format!(
        "mkdir -p {UNITS}; cp /usr/share/doc/sampan/examples/* {UNITS}/; rm -f {UNITS}/web.container; \
         systemctl daemon-reload"
    ))?;
    for unit in ["nginx", "redis", "postgres", "postgres-client"] {
        start(machine, unit)?;
    }
    machine.wait("nginx answers", READY, |m| Ok(fetch(m, "http://localhost:8081/").is_ok()))?;
    let answer = machine.journal("postgres-client")?;
    ensure!(answer.contains("PostgreSQL 15"), "the client's query: {answer}");
    machine.ok(&["systemctl", "stop", "nginx", "redis", "postgres"]).map(drop)
}
