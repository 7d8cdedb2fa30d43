//! `ps`.

use std::process::Command;

use anyhow::{Context, Result, bail};
use sampan_container::cgroup::Cgroup;
use sampan_container::state::State;

use crate::args::{Global, ListFormat, Ps};
use crate::info::{print, write};

/// The processes of a container, in the host's PID namespace.
pub(crate) fn processes(state: &State) -> Result<Vec<i32>> {
    let Some(path) = &state.cgroup else {
        bail!("container {:?} has no cgroup of its own: its processes can't be told from others", state.name);
    };
    let mut pids = Cgroup::existing(path)?.processes()?;
    pids.sort_unstable();
    Ok(pids)
}

/// Lists the processes of a container: their ids, or what ps(1) says about them.
pub(crate) fn ps(global: &Global, options: &Ps) -> Result<u8> {
    let state = global.container(&options.id)?.read()?;
    let pids = processes(&state)?;
    // Podman's way: `ps --format json ID`; and, as everywhere here, options may also stand after the id.
    let (format, arguments) = match options.arguments.as_slice() {
        [flag, format, rest @ ..] if ["-f", "--format"].contains(&flag.as_str()) && rest.is_empty() => {
            (parse(format)?, rest)
        }
        [option] if option.starts_with("--format=") => (parse(&option["--format=".len()..])?, &[][..]),
        all => (options.format, all),
    };
    if format == ListFormat::Json {
        return print(&serde_json::json!(pids));
    }
    let arguments: &[String] = if arguments.is_empty() { &["-ef".to_owned()] } else { arguments };
    let output = Command::new("ps").args(arguments).output().context("ps(1)")?;
    if !output.status.success() {
        bail!("ps {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    // The container's own words are in there: no control character of theirs reaches a terminal.
    let table = String::from_utf8_lossy(&output.stdout);
    let table = table.replace(|c: char| c.is_control() && c != '\n', "?");
    write(&only(&table, &pids)?)
}

fn parse(format: &str) -> Result<ListFormat> {
    match format {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => bail!("--format {format:?}: it is table or json"),
    }
}

/// The head of a table and the lines whose column PID is one of these.
fn only(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_ascii_whitespace().position(|title| title == "PID");
    let column =
        column.context("ps(1) was not asked for a column PID: it can't be told whose the lines are")?;
    let is_ours = |line: &&str| {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|p| p.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(head).chain(lines.filter(is_ours)).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_their_column() {
        let table = "UID   PID  PPID CMD\nroot   10     7 sh 7\nroot    7     1 init\n";
        assert_eq!(only(table, &[7]).unwrap(), "UID   PID  PPID CMD\nroot    7     1 init\n");
        assert!(only("USER CMD\n", &[7]).is_err());
    }
}
