//! The keys that a section may have: rows of the key table in the sections that Quadlet reads,
//! systemd's directives in those that it hands over.

use sampan_generator::keys::systemd::{self, Directive, Value};
use sampan_generator::keys::{self, Key, Kind, Shape, Since, UnitType};

/// The signals that people stop and reload programs with.
const SIGNALS: [&str; 8] =
    ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL"];

/// A key that a section may have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// A row of the key table.
    Quadlet(&'static Key),
    /// A directive of systemd, in this section.
    Systemd(&'static str, &'static Directive),
}

/// The keys of a section in files of a kind.
pub(crate) fn keys_of(kind: UnitType, section: &str) -> Vec<Known> {
    let systemd = ["Unit", "Service", "Install"].into_iter().find(|known| *known == section);
    if let Some(section) = systemd {
        let directives = systemd::section(section).unwrap_or_default();
        return directives.iter().map(|directive| Known::Systemd(section, directive)).collect();
    }
    let of_others = UnitType::ALL.iter().any(|other| *other != kind && other.section() == section);
    let rows = keys::keys().filter(|key| key.section == section && !of_others);
    rows.map(Known::Quadlet).collect()
}

/// A key of a section in files of a kind, by its name.
pub(crate) fn key_of(kind: UnitType, section: &str, name: &str) -> Option<Known> {
    keys_of(kind, section).into_iter().find(|key| key.name() == name)
}

impl Known {
    /// The key.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quadlet(key) => key.name,
            Self::Systemd(_, directive) => directive.name,
        }
    }

    /// The section that it belongs to.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Quadlet(key) => key.section,
            Self::Systemd(section, _) => section,
        }
    }

    /// Whether only its last assignment counts.
    pub(crate) fn is_single(self) -> bool {
        match self {
            Self::Quadlet(key) => !key.kind.repeats(),
            Self::Systemd(_, directive) => directive.value.is_single(),
        }
    }

    /// Whether it is there for the sake of old files only.
    pub(crate) fn is_old(self) -> bool {
        match self {
            Self::Quadlet(key) => key.doc.starts_with("Deprecated"),
            Self::Systemd(_, directive) => directive.instead.is_some(),
        }
    }

    /// Whether Podman doesn't know it.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Self::Quadlet(key) if key.since == Since::Sampan)
    }

    /// What becomes of it, or what it takes, in a few words.
    pub(crate) fn detail(self) -> String {
        match self {
            Self::Quadlet(key) => key.equivalent(),
            Self::Systemd(_, directive) => directive.value.describe(),
        }
    }

    /// The words that its value is one of; none if there are too many to list.
    pub(crate) fn choices(self) -> &'static [&'static str] {
        const BOOLEAN: &[&str] = &["yes", "no"];
        match self {
            Self::Quadlet(Key { kind: Kind::Boolean, .. }) => BOOLEAN,
            Self::Quadlet(Key { shape: Shape::OneOf(words), .. }) => words,
            Self::Quadlet(Key { shape: Shape::Signal, .. }) => &SIGNALS,
            Self::Quadlet(_) => &[],
            Self::Systemd(section, directive) => match directive.value {
                Value::Boolean => BOOLEAN,
                Value::Choice(words) => words,
                Value::Signal => &SIGNALS,
                Value::Units if section == "Install" => &["multi-user.target", "default.target"],
                Value::Units => &["network-online.target"],
                _ => &[],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_other_kinds_have_no_keys_here() {
        assert!(keys_of(UnitType::Container, "Pod").is_empty());
        assert!(keys_of(UnitType::Container, "Nonsense").is_empty());
        assert_eq!(keys_of(UnitType::Pod, "Quadlet").len(), 1);
        assert_eq!(keys_of(UnitType::Pod, "Pod").len(), UnitType::Pod.keys().len());
    }

    #[test]
    fn words_come_from_both_tables() {
        let choices = |section, name| key_of(UnitType::Container, section, name).map(Known::choices);
        assert_eq!(choices("Container", "ReadOnly"), Some(&["yes", "no"][..]));
        assert!(choices("Service", "Restart").is_some_and(|words| words.contains(&"on-failure")));
        assert!(choices("Install", "WantedBy").is_some_and(|words| words.contains(&"multi-user.target")));
        assert_eq!(choices("Container", "Restart"), None);
    }
}
