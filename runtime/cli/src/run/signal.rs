//! Signals by name or number, as users and images write them.

use anyhow::Context;
use nix::sys::signal::Signal;

/// `SIGTERM`, `TERM`, `sigterm` or `15`. Real-time signals have no name here.
///
/// # Errors
/// No such signal.
pub(crate) fn parse(text: &str) -> anyhow::Result<Signal> {
    let unknown = || format!("there is no signal \"{text}\" (see signal(7); write TERM, SIGTERM or 15)");
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).with_context(unknown);
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    name.parse().with_context(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_number() {
        for text in ["SIGTERM", "term", "15"] {
            assert_eq!(parse(text).unwrap(), Signal::SIGTERM);
        }
        assert!(parse("SIGNOPE").is_err());
    }
}
