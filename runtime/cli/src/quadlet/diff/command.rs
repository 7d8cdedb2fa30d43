//! The words of a command line, each option together with its value.

use clap::CommandFactory as _;
use sampan_generator::syntax::words::{Escapes, quote, split};

use crate::CommandLine;

/// Which options of which subcommand take a value: sampan's own command line says so, and Podman's has
/// the same words.
#[derive(Debug)]
pub(super) struct Flags(clap::Command);

impl Flags {
    /// Those of this program.
    pub(super) fn of_sampan() -> Self {
        Self(CommandLine::command())
    }

    /// The words of a command: `--publish 80:80` is one, and so is each word behind the options.
    pub(super) fn groups(&self, command: &str) -> Vec<String> {
        let words = split(command, Escapes::Resolved).words;
        let mut words = words.iter().map(|word| word.text.as_ref());
        let mut groups: Vec<String> = words.next().map(str::to_owned).into_iter().collect();
        let mut subcommand = &self.0;
        let mut options = true;
        while let Some(word) = words.next() {
            let mut group = quote(word).into_owned();
            if options && word.starts_with('-') {
                if takes_value(subcommand, word)
                    && let Some(value) = words.next()
                {
                    group.push(' ');
                    group.push_str(&quote(value));
                }
            } else if let Some(below) = subcommand.find_subcommand(word).filter(|_| options) {
                subcommand = below;
            } else {
                options = false;
            }
            groups.push(group);
        }
        groups
    }
}

/// Whether the next word belongs to this option.
fn takes_value(subcommand: &clap::Command, word: &str) -> bool {
    if word.contains('=') {
        return false;
    }
    let argument = subcommand.get_arguments().find(|argument| match word.strip_prefix("--") {
        Some(long) => argument.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)),
        None => word
            .strip_prefix('-')
            .is_some_and(|short| argument.get_short().is_some_and(|own| short == own.to_string())),
    });
    argument.is_some_and(|argument| argument.get_action().takes_values() && !argument.is_require_equals_set())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_with_their_values() {
        let groups = |command: &str| Flags::of_sampan().groups(command);
        assert_eq!(
            groups("/usr/bin/sampan run --name a --rm -e B=c --label=x img -e \"d e\""),
            ["/usr/bin/sampan", "run", "--name a", "--rm", "-e B=c", "--label=x", "img", "-e", "\"d e\""]
        );
        assert_eq!(
            groups("/usr/bin/sampan --module m network create --subnet 10.0.0.0/24 n"),
            ["/usr/bin/sampan", "--module m", "network", "create", "--subnet 10.0.0.0/24", "n"]
        );
    }
}
