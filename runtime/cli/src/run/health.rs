//! `--health-*`: how the container's health is found out.

use anyhow::{Context, anyhow};
use sampan_container::state::{Healthcheck, StartupCheck};

use super::options::Options;
use super::size;
use crate::blame::Blamed as _;

const DEFAULT: &str = "30s";
const DEFAULT_RETRIES: u32 = 3;
/// An image may not keep the host busy with its checks: as often as this at most (nanoseconds).
const SHORTEST_OF_IMAGE: u64 = 1_000_000_000;
/// podman-run(1), `--health-max-log-count` and `--health-max-log-size`.
const LOG_COUNT: u32 = 5;
const LOG_SIZE: u32 = 500;

/// Reads the options over what the image says; `None` if there is no check, or `none` was said.
///
/// # Errors
/// A malformed time or command, or a startup check without one that follows it.
pub(crate) fn read(
    options: &Options,
    image: Option<&sampan_image::Healthcheck>,
) -> anyhow::Result<Option<Healthcheck>> {
    let image = image.filter(|_| options.health_cmd.is_none());
    let asked = match (&options.health_cmd, image) {
        _ if options.no_healthcheck => None,
        (Some(command), _) => test(command).blame("HealthCmd", "")?,
        (None, Some(image)) => {
            Some(image.test.clone()).filter(|test| test.first().is_some_and(|kind| kind != "NONE"))
        }
        (None, None) => None,
    };
    let startup = startup(options)?;
    let Some(test) = asked else {
        return match startup {
            Some(_) => Err(anyhow!("a startup check is followed by regular ones: add HealthCmd="))
                .blame("HealthStartupCmd", ""),
            None => Ok(None),
        };
    };
    let of_image = |value: fn(&sampan_image::Healthcheck) -> u64| image.map(value).filter(|time| *time > 0);
    let retries = image.map(|image| image.retries).filter(|retries| *retries > 0);
    let interval = of_image(|image| image.interval).map(|interval| interval.max(SHORTEST_OF_IMAGE));
    Ok(Some(Healthcheck {
        test,
        interval: interval_of(&options.health_interval, interval, "HealthInterval")?,
        timeout: time(&options.health_timeout, of_image(|image| image.timeout), DEFAULT, "HealthTimeout")?,
        start_period: time(
            &options.health_start_period,
            of_image(|image| image.start_period),
            "0s",
            "HealthStartPeriod",
        )?,
        retries: options.health_retries.or(retries).unwrap_or(DEFAULT_RETRIES),
        on_failure: options.health_on_failure.clone().unwrap_or_else(|| "none".to_owned()),
        startup,
        log_destination: log_destination(options.health_log_destination.as_deref())
            .blame("HealthLogDestination", "")?,
        max_log_count: options.health_max_log_count.unwrap_or(LOG_COUNT),
        max_log_size: options.health_max_log_size.unwrap_or(LOG_SIZE),
    }))
}

fn startup(options: &Options) -> anyhow::Result<Option<StartupCheck>> {
    let Some(command) = &options.health_startup_cmd else { return Ok(None) };
    let Some(test) = test(command).blame("HealthStartupCmd", "")? else { return Ok(None) };
    Ok(Some(StartupCheck {
        test,
        interval: interval_of(&options.health_startup_interval, None, "HealthStartupInterval")?,
        timeout: time(&options.health_startup_timeout, None, DEFAULT, "HealthStartupTimeout")?,
        retries: options.health_startup_retries.unwrap_or(0),
        success: options.health_startup_success.unwrap_or(0).max(1),
    }))
}

/// Nanoseconds; 0 for `disable`.
fn interval_of(asked: &Option<String>, image: Option<u64>, key: &'static str) -> anyhow::Result<u64> {
    match asked.as_deref() {
        Some("disable") => Ok(0),
        _ => time(asked, image, DEFAULT, key),
    }
}

/// Nanoseconds: what the user says, else the image, else the default.
fn time(asked: &Option<String>, image: Option<u64>, default: &str, key: &'static str) -> anyhow::Result<u64> {
    if let (None, Some(time)) = (asked, image) {
        return Ok(time);
    }
    let text = asked.as_deref().unwrap_or(default);
    let duration = size::duration(text).blame(key, text)?;
    Ok(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn log_destination(asked: Option<&str>) -> anyhow::Result<String> {
    match asked.unwrap_or("local") {
        known @ ("local" | "events_logger") => Ok(known.to_owned()),
        path if path.starts_with('/') && std::path::Path::new(path).is_dir() => Ok(path.to_owned()),
        other => Err(anyhow!(
            "\"{other}\" is no directory of this host; write local, events_logger, or the absolute path of a directory"
        )),
    }
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

    fn options(arguments: &[&str]) -> Options {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        <Line as clap::Parser>::parse_from(["run"].iter().chain(arguments).chain(&["i"])).options
    }

    #[test]
    fn the_users_words_count_over_the_images() {
        let image = sampan_image::Healthcheck {
            test: vec!["CMD".into(), "a".into()],
            interval: 1,
            retries: 7,
            ..Default::default()
        };
        let of = |arguments: &[&str]| read(&options(arguments), Some(&image));
        let check = of(&["--health-timeout", "2s"]).unwrap().unwrap();
        assert_eq!((check.test.len(), check.interval, check.retries), (2, SHORTEST_OF_IMAGE, 7));
        assert_eq!(check.timeout, 2_000_000_000);
        let check = of(&["--health-cmd", "true"]).unwrap().unwrap();
        assert_eq!((check.test[0].as_str(), check.retries), ("CMD-SHELL", DEFAULT_RETRIES));
        assert_eq!(of(&["--health-cmd", "none"]).unwrap(), None);
        assert_eq!(of(&["--no-healthcheck"]).unwrap(), None);
        assert!(read(&options(&["--health-startup-cmd", "x"]), None).is_err());
        assert!(of(&["--health-log-destination", "nowhere"]).is_err());
    }

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
