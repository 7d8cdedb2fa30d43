//! The manual pages that the programs can write of themselves.
//!
//! Section 1 comes from the command line's own description, a page for each command. Section 5
//! comes from the generator's key table, a page for each kind of unit file. What no table
//! knows stands in the repository's `man/` folder.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use sampan_generator::keys::{self, Key, UnitType};

/// The manual that the pages belong to, in the middle of their first line.
const MANUAL: &str = "sampan";

/// A command with more options than this gets `[OPTIONS]` in its synopsis.
const LONG_SYNOPSIS: usize = 8;

/// Writes every page into `directory`, which must exist, as `NAME.SECTION`.
pub(crate) fn write(directory: &Path, mut command: Command) -> anyhow::Result<()> {
    command.build();
    commands(directory, &command, &[])?;
    UnitType::ALL.into_iter().try_for_each(|kind| {
        let name = format!("sampan.{}", kind.extension());
        save(directory, &name, 5, &unit_page(kind, &name))
    })
}

/// The page of one command, and of the commands below it. `above` names its parents.
fn commands(directory: &Path, command: &Command, above: &[&str]) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut related: Vec<(&str, u8)> = above.iter().map(|parent| (*parent, 1)).collect();
    if name == "sampan-run" {
        related.push(("sampan.container", 5));
    }
    related.push(("sampan", 7));
    let mut roff = Roff::new();
    see_also(&mut roff, &related);
    save(directory, name, 1, &(command_page(command, name)? + &roff.to_roff()))?;
    let path: Vec<&str> = above.iter().copied().chain([name]).collect();
    let mut visible = command.get_subcommands().filter(|below| !below.is_hide_set());
    visible.try_for_each(|below| commands(directory, below, &path))
}

/// A command's page up to its last section.
fn command_page(command: &Command, name: &str) -> anyhow::Result<String> {
    let mut command = command.clone();
    if command.get_opts().filter(|option| !option.is_hide_set()).count() > LONG_SYNOPSIS {
        let usage = command.render_usage().to_string();
        command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page).with_context(|| format!("render the page {name}(1)"))?;
    let page = String::from_utf8(page).with_context(|| format!("the page {name}(1) is no text"))?;
    // clap_mangen leaves out an empty date and so shifts what follows it.
    let lines =
        page.lines().map(|line| if line.starts_with(".TH ") { heading(name, 1) } else { line.to_owned() });
    Ok(lines.map(|line| line.trim_end().to_owned() + "\n").collect())
}

/// The first line of a page: no date, so that the same source writes the same page.
fn heading(name: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(r#".TH "{}" {section} "" "sampan {version}" "{MANUAL}""#, name.to_uppercase())
}

/// The reference of one kind of unit file.
fn unit_page(kind: UnitType, name: &str) -> String {
    let mut roff = Roff::new();
    let extension = kind.extension();
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {}", subject(kind)))]);
    roff.control("SH", ["SYNOPSIS"]).text([italic(format!("name.{extension}"))]);
    roff.control("SH", ["DESCRIPTION"]);
    for (number, paragraph) in description(kind).into_iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
    roff.control("SH", [format!("[{}] SECTION", kind.section()).as_str()]);
    kind.keys().iter().for_each(|key| describe(&mut roff, key));
    roff.control("SH", ["[QUADLET] SECTION"]);
    let shared = keys::keys().filter(|key| key.section == "Quadlet");
    shared.for_each(|key| describe(&mut roff, key));
    roff.control("SH", ["EXAMPLE"]);
    roff.control("EX", []).text([roman(example(kind))]).control("EE", []);
    let others = UnitType::ALL.into_iter().filter(|other| *other != kind);
    let others: Vec<String> = others.map(|other| format!("sampan.{}", other.extension())).collect();
    let mut related: Vec<(&str, u8)> = vec![("sampan", 1)];
    related.extend(others.iter().map(|other| (other.as_str(), 5)));
    related.extend([("sampan", 7), ("sampan-generator", 8), ("systemd.service", 5)]);
    see_also(&mut roff, &related);
    format!("{}\n{}", heading(name, 5), roff.to_roff())
}

/// What such a file describes, for the page's first section.
fn subject(kind: UnitType) -> &'static str {
    match kind {
        UnitType::Container => "a container that runs as a service",
        UnitType::Network => "a network that containers join",
        UnitType::Volume => "a named volume of containers",
        UnitType::Image => "an image that is pulled before it is used",
        UnitType::Build => "an image that is built before it is used",
        UnitType::Pod => "containers that share namespaces",
        UnitType::Kube => "containers described in Kubernetes YAML",
        UnitType::Artifact => "an OCI artifact that is pulled before it is used",
    }
}

