//! The key table: every section and key of a Quadlet file, defined once.
//!
//! Each unit type has a file here with one row per key: its name, how its value is read
//! ([`Kind`]), what it becomes on the command line ([`Emit`]), what a value must look like
//! ([`Shape`]) and its documentation. Translation walks the rows in their order, so the order of a
//! table is the order of the options in the generated units; diagnostics, man pages and
//! completions read the same rows. To add a key, add a row; only a key that isn't simply an option
//! ([`Emit::Own`]) also needs code in `translate`.

pub(crate) mod artifact;
pub(crate) mod build;
pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod kube;
mod limits;
pub(crate) mod network;
pub(crate) mod pod;
pub(crate) mod quadlet;
pub mod references;
mod schema;
mod shape;
pub mod systemd;
pub(crate) mod volume;

pub use schema::schema;
pub use shape::Shape;

use std::sync::OnceLock;

/// How the value of a key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One string, the last one wins; an empty one unsets it.
    Text,
    /// One string, the last one wins; an empty one counts as a value.
    TextOrEmpty,
    /// yes or no, the last one wins.
    Boolean,
    /// An unsigned number, the last one wins.
    Number,
    /// Every line is a value; an empty line forgets those before.
    Lines,
    /// Blank-separated words with quotes, without escapes; an empty line forgets those before.
    Words,
    /// Blank-separated words with quotes and C escapes; an empty line forgets those before.
    Arguments,
    /// Like [`Kind::Arguments`], but only the last line counts.
    Command,
    /// Words `NAME=VALUE` with quotes and C escapes; the last one of a name wins.
    Pairs,
}

impl Kind {
    /// Whether the key may be given several times.
    pub fn repeats(self) -> bool {
        matches!(self, Self::Lines | Self::Words | Self::Arguments | Self::Pairs)
    }

    /// The kind in words, for the manual.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text | Self::TextOrEmpty => "a string",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Lines => "one value per line, may be given several times",
            Self::Words => "words separated by blanks, may be given several times",
            Self::Arguments => {
                "arguments separated by blanks, with quotes and C escapes, may be given several times"
            }
            Self::Command => "a command line",
            Self::Pairs => "NAME=VALUE words separated by blanks, may be given several times",
        }
    }
}

/// What a key becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// `FLAG VALUE` for each value; a boolean becomes `FLAG` or `FLAG=false`.
    Flag(&'static str),
    /// `FLAG=VALUE` in one word.
    Joined(&'static str),
    /// `FLAG PREFIXVALUE` for each value.
    Prefixed(&'static str, &'static str),
    /// These words if the boolean is true, nothing otherwise.
    WhenTrue(&'static [&'static str]),
    /// This directive of `[Service]`, which systemd acts on itself.
    Service(&'static str),
    /// The unit type's translator handles it; the text says what becomes of it.
    Own(&'static str),
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Podman's Quadlet reads it from this version on, such as `4.4`.
    Podman(&'static str),
    /// Only sampan reads it.
    Sampan,
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Podman(version) => write!(f, "Podman {version}"),
            Self::Sampan => f.write_str("sampan"),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Key {
    /// The section that the key belongs to.
    pub section: &'static str,
    /// Its place in the table of that section, from 0.
    pub row: usize,
    /// The key.
    pub name: &'static str,
    /// Where it comes from. For Podman's keys that is the first release whose generator accepts it.
    pub since: Since,
    /// How its value is read.
    pub kind: Kind,
    /// What it becomes.
    pub emit: Emit,
    /// What one value must look like.
    pub shape: Shape,
    /// What it does, in one or a few sentences.
    pub doc: &'static str,
}

impl Key {
    /// Whether another key has taken its place, which its documentation names.
    pub fn is_deprecated(&self) -> bool {
        self.doc.starts_with("Deprecated")
    }

    /// What the key becomes, as a reader of the manual would write it.
    pub fn equivalent(&self) -> String {
        match self.emit {
            Emit::Flag(flag) | Emit::Joined(flag) => flag.to_owned(),
            Emit::Prefixed(flag, prefix) => format!("{flag} {prefix}"),
            Emit::WhenTrue(words) => words.join(" "),
            Emit::Service(directive) => format!("{directive}= in [Service]"),
            Emit::Own(text) => text.to_owned(),
        }
    }
}

/// Defines the rows of one section: a constant per key, and `KEYS` with all of them in order.
///
/// A row is `CONSTANT "Key" SINCE Kind, Emit, Shape, "documentation";`, where SINCE is a version of
/// Podman, such as `4.4`, or `sampan` for a key of our own.
macro_rules! table {
    ($section:literal; $($id:ident $name:literal $since:tt $kind:ident, $emit:expr, $shape:expr, $doc:expr;)*) => {
        /// The rows in their order.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named after the rows")]
        enum Row { $($id),* }
        $(pub(crate) static $id: $crate::keys::Key = $crate::keys::Key {
            section: $section,
            row: Row::$id as usize,
            name: $name,
            since: $crate::keys::since!($since),
            kind: $crate::keys::Kind::$kind,
            emit: $emit,
            shape: $shape,
            doc: $doc,
        };)*
        pub(crate) static KEYS: &[&$crate::keys::Key] = &[$(&$id),*];
    };
}
pub(crate) use table;

/// The SINCE of a row.
macro_rules! since {
    (sampan) => {
        $crate::keys::Since::Sampan
    };
    ($version:literal) => {
        $crate::keys::Since::Podman(stringify!($version))
    };
}
pub(crate) use since;

/// The kinds of Quadlet files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnitType {
    /// `.container`: a container that runs as a service.
    Container,
    /// `.network`: a network that containers join.
    Network,
    /// `.volume`: a named volume.
    Volume,
    /// `.image`: an image that is pulled.
    Image,
    /// `.build`: an image that is built.
    Build,
    /// `.pod`: containers that share namespaces.
    Pod,
    /// `.kube`: Kubernetes YAML.
    Kube,
    /// `.artifact`: an OCI artifact that is pulled.
    Artifact,
}

impl UnitType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Container,
        Self::Network,
        Self::Volume,
        Self::Image,
        Self::Build,
        Self::Pod,
        Self::Kube,
        Self::Artifact,
    ];

    /// The kind of a file by its name's extension.
    pub fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        Self::ALL.into_iter().find(|kind| kind.extension() == extension)
    }

    /// The extension without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Image => "image",
            Self::Build => "build",
            Self::Pod => "pod",
            Self::Kube => "kube",
            Self::Artifact => "artifact",
        }
    }

    /// The section that such a file is about.
    pub fn section(self) -> &'static str {
        match self {
            Self::Container => "Container",
            Self::Network => "Network",
            Self::Volume => "Volume",
            Self::Image => "Image",
            Self::Build => "Build",
            Self::Pod => "Pod",
            Self::Kube => "Kube",
            Self::Artifact => "Artifact",
        }
    }

    /// What is put behind the file's name to make the service's name.
    pub fn service_suffix(self) -> &'static str {
        match self {
            Self::Container | Self::Kube => "",
            Self::Network => "-network",
            Self::Volume => "-volume",
            Self::Image => "-image",
            Self::Build => "-build",
            Self::Pod => "-pod",
            Self::Artifact => "-artifact",
        }
    }

    /// The keys of its section.
    pub fn keys(self) -> &'static [&'static Key] {
        match self {
            Self::Container => container::KEYS,
            Self::Network => network::KEYS,
            Self::Volume => volume::KEYS,
            Self::Image => image::KEYS,
            Self::Build => build::KEYS,
            Self::Pod => pod::KEYS,
            Self::Kube => kube::KEYS,
            Self::Artifact => artifact::KEYS,
        }
    }
}

