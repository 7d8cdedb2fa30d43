//! How options are described, once each: the name as help writes it, the field that takes it, and what it is for.
//! Reading, help, completions and the test of the manual page go by this description.
//!
//! Why no library: this program is executed several times for each container, and building the description of
//! all commands anew each time, as clap does, took half of the instructions of a start-up (0.55 of 1.1 million).

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// An option (`--bundle -b DIR`) or an operand (`ID`, `[SIGNAL]`, `[COMMAND]...`).
#[derive(Debug)]
pub(crate) struct Entry {
    /// Names and, in capitals, what the value is; `[…]` around an operand that may be missing, and
    /// `[-…]...` around those that may begin with a dash.
    pub(crate) names: &'static str,
    /// What it does.
    pub(crate) doc: &'static str,
    /// It needs no value.
    pub(crate) switch: bool,
}

impl Entry {
    /// Whether this is the option `name`, dashes included.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.names.starts_with('-') && self.names.split(' ').any(|n| n == name)
    }

    pub(crate) fn is_operand(&self) -> bool {
        !self.names.starts_with('-')
    }
}

/// The options of a command, or of all.
pub(crate) trait Table {
    /// Shows every entry.
    fn each(&self, visit: &mut dyn FnMut(&'static Entry));

    /// Takes the value of the entry with these names. `false`: there is none.
    fn set(&mut self, names: &str, value: &OsStr) -> Result<bool>;
}

impl<T: Table> Table for Box<T> {
    fn each(&self, visit: &mut dyn FnMut(&'static Entry)) {
        self.as_ref().each(visit);
    }

    fn set(&mut self, names: &str, value: &OsStr) -> Result<bool> {
        self.as_mut().set(names, value)
    }
}

/// A type that an option can have.
pub(crate) trait Take {
    /// It needs no value.
    const SWITCH: bool = false;

    /// Takes a value; of several the last counts, or all in a list.
    fn take(&mut self, value: &OsStr) -> Result<()>;
}

/// A value as text.
pub(crate) fn text(value: &OsStr) -> Result<&str> {
    value.to_str().with_context(|| format!("{value:?} is no UTF-8"))
}

/// A truth value, in the words that Go's flags have for it.
pub(crate) fn truth(value: &str) -> Result<bool> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => bail!("{value:?} is neither true nor false"),
    }
}

impl Take for bool {
    const SWITCH: bool = true;

    fn take(&mut self, value: &OsStr) -> Result<()> {
        *self = truth(text(value)?)?;
        Ok(())
    }
}

impl Take for PathBuf {
    fn take(&mut self, value: &OsStr) -> Result<()> {
        *self = value.into();
        Ok(())
    }
}

impl Take for String {
    fn take(&mut self, value: &OsStr) -> Result<()> {
        *self = text(value)?.to_owned();
        Ok(())
    }
}

/// Types that are numbers.
macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Take for $type {
            fn take(&mut self, value: &OsStr) -> Result<()> {
                *self = text(value)?.parse().with_context(|| format!("{value:?} is no number that fits here"))?;
                Ok(())
            }
        })*
    };
}

numbers!(i32 i64 u16 u32 u64);

impl<T: Take + Default> Take for Option<T> {
    fn take(&mut self, value: &OsStr) -> Result<()> {
        self.insert(T::default()).take(value)
    }
}

impl<T: Take + Default> Take for Vec<T> {
    fn take(&mut self, value: &OsStr) -> Result<()> {
        let mut one = T::default();
        one.take(value)?;
        self.push(one);
        Ok(())
    }
}

/// A structure whose fields are options: `field: type = default => "--names -n VALUE", "What it does";`. With
/// `+ field: Other;` at the end it has all options of another one, too.
macro_rules! options {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    ($(#[$meta:meta])* $name:ident {
        $($field:ident: $type:ty $(= $default:expr)? => $names:literal, $doc:literal;)*
        $(+ $part:ident: $part_type:ty;)*
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $(#[doc = $doc] pub(crate) $field: $type,)*
            $(pub(crate) $part: $part_type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $($field: options!(@default $($default)?),)*
                    $($part: Default::default(),)*
                }
            }
        }

        impl $crate::args::table::Table for $name {
            fn each(&self, visit: &mut dyn FnMut(&'static $crate::args::table::Entry)) {
                $(visit(&$crate::args::table::Entry {
                    names: $names,
                    doc: $doc,
                    switch: <$type as $crate::args::table::Take>::SWITCH,
                });)*
                $(self.$part.each(visit);)*
            }

            fn set(&mut self, names: &str, value: &std::ffi::OsStr) -> anyhow::Result<bool> {
                match names {
                    $($names => $crate::args::table::Take::take(&mut self.$field, value)?,)*
                    _ => return Ok(false $(|| self.$part.set(names, value)?)*),
                }
                Ok(true)
            }
        }
    };
}

/// A type with a few words: `Name { Variant = "word", … }`; the first is the default.
macro_rules! words {
    ($name:ident { $first:ident = $first_word:literal $(, $variant:ident = $word:literal)* $(,)? }) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) enum $name {
            #[default]
            $first,
            $($variant,)*
        }

        impl $crate::args::table::Take for $name {
            fn take(&mut self, value: &std::ffi::OsStr) -> anyhow::Result<()> {
                *self = match value.to_str() {
                    Some($first_word) => $name::$first,
                    $(Some($word) => $name::$variant,)*
                    _ => anyhow::bail!("{value:?} is none of {}", [$first_word $(, $word)*].join(", ")),
                };
                Ok(())
            }
        }
    };
}

/// The commands: `"name" Variant(Options), "What it does";`.
macro_rules! commands {
    ($($name:literal $variant:ident($type:ty), $doc:literal;)*) => {
        #[derive(Debug)]
        pub(crate) enum Command {
            $(#[doc = $doc] $variant($type),)*
        }

        /// Names and purposes.
        pub(crate) const COMMANDS: &[(&str, &str)] = &[$(($name, $doc),)*];

        impl Command {
            /// The command of this name, with its options as they are if none are given.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Command::$variant(Default::default())),)*
                    _ => None,
                }
            }

            pub(crate) fn table(&mut self) -> &mut dyn $crate::args::table::Table {
                match self {
                    $(Command::$variant(options) => options,)*
                }
            }
        }
    };
}