/// What holds for all keys of such a file, by paragraph.
fn description(kind: UnitType) -> Vec<String> {
    let extension = kind.extension();
    let service = format!("name{}.service", kind.service_suffix());
    let mut paragraphs = vec![
        format!(
            "A file name.{extension} in one of the folders that sampan-generator(8) reads becomes the unit \
             {service} at boot and at every \"systemctl daemon-reload\". Its syntax is that of systemd.syntax(7). \
             Sections that systemd knows, such as [Unit], [Service] and [Install], go into the unit as they are; \
             [Install] takes effect when the unit is generated, so \"systemctl enable\" is not needed."
        ),
        format!(
            "Drop-ins, name.{extension}.d/*.conf, are read after the file, in the order of their names. \
             A file name@.{extension} is a template. Values may hold systemd's specifiers, such as %i, \
             which are resolved when the unit is loaded."
        ),
        "A mistake in a value makes the unit fail when it is started; its status says what is wrong and where. \
         An unknown key is reported and ignored."
            .to_owned(),
    ];
    if matches!(kind, UnitType::Build | UnitType::Pod | UnitType::Kube | UnitType::Artifact) {
        paragraphs.push(
            "Only Podman can run such a unit: it needs the setting engine=\"podman\" of sampan.toml(5)."
                .to_owned(),
        );
    }
    paragraphs
}

/// A short file of this kind.
fn example(kind: UnitType) -> &'static str {
    match kind {
        UnitType::Container => {
            "[Unit]\nDescription=The web server\n\n[Container]\nImage=docker.io/library/nginx:latest\n\
             Network=app.network\nVolume=data.volume:/usr/share/nginx/html\nPublishPort=8080:80\n\n\
             [Service]\nRestart=on-failure\nMemoryMax=512M\n\n[Install]\nWantedBy=multi-user.target"
        }
        UnitType::Network => "[Network]\nSubnet=10.90.7.0/24\nGateway=10.90.7.1",
        UnitType::Volume => "[Volume]\nVolumeName=data",
        UnitType::Image => "[Image]\nImage=docker.io/library/nginx:latest",
        UnitType::Build => "[Build]\nImageTag=localhost/app:latest\nFile=./Containerfile",
        UnitType::Pod => "[Pod]\nPublishPort=8080:80",
        UnitType::Kube => "[Kube]\nYaml=./app.yaml",
        UnitType::Artifact => "[Artifact]\nArtifact=registry.example.com/app/data:latest",
    }
}

/// One key: its name, what it does, what a value looks like, what it becomes.
fn describe(roff: &mut Roff, key: &Key) {
    roff.control("TP", []).text([bold(format!("{}=", key.name))]);
    roff.text([roman(key.doc)]).control("IP", []);
    let mut facts = vec![roman(format!("Takes {}", key.kind.describe()))];
    let values = key.shape.describe();
    if !values.is_empty() {
        facts.push(roman(format!(": {values}")));
    }
    facts.extend([roman(". In the unit: "), equivalent(key), roman(".")]);
    roff.text(facts);
}

/// What the key becomes: bold where it is an option, plain where it is described.
fn equivalent(key: &Key) -> Inline {
    let text = key.equivalent();
    if text.starts_with('-') { bold(text) } else { roman(text) }
}

/// The section that names other pages.
fn see_also(roff: &mut Roff, pages: &[(&str, u8)]) {
    roff.control("SH", ["SEE ALSO"]);
    for (number, (name, section)) in pages.iter().enumerate() {
        let comma = if number + 1 < pages.len() { "," } else { "" };
        roff.text([bold(*name), roman(format!("({section}){comma}"))]);
    }
}

/// Writes one page.
fn save(directory: &Path, name: &str, section: u8, page: &str) -> anyhow::Result<()> {
    let path = directory.join(format!("{name}.{section}"));
    fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}
