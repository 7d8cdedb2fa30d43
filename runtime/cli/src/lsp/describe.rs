//! Sections, keys and files in words, as Markdown or as plain text: what hovering shows and what
//! stands beside a proposal.

use gen_lsp_types::{MarkupContent, MarkupKind};
use sampan_generator::check::CheckedUnit;
use sampan_generator::keys::systemd::Directive;
use sampan_generator::keys::{Key, UnitType};

use super::known::Known;

/// How many lines of another file are shown.
const MOST_LINES: usize = 20;

/// Which kind of text the client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Markdown,
}

impl Style {
    /// Markdown if the client knows it.
    pub(crate) fn of(formats: Option<&Vec<MarkupKind>>) -> Self {
        match formats {
            Some(formats) if formats.contains(&MarkupKind::Markdown) => Self::Markdown,
            _ => Self::Plain,
        }
    }

    /// A text of this style for the client.
    pub(crate) fn content(self, value: String) -> MarkupContent {
        let kind = match self {
            Self::Plain => MarkupKind::PlainText,
            Self::Markdown => MarkupKind::Markdown,
        };
        MarkupContent { kind, value }
    }

    fn code(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Markdown => format!("`{text}`"),
        }
    }

    /// Lines of a file; a fence is longer than any row of backticks in them.
    fn block(self, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let mut fence = "```".to_owned();
        while text.contains(&fence) {
            fence.push('`');
        }
        format!("{fence}ini\n{text}\n{fence}")
    }
}

/// The sections that files of a kind may have, with what each is for.
pub(crate) fn sections(kind: UnitType) -> [(&'static str, &'static str); 5] {
    let own = match kind {
        UnitType::Container => "The container: its image, command, mounts, networks and limits.",
        UnitType::Network => "The network: its driver, addresses and options.",
        UnitType::Volume => "The volume: its driver, owner and options.",
        UnitType::Image => "The image, and how it is pulled.",
        UnitType::Build => "The image, and how it is built.",
        UnitType::Pod => "The pod: what its containers share.",
        UnitType::Kube => "The Kubernetes YAML, and how it is run.",
        UnitType::Artifact => "The artifact, and how it is pulled.",
    };
    [
        (kind.section(), own),
        ("Unit", "The unit's description and its order among others, see systemd.unit(5)."),
        ("Service", "How the service starts, stops and restarts, and its limits, see systemd.service(5)."),
        ("Install", "When the service starts by itself, see systemd.unit(5)."),
        ("Quadlet", "How the unit is generated."),
    ]
}

/// A key: what it does, what it takes and what becomes of it.
pub(crate) fn key(known: Known, style: Style) -> String {
    let head = format!("{} in [{}]", style.code(&format!("{}=", known.name())), known.section());
    let body = match known {
        Known::Quadlet(key) => of_quadlet(key, style),
        Known::Systemd(_, directive) => of_systemd(directive, style),
    };
    format!("{head}\n\n{body}")
}

fn of_quadlet(key: &Key, style: Style) -> String {
    let mut facts = format!("Takes {}", key.kind.describe());
    let values = key.shape.describe();
    if !values.is_empty() {
        facts.push_str(&format!(": {values}"));
    }
    let equivalent = key.equivalent();
    let equivalent = if equivalent.starts_with('-') { style.code(&equivalent) } else { equivalent };
    format!("{}\n\n{facts}. In the unit: {equivalent}. Since {}.", key.doc, key.since)
}

fn of_systemd(directive: &Directive, style: Style) -> String {
    let mut sentences = vec!["A directive of systemd, see systemd.directives(7).".to_owned()];
    match directive.instead {
        Some("") => sentences.push("It has no effect any more.".to_owned()),
        Some(other) => sentences.push(format!("Deprecated, use {}.", style.code(&format!("{other}=")))),
        None => {}
    }
    let takes = directive.value.describe();
    if !takes.is_empty() {
        sentences.push(format!("Takes {takes}."));
    }
    if directive.since > 0 {
        sentences.push(format!("Since systemd {}.", directive.since));
    }
    sentences.join(" ")
}

/// Another Quadlet file: what becomes of it, and its first lines.
pub(crate) fn file(name: &str, text: &str, unit: Option<&CheckedUnit>, style: Style) -> String {
    let mut parts = vec![style.code(name)];
    if let Some(unit) = unit {
        let mut becomes = format!("Becomes {}", style.code(&unit.service));
        if let Some(resource) = &unit.resource {
            becomes.push_str(&format!(", which makes {}", style.code(resource)));
        }
        parts.push(becomes + ".");
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut shown = lines.iter().take(MOST_LINES).map(|line| clipped(line)).collect::<Vec<_>>().join("\n");
    if lines.len() > MOST_LINES {
        shown.push_str("\n…");
    }
    if !shown.is_empty() {
        parts.push(style.block(&shown));
    }
    parts.join("\n\n")
}

/// A line that isn't too long to be shown.
fn clipped(line: &str) -> String {
    const MOST: usize = 200;
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::known::key_of;
    use super::*;

    #[test]
    fn a_key_is_described_from_its_row() {
        let row = key_of(UnitType::Container, "Container", "PublishPort").unwrap();
        let text = key(row, Style::Markdown);
        assert!(text.starts_with("`PublishPort=` in [Container]\n"), "{text}");
        assert!(text.contains("`--publish`") && text.contains("such as 8080:80"), "{text}");
        assert!(!key(row, Style::Plain).contains('`'));
        let row = key_of(UnitType::Container, "Unit", "BindTo").unwrap();
        assert!(key(row, Style::Markdown).ends_with("Deprecated, use `BindsTo=`."));
    }

    #[test]
    fn a_long_file_is_cut_and_fenced() {
        let text = format!("[Pod]\n# ```\n{}{}", "A=b\n".repeat(30), "x".repeat(900));
        let shown = file("a.pod", &text, None, Style::Markdown);
        assert!(shown.contains("````ini\n[Pod]") && shown.ends_with("…\n````"), "{shown}");
        assert!(shown.lines().count() < 30);
    }
}
