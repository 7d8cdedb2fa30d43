//! Fifty containers started at once by a target.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{fetch, install, sampan_json, test};

pub fn tests() -> Vec<Trial> {
    vec![test("many::fifty_at_once", fifty_at_once)]
}

fn fifty_at_once(machine: &Machine) -> Result<()> {
    let names: Vec<String> = (1..=50).map(|n| format!("c{n:02}")).collect();
    let unit = |name: &String| {
        let port = 20000 + name[1..].parse::<u32>().unwrap_or_default();
        format!(
            "[Unit]\nPartOf=many.target\n[Container]\nImage=localhost:5000/web\nContainerName={name}\n\
             PublishPort={port}:80\nPublishPort=81\nNetwork=many.network\n[Install]\nWantedBy=many.target\n"
        )
    };
    let files: Vec<(String, String)> = names.iter().map(|n| (format!("{n}.container"), unit(n))).collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    files.push(("many.network", "[Network]\n"));
    machine.write("/etc/systemd/system/many.target", "[Unit]\nDescription=Fifty containers\n")?;
    // The image first: fifty pulls of one image are another test's subject.
    machine.ok(&["sampan", "pull", "-q", "localhost:5000/web"])?;
    install(machine, &files)?;
    let begun = std::time::Instant::now();
    machine.ok(&["systemctl", "start", "many.target"])?;
    machine.wait("all fifty are active", Duration::from_secs(60), |m| {
        let states = m.ok(&["systemctl", "list-units", "--plain", "--no-legend", "c*.service"])?;
        ensure!(!states.contains("failed"), "some failed:\n{states}");
        Ok(states.lines().filter(|line| line.contains(" active running ")).count() == 50)
    })?;
    eprintln!("fifty containers were active after {:?}", begun.elapsed());

    let mut addresses = BTreeSet::new();
    let mut ports = BTreeSet::new();
    let mut inspect = vec!["inspect"];
    inspect.extend(names.iter().map(String::as_str));
    let all = sampan_json(machine, &inspect)?;
    for container in all.as_array().context("no array")? {
        let network = container["NetworkSettings"]["Networks"].as_object().context("no networks")?;
        for attachment in network.values() {
            addresses.insert(attachment["IPAddress"].as_str().context("no address")?.to_owned());
        }
        for bindings in container["NetworkSettings"]["Ports"].as_object().context("no ports")?.values() {
            for binding in bindings.as_array().into_iter().flatten() {
                ports.insert(binding["HostPort"].as_str().context("no port")?.to_owned());
            }
        }
    }
    ensure!(addresses.len() == 50, "{} distinct addresses", addresses.len());
    ensure!(ports.len() == 100, "{} distinct ports", ports.len());
    for port in 20001..=20050 {
        let page = fetch(machine, &format!("http://127.0.0.1:{port}/"))?;
        ensure!(page.contains("It floats"), "port {port}: {page}");
    }
    machine.ok(&["systemctl", "stop", "many.target"])?;
    machine.wait("all have stopped", Duration::from_secs(30), |m| {
        Ok(m.ok(&["systemctl", "list-units", "--plain", "--no-legend", "c*.service"])?.is_empty())
    })
}
