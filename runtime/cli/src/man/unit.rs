//! The pages of section 5: one for each kind of unit file. Keys come from the generator's table, the
//! rest from `prose`.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use sampan_generator::keys::{self, Key, Since, UnitType};

use super::{heading, prose, see_also};

/// The page of one kind; `name` is that of the page.
pub(super) fn page(kind: UnitType, name: &str) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {}", prose::subject(kind)))]);
    synopsis(&mut roff, kind);
    roff.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut roff, &prose::description(kind));
    roff.control("SH", ["OPTIONS"]);
    roff.text(prose::inline(prose::OPTIONS));
    section(&mut roff, kind.section(), kind.keys().iter().copied());
    section(&mut roff, "Quadlet", keys::keys().filter(|key| key.section == "Quadlet"));
    roff.control("SS", ["[Unit], [Service] and [Install]"]);
    paragraphs(&mut roff, prose::OF_SYSTEMD);
    roff.control("SH", ["DIFFERENCES FROM PODMAN"]);
    differences(&mut roff, kind);
    roff.control("SH", ["EXAMPLES"]);
    examples(&mut roff, kind);
    related(&mut roff, kind);
    format!("{}\n{}", heading(name, 5), roff.to_roff())
}

/// The names of such files, and where they are looked for.
fn synopsis(roff: &mut Roff, kind: UnitType) {
    let extension = kind.extension();
    roff.control("SH", ["SYNOPSIS"]);
    let names =
        [format!("name.{extension}"), format!("name@.{extension}"), format!("name.{extension}.d/*.conf")];
    roff.text([
        italic(names[0].as_str()),
        roman(", "),
        italic(names[1].as_str()),
        roman(", "),
        italic(names[2].as_str()),
    ]);
    for (title, folders) in prose::FOLDERS {
        roff.control("PP", [])
            .text([roman(*title)])
            .control("PP", [])
            .control("RS", ["4n"])
            .control("EX", []);
        for folder in *folders {
            roff.text([roman(*folder)]);
        }
        roff.control("EE", []).control("RE", []);
    }
}

fn paragraphs<S: AsRef<str>>(roff: &mut Roff, paragraphs: &[S]) {
    for (number, paragraph) in paragraphs.iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text(prose::inline(paragraph.as_ref()));
    }
}

/// The keys of a section, in the order of their names.
fn section(roff: &mut Roff, name: &str, keys: impl Iterator<Item = &'static Key>) {
    roff.control("SS", [format!("[{name}]").as_str()]);
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|key| key.name.to_lowercase());
    keys.into_iter().for_each(|key| describe(roff, key));
}

/// One key: its name, what it does, what a value looks like, what it becomes, since when.
fn describe(roff: &mut Roff, key: &Key) {
    roff.control("TP", []).control("B", [format!("{}=", key.name).as_str()]);
    roff.text([roman(key.doc)]).control("IP", []);
    let mut facts = vec![roman(format!("Takes {}", key.kind.describe()))];
    let values = key.shape.describe();
    if !values.is_empty() {
        facts.push(roman(format!(": {values}")));
    }
    facts.extend([roman(". In the unit: "), equivalent(key), roman(". ")]);
    facts.push(roman(match key.since {
        Since::Podman(version) => format!("Since Podman {version}."),
        Since::Sampan => "A key of sampan's own.".to_owned(),
    }));
    roff.text(facts);
}

/// What the key becomes: bold where it is an option, plain where it is described.
fn equivalent(key: &Key) -> Inline {
    let text = key.equivalent();
    if text.starts_with('-') { bold(text) } else { roman(text) }
}

/// What sampan does otherwise, and the keys that only it has.
fn differences(roff: &mut Roff, kind: UnitType) {
    roff.text(prose::inline(prose::DIFFERENCES));
    for point in prose::COMMON_DIFFERENCES.iter().chain(prose::differences(kind)) {
        roff.control("IP", ["\\(bu", "2"]).text(prose::inline(point));
    }
    let own: Vec<_> = kind.keys().iter().filter(|key| key.since == Since::Sampan).collect();
    if own.is_empty() {
        return;
    }
    roff.control("PP", []);
    let mut text = vec![roman("Keys that only sampan has; with engine=\"podman\" they are refused: ")];
    for (number, key) in own.iter().enumerate() {
        let end = if number + 1 < own.len() { ", " } else { "." };
        text.extend([bold(format!("{}=", key.name)), roman(end)]);
    }
    roff.text(text);
}

fn examples(roff: &mut Roff, kind: UnitType) {
    for (number, example) in prose::examples(kind).iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text(prose::inline(example.about));
        for (name, text) in example.files {
            roff.control("PP", []).text([italic(format!("/etc/containers/systemd/{name}")), roman(":")]);
            roff.control("PP", []).control("RS", ["4n"]).control("EX", []);
            text.lines().for_each(|line| {
                roff.text([roman(line)]);
            });
            roff.control("EE", []).control("RE", []);
        }
    }
}

fn related(roff: &mut Roff, kind: UnitType) {
    let others = UnitType::ALL.into_iter().filter(|other| *other != kind);
    let others: Vec<String> = others.map(|other| format!("sampan.{}", other.extension())).collect();
    let mut related: Vec<(&str, u8)> = vec![("sampan", 1), ("sampan-generate", 1), ("sampan-diff", 1)];
    if kind == UnitType::Container {
        related.push(("sampan-run", 1));
    }
    related.extend(others.iter().map(|other| (other.as_str(), 5)));
    related.extend([
        ("sampan.toml", 5),
        ("podman-systemd.unit", 5),
        ("systemd.unit", 5),
        ("systemd.service", 5),
        ("sampan", 7),
        ("systemd.syntax", 7),
        ("sampan-generator", 8),
    ]);
    see_also(roff, &related);
}
