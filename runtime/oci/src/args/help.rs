//! Texts made of the tables: help, version, and completions for shells.

use std::fmt::Write;

use anyhow::{Result, bail};
use sampan_container::{defaults, features};

use super::table::Table;
use super::{COMMANDS, Command, Global};

/// One line for each option of a table.
fn list(table: &dyn Table, operands: bool) -> String {
    let mut text = String::new();
    table.each(&mut |entry| {
        if entry.is_operand() == operands {
            let _ = writeln!(text, "  {:<28} {}", entry.names, entry.doc);
        }
    });
    text
}

/// Help for a command, or for the program.
pub(crate) fn help(command: Option<&str>) -> String {
    let Some(mut table) = command.and_then(Command::named) else {
        let mut text = "Usage: sampan-runtime [OPTIONS] COMMAND [OPTIONS] [OPERANDS]\n\n".to_owned();
        text += "An OCI runtime: creates and runs containers from bundles.\n\nCommands:\n";
        for (name, doc) in COMMANDS {
            let _ = writeln!(text, "  {name:<28} {doc}");
        }
        return text + "\nOptions of all commands:\n" + &list(&Global::default(), false);
    };
    let name = command.unwrap_or_default();
    let doc = COMMANDS.iter().find(|(n, _)| *n == name).map_or("", |(_, doc)| doc);
    let mut operands = String::new();
    table.table().each(&mut |entry| {
        if entry.is_operand() {
            operands = format!("{operands} {}", entry.names);
        }
    });
    let mut text = format!("Usage: sampan-runtime {name} [OPTIONS]{operands}\n\n{doc}\n");
    for (title, operands) in [("Operands", true), ("Options", false)] {
        let lines = list(table.table(), operands);
        if !lines.is_empty() {
            let _ = write!(text, "\n{title}:\n{lines}");
        }
    }
    text + "\nOptions of all commands:\n" + &list(&Global::default(), false)
}

/// Version, in lines that containerd and Docker read.
pub(crate) fn version() -> String {
    let mut text = format!("sampan-runtime version {}\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "spec: {}", defaults::OCI_VERSION);
    if let Some(version) = features::libseccomp_version() {
        let _ = writeln!(text, "libseccomp: {version}");
    }
    text
}

/// All option words of a table.
fn words(table: &dyn Table) -> Vec<&'static str> {
    let mut all = Vec::new();
    table.each(&mut |entry| all.extend(entry.names.split(' ').filter(|name| name.starts_with('-'))));
    all
}

/// A script that completes this program's words in a shell.
pub(crate) fn completions(shell: &str) -> Result<String> {
    let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
    let global = words(&Global::default()).join(" ");
    match shell {
        "bash" => Ok(bash(&names, &global)),
        // zsh runs the functions of bash.
        "zsh" => Ok(format!(
            "#compdef sampan-runtime\nautoload -U +X bashcompinit && bashcompinit\n{}",
            bash(&names, &global)
        )),
        "fish" => Ok(fish(&names)),
        _ => bail!("{shell:?} is none of bash, zsh, fish"),
    }
}

fn bash(names: &[&str], global: &str) -> String {
    let mut text = "_sampan_runtime() {\n  local word command= options=\n".to_owned();
    text += "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case $word in\n";
    let _ = writeln!(text, "      {}) command=$word; break ;;\n    esac\n  done", names.join("|"));
    text += "  case $command in\n";
    for name in names {
        if let Some(mut command) = Command::named(name) {
            let _ = writeln!(text, "    {name}) options=\"{}\" ;;", words(command.table()).join(" "));
        }
    }
    let _ = writeln!(text, "    *) options=\"{}\" ;;\n  esac", names.join(" "));
    text += "  COMPREPLY=($(compgen -W \"$options ";
    text + global
        + "\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _sampan_runtime sampan-runtime\n"
}

fn fish(names: &[&str]) -> String {
    let mut text = String::new();
    let quoted = |doc: &str| doc.replace('\\', "\\\\").replace('\'', "\\'");
    for (name, doc) in COMMANDS {
        let condition = "__fish_use_subcommand";
        let _ = writeln!(text, "complete -c sampan-runtime -n {condition} -a {name} -d '{}'", quoted(doc));
    }
    let mut options = |condition: &str, table: &dyn Table| {
        table.each(&mut |entry| {
            let names = entry.names.split(' ').filter(|name| name.starts_with('-'));
            let flags: String = names
                .map(|name| match name.strip_prefix("--") {
                    Some(long) => format!(" -l {long}"),
                    None => format!(" -s {}", &name[1..]),
                })
                .collect();
            if !entry.is_operand() {
                let value = if entry.switch { "" } else { " -r" };
                let _ = writeln!(
                    text,
                    "complete -c sampan-runtime{condition}{flags}{value} -d '{}'",
                    quoted(entry.doc)
                );
            }
        });
    };
    options("", &Global::default());
    for name in names {
        if let Some(mut command) = Command::named(name) {
            options(&format!(" -n '__fish_seen_subcommand_from {name}'"), command.table());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the manual page has to name.
    #[test]
    fn the_manual_names_every_option() {
        let manual = include_str!("../../../../man/sampan-runtime.8").replace('\\', "");
        let mut missing = Vec::new();
        let mut check = |whose: &str, table: &dyn Table| {
            for word in words(table).into_iter().filter(|w| w.starts_with("--")) {
                if !manual.contains(word) {
                    missing.push(format!("{whose} {word}"));
                }
            }
        };
        check("", &Global::default());
        for (name, _) in COMMANDS {
            check(name, Command::named(name).unwrap().table());
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_command_has_help_and_completions() {
        for (name, doc) in COMMANDS {
            assert!(help(Some(name)).contains(doc), "{name}");
            for shell in ["bash", "zsh", "fish"] {
                assert!(completions(shell).unwrap().contains(name), "{shell} {name}");
            }
        }
        assert!(help(None).contains("--root"));
        assert!(completions("tcsh").is_err());
    }

    #[test]
    fn the_version_is_as_clients_read_it() {
        assert!(version().starts_with("sampan-runtime version "), "{}", version());
        assert!(version().contains("\nspec: 1."), "{}", version());
    }
}
