//! Reading a command line by the tables: options before and after operands, `--name VALUE` and `--name=VALUE`,
//! `-n VALUE`, `-nVALUE` and several switches in one word; after `--` there are operands only.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};

use super::table::{Entry, Table};
use super::{Command, Global, Request};

/// The words that are left.
type Words = VecDeque<OsString>;

/// Reads a command line, without the program's name. What was read of the global options is in `global` even if
/// the rest is wrong: it says where errors go.
pub(crate) fn read(words: impl IntoIterator<Item = OsString>, global: &mut Global) -> Result<Request> {
    let mut words: Words = words.into_iter().collect();
    while let Some(word) = words.pop_front() {
        match word.to_str() {
            Some("--help" | "-h" | "-?" | "help") => return Ok(Request::Help(None)),
            Some("--version" | "-v" | "-V") => return Ok(Request::Version),
            Some(name) if !name.starts_with('-') => {
                let command = Command::named(name);
                let command = command.with_context(|| format!("there is no command {name:?}; see --help"))?;
                return read_command(name, command, words, global);
            }
            _ => option(&word, &mut words, &mut [global])?,
        }
    }
    bail!("no command is given; see --help")
}

fn read_command(name: &str, mut command: Command, mut words: Words, global: &mut Global) -> Result<Request> {
    let table = command.table();
    let mut operands = VecDeque::new();
    table.each(&mut |entry| {
        if entry.is_operand() {
            operands.push_back(entry);
        }
    });
    let mut options_end = false;
    while let Some(word) = words.pop_front() {
        let is_option = word.as_bytes().first() == Some(&b'-') && word.len() > 1 && !options_end;
        // Another program's options.
        let is_option = is_option && !operands.front().is_some_and(|entry| entry.names.starts_with("[-"));
        match (is_option, word.to_str()) {
            (true, Some("--")) => options_end = true,
            (true, Some("--help" | "-h" | "-?")) => return Ok(Request::Help(Some(name.to_owned()))),
            (true, _) => option(&word, &mut words, &mut [&mut *table, &mut *global])
                .with_context(|| name.to_owned())?,
            (false, _) => {
                let Some(entry) = operands.pop_front() else {
                    bail!("{name}: {word:?} is one word too many");
                };
                table.set(entry.names, &word).with_context(|| format!("{name}: {}", entry.names))?;
                if entry.names.ends_with("...") {
                    // From the program's name on, every word is the program's.
                    for word in words.drain(..) {
                        table.set(entry.names, &word)?;
                    }
                }
            }
        }
    }
    match operands.iter().find(|entry| !entry.names.starts_with('[')) {
        Some(missing) => bail!("{name}: {} is missing: {}", missing.names, missing.doc),
        None => Ok(Request::Run(command)),
    }
}

/// One word that begins with a dash.
fn option(word: &OsStr, words: &mut Words, tables: &mut [&mut dyn Table]) -> Result<()> {
    let bytes = word.as_bytes();
    if !bytes.starts_with(b"--") {
        return short(word, words, tables);
    }
    let (name, value) = match bytes.iter().position(|&b| b == b'=') {
        Some(at) => (OsStr::from_bytes(&bytes[..at]), Some(OsStr::from_bytes(&bytes[at + 1..]))),
        None => (word, None),
    };
    let (index, entry) = find(name, tables)?;
    let value = match value {
        Some(value) => value.to_owned(),
        None if entry.switch => OsString::new(),
        None => next(entry, words)?,
    };
    give(tables[index], entry, &value)
}

/// `-n VALUE`, `-n=VALUE`, `-nVALUE`, or several switches together.
fn short(word: &OsStr, words: &mut Words, tables: &mut [&mut dyn Table]) -> Result<()> {
    let letters = word.to_str().with_context(|| format!("{word:?} is no UTF-8"))?;
    let mut rest = letters[1..].chars();
    while let Some(letter) = rest.next() {
        let (index, entry) = find(OsStr::new(&format!("-{letter}")), tables)?;
        if entry.switch {
            give(tables[index], entry, OsStr::new(""))?;
            continue;
        }
        let value = match rest.as_str() {
            "" => next(entry, words)?,
            value => value.strip_prefix('=').unwrap_or(value).into(),
        };
        return give(tables[index], entry, &value);
    }
    Ok(())
}

