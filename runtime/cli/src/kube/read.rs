//! From a YAML tree to Kubernetes objects: how each kind of value is read, and how an object is described.
//!
//! [`object!`] is the table: a row per field, with its type and its name. From it come the type, its reader, the
//! warning about a field that nobody knows, and the note about one that means nothing on a single host.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Deref;

use super::yaml::{At, File, Key, Node, Problem, Value};

/// The file that is being read, and what there is to say about it that is no error.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    file: &'a File,
    notes: RefCell<Vec<String>>,
    /// The object at hand holds secrets: no line of it is shown.
    is_secret: Cell<bool>,
}

impl<'a> Source<'a> {
    /// Nothing was read yet.
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file, notes: RefCell::default(), is_secret: Cell::new(false) }
    }

    /// From here on lines may hold secrets, or don't any more.
    pub(crate) fn secret(&self, is_secret: bool) {
        self.is_secret.set(is_secret);
    }

    /// Something that is wrong at a place.
    pub(crate) fn problem(&self, at: At, reason: impl Into<String>) -> Problem {
        self.file.problem(at, reason, !self.is_secret.get())
    }

    /// Something to know about a place.
    pub(crate) fn note(&self, at: At, text: impl Into<String>) {
        self.notes.borrow_mut().push(self.file.problem(at, text, false).to_string());
    }

    /// What was noted, in the order of the file.
    pub(crate) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    /// The entries of a mapping.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn map<'n>(&self, node: &'n Node, path: &str) -> Result<&'n [(Key, Node)], Problem> {
        match &node.value {
            Value::Map(map) => Ok(map),
            other => Err(self.mismatch(node.at, path, "a mapping", other)),
        }
    }

    fn mismatch(&self, at: At, path: &str, wanted: &str, found: &Value) -> Problem {
        let help = match found {
            Value::Number(_) | Value::Boolean(_) if wanted == "a string" => ": put it in quotes",
            _ => "",
        };
        self.problem(at, format!("{path} must be {wanted}, and is {}{help}", found.describe()))
    }
}

/// A type that can be read from a YAML value.
pub(crate) trait Read: Sized {
    /// Reads it; `path` names the field in messages, such as `spec.containers[0].image`.
    ///
    /// # Errors
    /// The value is of another kind.
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem>;
}

/// A value that knows where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Located<T> {
    /// Where it stands.
    pub(crate) at: At,
    /// The value.
    pub(crate) value: T,
}

/// A string.
pub(crate) type Text = Located<String>;
/// A whole number.
pub(crate) type Number = Located<i64>;
/// yes or no.
pub(crate) type Flag = Located<bool>;

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Read for Text {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                Err(source.problem(node.at, format!("{path} contains a NUL character")))
            }
            Value::Text(text) => Ok(Self { at: node.at, value: text.clone() }),
            other => Err(source.mismatch(node.at, path, "a string", other)),
        }
    }
}

impl Read for Number {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        match &node.value {
            Value::Number(text) => match text.parse() {
                Ok(value) => Ok(Self { at: node.at, value }),
                Err(_) => {
                    Err(source.problem(node.at, format!("{path} must be a whole number, and is {text}")))
                }
            },
            other => Err(source.mismatch(node.at, path, "a number", other)),
        }
    }
}

impl Read for Flag {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        match &node.value {
            Value::Boolean(value) => Ok(Self { at: node.at, value: *value }),
            other => Err(source.mismatch(node.at, path, "true or false", other)),
        }
    }
}

/// A string or a number, as a port or a quantity is: `80`, `http`, `500m`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scalar(pub(crate) Text);

impl Read for Scalar {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        match &node.value {
            Value::Number(text) | Value::Text(text) => Ok(Self(Located { at: node.at, value: text.clone() })),
            other => Err(source.mismatch(node.at, path, "a string or a number", other)),
        }
    }
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        T::read(node, path, source).map(Some)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        match &node.value {
            Value::List(list) => {
                let items = list.iter().enumerate();
                items.map(|(at, item)| T::read(item, &format!("{path}[{at}]"), source)).collect()
            }
            other => Err(source.mismatch(node.at, path, "a list", other)),
        }
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, path: &str, source: &Source<'_>) -> Result<Self, Problem> {
        let entries = source.map(node, path)?.iter();
        let read = |(key, value): &(Key, Node)| {
            Ok((key.text.clone(), T::read(value, &format!("{path}.{}", key.text), source)?))
        };
        entries.map(read).collect()
    }
}

/// Describes an object: a row `name: Type = "fieldName"` for each field, then those that mean nothing on a single
/// host (`noted`, the user is told) and those that other tools write (`silent`).
macro_rules! object {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$about:meta])* $field:ident: $kind:ty = $key:literal,)*
        }
        noted [$($noted:literal)*] silent [$($silent:literal)*]
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $name {
            /// Where it begins.
            #[allow(dead_code, reason = "not every object can be wrong as a whole")]
            pub(crate) at: $crate::kube::yaml::At,
            $($(#[$about])* pub(crate) $field: $kind,)*
        }

        impl $crate::kube::read::Read for $name {
            fn read(
                node: &$crate::kube::yaml::Node,
                path: &str,
                source: &$crate::kube::read::Source<'_>,
            ) -> Result<Self, $crate::kube::yaml::Problem> {
                #[allow(unused_mut, reason = "an object may be without fields of interest")]
                let mut object = Self { at: node.at, ..Self::default() };
                for (key, value) in source.map(node, path)? {
                    let path = $crate::kube::read::below(path, &key.text);
                    // A field that is null is one that isn't there.
                    if matches!(value.value, $crate::kube::yaml::Value::Null) {
                        continue;
                    }
                    match key.text.as_str() {
                        $($key => object.$field = $crate::kube::read::Read::read(value, &path, source)?,)*
                        $($silent => {})*
                        $($noted => source.note(key.at, format!("{path} has no effect here")),)*
                        _ => source.note(key.at, format!("{path} is not known and has no effect")),
                    }
                }
                Ok(object)
            }
        }
    };
}
pub(crate) use object;

/// The path of a field.
pub(crate) fn below(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}
