//! Times and sizes as people read them, in the words of Podman's lists.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// `4 hours`, `About a minute`: how long ago a moment is.
pub(crate) fn since(moment: Timestamp) -> String {
    duration(Timestamp::now().duration_since(moment))
}

/// A span of time in one unit, rounded as Docker's and Podman's lists round it.
pub(crate) fn duration(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let hours = (seconds + 1800) / 3600;
    match (seconds, seconds / 60, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, minutes @ ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `107 MB`: decimal units, three digits, a blank before the unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Precision beyond 2^53 bytes does not matter to three digits.
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let digits = match amount {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let number = format!("{amount:.digits$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number} {}", UNITS[unit])
}

/// `2026-01-31 12:00:00.123456789 +0000 UTC`: a moment as Go prints it.
pub(crate) fn moment(moment: Timestamp) -> String {
    let zoned = moment.to_zoned(TimeZone::UTC);
    let nanoseconds = format!(".{:09}", zoned.subsec_nanosecond());
    let fraction = nanoseconds.trim_end_matches('0').trim_end_matches('.');
    format!("{}{fraction} +0000 UTC", zoned.strftime("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_podmans_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (731 * 86400, "2 years"),
        ] {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (1234, "1.23 kB"),
            (107_400_000, "107 MB"),
            (5_550_000, "5.55 MB"),
            (999_900, "1 MB"),
            (12_340_000_000, "12.3 GB"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn moments_print_as_in_go() {
        let at = |text: &str| moment(text.parse().unwrap());
        assert_eq!(at("2026-01-31T12:00:00Z"), "2026-01-31 12:00:00 +0000 UTC");
        assert_eq!(at("2026-01-31T12:00:00.120Z"), "2026-01-31 12:00:00.12 +0000 UTC");
    }
}