/// Finds the keys of a unit type's own section by their names.
pub(crate) fn index(kind: UnitType) -> &'static Index {
    const KINDS: usize = UnitType::ALL.len();
    static INDEX: [OnceLock<Index>; KINDS] = [const { OnceLock::new() }; KINDS];
    INDEX[kind as usize].get_or_init(|| Index::new(kind.keys()))
}

/// Where each key stands in its table: the keys of each length, of which there are few.
#[derive(Debug)]
pub(crate) struct Index(Vec<Vec<(&'static str, usize)>>);

impl Index {
    fn new(keys: &[&'static Key]) -> Self {
        let longest = keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
        let mut by_length = vec![Vec::new(); longest + 1];
        keys.iter().for_each(|key| by_length[key.name.len()].push((key.name, key.row)));
        Self(by_length)
    }

    /// The row of a key.
    pub(crate) fn get(&self, name: &str) -> Option<usize> {
        self.0.get(name.len())?.iter().find(|(key, _)| *key == name).map(|(_, row)| *row)
    }
}

/// Every key of every section.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    UnitType::ALL.into_iter().flat_map(UnitType::keys).chain(quadlet::KEYS).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_stands_once_and_is_documented() {
        let mut seen = HashSet::new();
        for key in keys() {
            assert!(seen.insert((key.section, key.name)), "{} twice in {}", key.name, key.section);
            assert!(key.doc.ends_with('.') && key.doc.len() > 15, "{}: {}", key.name, key.doc);
        }
        let podmans = keys().filter(|key| key.since != Since::Sampan).count();
        assert_eq!(podmans, 236);
    }

    #[test]
    fn a_key_is_as_old_as_podmans_releases_say() {
        for (section, name, since) in [
            ("Container", "Image", "Podman 4.4"),
            ("Container", "Memory", "Podman 5.5"),
            ("Container", "AppArmor", "Podman 5.8"),
            ("Pod", "StopTimeout", "Podman 5.7"),
            ("Artifact", "Artifact", "Podman 5.7"),
            ("Volume", "UID", "Podman 6.0"),
        ] {
            let key = keys().find(|key| (key.section, key.name) == (section, name));
            assert_eq!(key.map(|key| key.since.to_string()).as_deref(), Some(since), "{section} {name}");
        }
        let version =
            |text: &str| text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        for key in keys() {
            if let Since::Podman(since) = key.since {
                // Quadlet came with 4.4.
                assert!(
                    version(since).is_some_and(|since: (u8, u8)| since >= (4, 4)),
                    "{}: {since}",
                    key.name
                );
            }
        }
    }

    #[test]
    fn keys_are_found_by_name() {
        for (row, key) in container::KEYS.iter().enumerate() {
            assert_eq!((index(UnitType::Container).get(key.name), key.row), (Some(row), row));
        }
        assert_eq!(index(UnitType::Container).get("Imagf"), None);
        assert_eq!(index(UnitType::Container).get(""), None);
    }

    #[test]
    fn unit_types_are_found_by_extension() {
        assert_eq!(UnitType::of("a.b.container"), Some(UnitType::Container));
        assert_eq!(UnitType::of("container"), None);
        assert_eq!(UnitType::of("x.service"), None);
    }
}
