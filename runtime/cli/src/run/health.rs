//! `--health-*`: how the container's health is found out.

use anyhow::Context;
use sampan_container::state::Healthcheck;

use super::options::Options;
use super::size;
use crate::blame::Blamed as _;

const DEFAULT: &str = "30s";
const DEFAULT_RETRIES: u32 = 3;

/// Reads the options; `None` if there is no check, or `none` was said.
///
/// # Errors
/// A malformed time or command.
pub(crate) fn read(options: &Options) -> anyhow::Result<Option<Healthcheck>> {
    let Some(command) = options.health_cmd.as_deref().filter(|_| !options.no_healthcheck) else {
        return Ok(None);
    };
    let Some(test) = test(command).blame("HealthCmd", "")? else { return Ok(None) };
    let time = |text: &Option<String>, default: &str, key: &'static str| -> anyhow::Result<u64> {
        let text = text.as_deref().unwrap_or(default);
        let duration = size::duration(text).blame(key, text)?;
        Ok(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    };
    let interval = match options.health_interval.as_deref() {
        Some("disable") => 0,
        _ => time(&options.health_interval, DEFAULT, "HealthInterval")?,
    };
    Ok(Some(Healthcheck {
        test,
        interval,
        timeout: time(&options.health_timeout, DEFAULT, "HealthTimeout")?,
        start_period: time(&options.health_start_period, "0s", "HealthStartPeriod")?,
        retries: options.health_retries.unwrap_or(DEFAULT_RETRIES),
        on_failure: options.health_on_failure.clone().unwrap_or_else(|| "none".to_owned()),
    }))
}

/// A JSON array is a command (its first word may be `CMD` or `CMD-SHELL`); anything else goes to the shell.
fn test(command: &str) -> anyhow::Result<Option<Vec<String>>> {
    if command.starts_with('[') {
        let mut words: Vec<String> = serde_json::from_str(command)
            .with_context(|| "it begins like a JSON array and isn't one of strings".to_owned())?;
        match words.first().map(String::as_str) {
            None | Some("NONE") => return Ok(None),
            Some("CMD" | "CMD-SHELL") => {}
            Some(_) => words.insert(0, "CMD".to_owned()),
        }
        return Ok(Some(words));
    }
    match command {
        "" | "none" => Ok(None),
        shell => Ok(Some(vec![
            "CMD-SHELL".to_owned(),
            shell.strip_prefix("CMD-SHELL ").unwrap_or(shell).to_owned(),
        ])),
    }
}

/// The argument vector to execute for a test.
pub(crate) fn arguments(test: &[String]) -> Vec<String> {
    match test {
        [kind, command] if kind == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), command.clone()],
        [_, words @ ..] => words.to_vec(),
        [] => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_shell_words() {
        let run = |text| test(text).unwrap().map(|test| arguments(&test));
        let words = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(run("curl -f x || exit 1"), words(&["/bin/sh", "-c", "curl -f x || exit 1"]));
        assert_eq!(run(r#"["CMD","a","b"]"#), words(&["a", "b"]));
        assert_eq!(run(r#"["a"]"#), words(&["a"]));
        assert_eq!(run("none"), None);
        assert!(test("[a").is_err());
    }
}
