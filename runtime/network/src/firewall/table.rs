//! Loading [the table](RULES): the only place where a program, `nft`, is run.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// All rules, as text for `nft -f`.
const RULES: &str = include_str!("table.nft");

/// The chain that marks the layout of a table that is complete; it changes whenever
/// the rules do.
pub(super) const MARKER: &str = "layout_1";

/// Replaces the table by an empty one, in one transaction.
pub(super) fn load() -> Result<()> {
    // Adding the table first makes the deletion succeed whether it exists or not.
    let script = format!("table inet sampan\ndelete table inet sampan\n{RULES}");
    let failed = |why: String| Error::Program { program: "nft".to_owned(), why };
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("{e}; it makes the firewall table, install nftables")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A broken pipe means that nft ended early: its own words say why.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!(
        "can't make table inet sampan ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
