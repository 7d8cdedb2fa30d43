//! A command line that is being put together, one word after the other.

use crate::syntax::words;

/// Room for the commands of most containers; longer ones grow.
const ROOM: usize = 512;

/// A command line as the value of an `Exec…=` line; the first word is the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine(String);

impl CommandLine {
    /// Only the program.
    pub(crate) fn new(program: &str) -> Self {
        let mut value = String::with_capacity(ROOM);
        words::push_quoted(&mut value, program);
        Self(value)
    }

    /// Adds one word.
    pub(crate) fn word(&mut self, word: impl AsRef<str>) {
        self.0.push(' ');
        words::push_quoted(&mut self.0, word.as_ref());
    }

    /// Adds several words.
    pub(crate) fn words(&mut self, words: impl IntoIterator<Item = impl AsRef<str>>) {
        words.into_iter().for_each(|word| self.word(word));
    }

    /// The same command line with more words.
    pub(crate) fn with(&self, words: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut command = Self(String::with_capacity(self.0.len() + ROOM));
        command.0.push_str(&self.0);
        command.words(words);
        command
    }

    /// Adds `FLAG VALUE`.
    pub(crate) fn flag(&mut self, flag: &str, value: impl AsRef<str>) {
        self.word(flag);
        self.word(value);
    }

    /// Adds `FLAG` or `FLAG=false`.
    pub(crate) fn switch(&mut self, flag: &str, on: bool) {
        self.joined(&[flag, if on { "" } else { "=false" }]);
    }

    /// Adds one word that is put together from parts.
    pub(crate) fn joined(&mut self, parts: &[&str]) {
        self.0.push(' ');
        if parts.iter().all(|part| words::is_plain(part)) {
            self.0.extend(parts.iter().copied());
        } else {
            words::push_quoted(&mut self.0, &parts.concat());
        }
    }

    /// The value of an `Exec…=` line.
    pub(crate) fn value(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_whole() {
        let mut command = CommandLine::new("/usr/bin/x").with(["run", "a b"]);
        command.joined(&["--name=", "c d"]);
        command.joined(&["--name=", ""]);
        command.switch("--tls", false);
        command.flag("--label", "");
        assert_eq!(command.value(), r#"/usr/bin/x run "a b" "--name=c d" --name= --tls=false --label """#);
    }
}