fn find(name: &OsStr, tables: &[&mut dyn Table]) -> Result<(usize, &'static Entry)> {
    let mut found = None;
    for (index, table) in tables.iter().enumerate() {
        table.each(&mut |entry| {
            if found.is_none() && name.to_str().is_some_and(|name| entry.is(name)) {
                found = Some((index, entry));
            }
        });
    }
    found.with_context(|| format!("there is no option {}; see --help", name.display()))
}

fn next(entry: &Entry, words: &mut Words) -> Result<OsString> {
    // Podman asks for an option without its value, and looks for the first words to know that it is there.
    words.pop_front().with_context(|| format!("flag needs an argument: {}", entry.names))
}

fn give(table: &mut dyn Table, entry: &Entry, value: &OsStr) -> Result<()> {
    table.set(entry.names, value).with_context(|| entry.names)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn ask(line: &str) -> (Global, Result<Request>) {
        let mut global = Global::default();
        let request = read(line.split(' ').map(OsString::from), &mut global);
        (global, request)
    }

    #[test]
    fn options_stand_before_and_after_the_id() {
        for line in [
            "--root /r create --bundle /b --pid-file=/p --no-pivot web",
            "--root=/r create web --bundle=/b --pid-file /p --no-pivot",
            "create web -b /b --no-pivot=true --pid-file /p --root /r",
            "create -b/b --pid-file /p --no-pivot --root /r -- web",
        ] {
            let (global, request) = ask(line);
            let Ok(Request::Run(Command::Create(create))) = request else { panic!("{line}: {request:?}") };
            assert_eq!(global.root.as_deref(), Some(Path::new("/r")), "{line}");
            assert_eq!((create.bundle.as_path(), create.id.as_str()), (Path::new("/b"), "web"), "{line}");
            assert_eq!(create.pid_file.as_deref(), Some(Path::new("/p")), "{line}");
            assert!(create.no_pivot, "{line}");
        }
    }

    #[test]
    fn what_follows_a_program_is_the_programs() {
        let (_, request) = ask("exec -dt -e A=b -e C=d -u1:2 web sh -c --help -d");
        let Ok(Request::Run(Command::Exec(exec))) = request else { panic!("{request:?}") };
        assert!(exec.detach && exec.tty);
        assert_eq!(exec.env, ["A=b", "C=d"]);
        assert_eq!(exec.user.as_deref(), Some("1:2"));
        assert_eq!(exec.command, ["sh", "-c", "--help", "-d"]);
    }

    #[test]
    fn mistakes_are_named_and_the_log_is_known_by_then() {
        for (line, words) in [
            ("--log /l create", "ID is missing"),
            ("--log /l create a b", "one word too many"),
            ("--log /l create --frobnicate a", "no option --frobnicate"),
            ("--log /l create a --bundle", "flag needs an argument"),
            ("--log /l list --format xml", "none of table, json"),
            ("--log /l frobnicate", "no command"),
            ("--log /l exec --preserve-fds many a", "no number"),
        ] {
            let (global, request) = ask(line);
            let error = format!("{:#}", request.unwrap_err());
            assert!(error.contains(words), "{line}: {error}");
            assert!(global.log.is_some(), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_requests() {
        assert!(matches!(ask("--version").1, Ok(Request::Version)));
        assert!(matches!(ask("-v").1, Ok(Request::Version)));
        assert!(matches!(ask("run --help").1, Ok(Request::Help(Some(_)))));
        assert!(matches!(ask("--root /r --help").1, Ok(Request::Help(None))));
    }
}
