//! `HEALTHCHECK` of a Containerfile: a field of the configuration that Docker has and the OCI image specification
//! doesn't.

use serde::Deserialize;

/// How an image says that the health of its containers is found out. Times are nanoseconds; 0 stands for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` and arguments, or `CMD-SHELL` and one string.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: u64,
    /// After this time a check has failed.
    pub timeout: u64,
    /// Failures in this time after the start don't count.
    pub start_period: u64,
    /// So many failures in a row make a container unhealthy.
    pub retries: u32,
}

impl Healthcheck {
    /// The one in the bytes of a configuration. One that can't be read counts as none: the image runs without it.
    pub(crate) fn of(configuration: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Configuration {
            config: Option<Extended>,
        }
        #[derive(Deserialize)]
        struct Extended {
            #[serde(rename = "Healthcheck")]
            healthcheck: Option<Healthcheck>,
        }
        const FIELD: &[u8] = b"\"Healthcheck\"";
        if !configuration.windows(FIELD.len()).any(|window| window == FIELD) {
            return None;
        }
        match serde_json::from_slice::<Configuration>(configuration) {
            Ok(configuration) => configuration.config?.healthcheck.filter(|check| !check.test.is_empty()),
            Err(error) => {
                log::warn!("the image's health check is left out: {error}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_field_is_read() {
        let text =
            r#"{"config":{"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":2}}}"#;
        let check = Healthcheck::of(text.as_bytes()).unwrap();
        assert_eq!(
            (check.test.len(), check.interval, check.timeout, check.retries),
            (2, 5_000_000_000, 0, 2)
        );
        for none in [
            r#"{"config":{}}"#,
            r#"{"config":{"Healthcheck":null}}"#,
            r#"{"config":{"Healthcheck":{"Test":1}}}"#,
        ] {
            assert_eq!(Healthcheck::of(none.as_bytes()), None, "{none}");
        }
    }
}
