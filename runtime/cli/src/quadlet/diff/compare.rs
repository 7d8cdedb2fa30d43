//! Which directives of two texts of a unit differ.
//!
//! Directives of different names may stand in any order; those of one name are a list. Sections that
//! systemd doesn't read (`[X-…]`) don't count. Commands are compared option by option.

use serde::Serialize;

use super::command::Flags;

/// Directives of `[Service]` that systemd looks at when something happens, not only when it starts the
/// service: a change takes effect with the reload alone (`service.c` of systemd).
const LATE: [&str; 11] = [
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
    "Restart",
    "RestartForceExitStatus",
    "RestartPreventExitStatus",
    "RestartSec",
    "SuccessExitStatus",
    "SyslogIdentifier",
    "TimeoutStopSec",
    "KillMode",
];

/// A directive that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Directive {
    /// Its section.
    pub(super) section: String,
    /// Its name.
    pub(super) key: String,
    /// Values or, of a command, words that will be gone.
    pub(super) removed: Vec<String>,
    /// Values or words that will be there.
    pub(super) added: Vec<String>,
    /// Whether these are words of one command.
    pub(super) words: bool,
}

impl Directive {
    /// Whether a service that runs has to be restarted for it.
    pub(super) fn waits_for_restart(&self) -> bool {
        self.section != "Unit" && self.section != "Install" && !LATE.contains(&self.key.as_str())
    }
}

/// What differs, in the order of the new text; what is only in the old one comes last.
pub(super) fn directives(old: &str, new: &str, flags: &Flags) -> Vec<Directive> {
    let (old, new) = (parse(old), parse(new));
    let mut found = Vec::new();
    let only_old = old.iter().filter(|(name, _)| new.iter().all(|(other, _)| other != name));
    for (name, after) in new
        .iter()
        .map(|(name, values)| (name, values.as_slice()))
        .chain(only_old.map(|(name, _)| (name, &[][..])))
    {
        let before = old.iter().find(|(other, _)| other == name).map_or(&[][..], |(_, values)| values);
        if before == after {
            continue;
        }
        let (section, key) = *name;
        let mut differ = |words, (removed, added): (Vec<String>, Vec<String>)| {
            found.push(Directive { section: section.to_owned(), key: key.to_owned(), removed, added, words });
        };
        if key.starts_with("Exec") && before.len() == after.len() {
            for (before, after) in before.iter().zip(after).filter(|(before, after)| before != after) {
                differ(true, differences(&flags.groups(before), &flags.groups(after)));
            }
        } else {
            let text = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
            differ(false, differences(&text(before), &text(after)));
        }
    }
    found
}

type Values<'a> = Vec<((&'a str, &'a str), Vec<&'a str>)>;

/// The values of each directive. A generated unit has one line for each assignment.
fn parse(text: &str) -> Values<'_> {
    let mut values: Values<'_> = Vec::new();
    let mut section = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) =
            line.split_once('=').filter(|_| !line.starts_with('#') && !section.starts_with("X-"))
        {
            match values.iter_mut().find(|(name, _)| *name == (section, key)) {
                Some((_, list)) => list.push(value),
                None => values.push(((section, key), vec![value])),
            }
        }
    }
    values
}

/// What has to be taken out of a list and what put into it, by its longest common subsequence.
fn differences(old: &[String], new: &[String]) -> (Vec<String>, Vec<String>) {
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = match old[i] == new[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            removed.push(old[i].clone());
            i += 1;
        } else {
            added.push(new[j].clone());
            j += 1;
        }
    }
    (removed, added)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(old: &str, new: &str) -> Vec<Directive> {
        directives(old, new, &Flags::of_sampan())
    }

    #[test]
    fn only_what_systemd_reads_differs() {
        let old = "# x\n[Unit]\nAfter=a\nAfter=b\nDescription=d\n[X-Container]\nImage=1\n";
        let new = "# x\n[Unit]\nDescription=d\nAfter=a\nAfter=b\n[X-Container]\nImage=2\n";
        assert_eq!(found(old, new), []);
        let [only] = &found(old, "[Unit]\nAfter=a\nDescription=d\nAfter=c\n")[..] else { panic!() };
        assert_eq!(
            (&*only.key, &only.removed[..], &only.added[..]),
            ("After", &["b".to_owned()][..], &["c".to_owned()][..])
        );
        assert!(!only.waits_for_restart());
    }

    #[test]
    fn commands_differ_in_options() {
        let old = "[Service]\nExecStart=/usr/bin/sampan run --name web --publish 80:80 --replace x a b\nExecStop=s\n";
        let new = "[Service]\nExecStart=/usr/bin/sampan run --name web --publish 8080:80 --replace x a c\nExecStop=t\n";
        let found = found(old, new);
        assert_eq!(found[0].removed, ["--publish 80:80", "b"]);
        assert_eq!(found[0].added, ["--publish 8080:80", "c"]);
        assert!(found[0].words && found[0].waits_for_restart());
        assert_eq!(found[1].key, "ExecStop");
        assert!(!found[1].waits_for_restart());
    }

    #[test]
    fn what_is_gone_comes_last() {
        let found = found("[Service]\nA=1\nB=1\n", "[Service]\nB=2\n");
        assert_eq!(found.iter().map(|found| &*found.key).collect::<Vec<_>>(), ["B", "A"]);
        assert_eq!((found[1].removed.len(), found[1].added.len()), (1, 0));
    }
}
