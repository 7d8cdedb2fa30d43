//! `--filter KEY=VALUE`: which rows a list has.
//!
//! Values of the same key are alternatives, different keys must all hold; of `label` every one
//! must hold. So it is in Podman.

use std::collections::BTreeMap;

use anyhow::bail;
use jiff::Timestamp;

use crate::run::size;

/// All `--filter` options of a command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the options; `known` are the command's keys.
    ///
    /// # Errors
    /// One without `=`, or with a key that the command does not have.
    pub(crate) fn parse(options: &[String], known: &[&str]) -> anyhow::Result<Self> {
        let mut filters = Self::default();
        for option in options {
            let Some((key, value)) = option.split_once('=') else {
                bail!("invalid filter {option:?}: filters are KEY=VALUE; the keys are {}", known.join(", "));
            };
            if !known.contains(&key) {
                bail!("invalid filter {key:?}: the keys are {}", known.join(", "));
            }
            filters.add(key, value);
        }
        Ok(filters)
    }

    /// Adds one more value of a key.
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }

    /// Whether there is a filter with this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All values of a key.
    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether one of the key's values fits; true if the key is not filtered.
    pub(crate) fn any(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().any(|value| fits(value)))
    }

    /// The moment before which a thing must have been made, if there is an `until`. All of them hold, so it is the
    /// earliest.
    ///
    /// # Errors
    /// One that is no time.
    pub(crate) fn until(&self) -> anyhow::Result<Option<Timestamp>> {
        let moments = self.values("until").map(moment).collect::<Result<Vec<_>, _>>()?;
        Ok(moments.into_iter().min())
    }

    /// Whether each `label=NAME` and `label=NAME=VALUE` is among the labels.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let fits = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|label| label == value),
            None => labels.contains_key(wanted),
        };
        self.0.get("label").is_none_or(|wanted| wanted.iter().all(fits))
    }
}

/// `24h` ago, or a moment as RFC 3339 or seconds since 1970 write it.
fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(zoned) = text.parse::<jiff::civil::DateTime>() {
        return Ok(zoned.to_zoned(jiff::tz::TimeZone::system())?.timestamp());
    }
    if let Some(seconds) = text.parse::<i64>().ok().filter(|seconds| *seconds > 100_000_000) {
        return Ok(Timestamp::from_second(seconds)?);
    }
    let ago = size::duration(text).map_err(|_| {
        anyhow::anyhow!(
            "--filter until={text}: write how long ago, as 24h, or a moment, as 2026-01-31T12:00:00Z"
        )
    })?;
    Ok(Timestamp::now().checked_sub(jiff::SignedDuration::try_from(ago)?)?)
}

/// Whether a name has this part. `^` at the beginning and `$` at the end bind it there, as in the
/// regular expressions that Podman takes.
pub(crate) fn matches(name: &str, pattern: &str) -> bool {
    let (start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (end, part) = rest.strip_suffix('$').map_or((false, rest), |part| (true, part));
    match (start, end) {
        (true, true) => name == part,
        (true, false) => name.starts_with(part),
        (false, true) => name.ends_with(part),
        (false, false) => name.contains(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(options: &[&str]) -> Filters {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Filters::parse(&options, &["name", "label"]).unwrap()
    }

    #[test]
    fn values_of_a_key_are_alternatives_but_for_labels() {
        let names = filters(&["name=a", "name=b"]);
        assert!(names.any("name", |value| value == "b") && !names.any("name", |value| value == "c"));
        assert!(names.any("other", |_| false) && names.has("name") && !names.has("label"));
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert!(filters(&["label=a", "label=b=2"]).labels(&labels));
        assert!(!filters(&["label=a", "label=b=3"]).labels(&labels));
        assert!(!filters(&["label=c"]).labels(&labels));
    }

    #[test]
    fn anchors_bind_a_name() {
        for (pattern, is) in
            [("eb", true), ("^eb", false), ("^we", true), ("b$", true), ("^web$", true), ("^w$", false)]
        {
            assert_eq!(matches("web", pattern), is, "{pattern}");
        }
    }

    #[test]
    fn unknown_filters_name_the_known() {
        let error = Filters::parse(&["nme=x".to_owned()], &["name", "label"]).unwrap_err().to_string();
        assert!(error.contains("name, label"), "{error}");
        assert!(Filters::parse(&["name".to_owned()], &["name"]).is_err());
    }
}
