//! Signals by name or number, as users and images write them.

use anyhow::{Context, ensure};
use nix::libc::{SIGRTMAX, SIGRTMIN};
use nix::sys::signal::Signal;

/// `SIGTERM`, `TERM`, `sigterm`, `15`, or a real-time signal: `SIGRTMIN+3` (what systemd in a container stops at),
/// `RTMAX-1`.
///
/// # Errors
/// No such signal.
pub(crate) fn parse(text: &str) -> anyhow::Result<i32> {
    let unknown =
        || format!("there is no signal \"{text}\" (see signal(7); write TERM, SIGTERM, SIGRTMIN+3 or 15)");
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Ok(number) = name.parse::<i32>() {
        number
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        SIGRTMIN() + offset(rest).with_context(unknown)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        SIGRTMAX() + offset(rest).with_context(unknown)?
    } else {
        format!("SIG{name}").parse::<Signal>().with_context(unknown)? as i32
    };
    ensure!((1..=SIGRTMAX()).contains(&number), unknown());
    Ok(number)
}

/// `+3`, `-1` or nothing.
fn offset(text: &str) -> Option<i32> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

/// The name, or for a real-time signal the number.
pub(crate) fn name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_number() {
        for text in ["SIGTERM", "term", "15"] {
            assert_eq!(parse(text).unwrap(), 15);
        }
        assert_eq!(parse("SIGRTMIN+3").unwrap(), SIGRTMIN() + 3);
        assert_eq!(parse(&name(SIGRTMIN() + 3)).unwrap(), SIGRTMIN() + 3);
        assert_eq!(parse("RTMAX-1").unwrap(), 63);
        for wrong in ["SIGNOPE", "0", "65", "RTMIN+99", "RTMIN+x", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
