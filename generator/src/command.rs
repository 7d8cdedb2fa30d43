//! A command line that is being put together, one word after the other.

use crate::syntax::words;

/// The words of a command line; the first is the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine(Vec<String>);

impl CommandLine {
    /// Only the program.
    pub(crate) fn new(program: &str) -> Self {
        Self(vec![program.to_owned()])
    }

    /// Adds one word.
    pub(crate) fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    /// Adds several words.
    pub(crate) fn words<S: Into<String>>(&mut self, words: impl IntoIterator<Item = S>) {
        self.0.extend(words.into_iter().map(Into::into));
    }

    /// The same command line with more words.
    pub(crate) fn with<S: Into<String>>(&self, words: impl IntoIterator<Item = S>) -> Self {
        // Most commands of a generator are long ones: room for them saves growing step by step.
        let mut command = Self(Vec::with_capacity(self.0.len() + 40));
        command.0.extend_from_slice(&self.0);
        command.words(words);
        command
    }

    /// Adds `FLAG VALUE`.
    pub(crate) fn flag(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push(flag.to_owned());
        self.0.push(value.into());
    }

    /// Adds `FLAG` or `FLAG=false`.
    pub(crate) fn switch(&mut self, flag: &str, on: bool) {
        self.0.push(if on { flag.to_owned() } else { format!("{flag}=false") });
    }

    /// The value of an `Exec…=` line.
    pub(crate) fn value(&self) -> String {
        words::join(self.0.iter().map(String::as_str))
    }
}
