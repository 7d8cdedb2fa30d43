//! Forms of the values that become directives of systemd.resource-control(5), and how systemd writes
//! them: a size is `512m` here and bytes there, one and a half processors are `150%`.
//!
//! systemd resolves no specifiers in these, so a value is always looked at.

use crate::syntax::values;

/// A positive number of processors, perhaps with a fraction.
pub(super) fn is_processors(value: &str) -> bool {
    // Smaller quotas than one permille of a processor come to nothing.
    value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && value.parse::<f64>().is_ok_and(|number| (0.001..=100_000.0).contains(&number))
}

/// A number of processors as `CPUQuota=` takes it.
pub(super) fn percent(value: &str) -> String {
    let number: f64 = value.parse().unwrap_or_default();
    let percent = format!("{:.2}", number * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// 1 to 10000.
pub(super) fn is_weight(value: &str) -> bool {
    value.parse::<u32>().is_ok_and(|weight| (1..=10_000).contains(&weight))
}

/// Numbers and ranges of processors, separated by commas or blanks.
pub(super) fn is_cpu_set(value: &str) -> bool {
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
        }
        None => number(text).is_some(),
    };
    let mut parts = value.split([',', ' ']).filter(|part| !part.is_empty()).peekable();
    parts.peek().is_some() && parts.all(range)
}

/// A size, a share of the host's memory, or no limit.
pub(super) fn is_limit(value: &str) -> bool {
    match value.strip_suffix('%') {
        Some(text) => is_share(text),
        // To systemd the largest number is none.
        None => {
            matches!(value, "infinity" | "-1") || values::bytes(value).is_some_and(|size| size < u64::MAX)
        }
    }
}

/// 0 to 100, with two decimals at most (parse_permyriad() of systemd).
fn is_share(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && are_digits(decimals)
        && decimals.len() <= 2
        && text.parse::<f64>().is_ok_and(|share| share <= 100.0)
}

/// A limit in bytes, where it is a size: systemd knows `512M` and not `512m`.
pub(super) fn in_bytes(value: &str) -> String {
    match value {
        "-1" => "infinity".to_owned(),
        _ => values::bytes(value).map_or_else(|| value.to_owned(), |bytes| bytes.to_string()),
    }
}

/// The path of a device or of a file on it, and what `is_amount` takes.
pub(super) fn is_of_device(value: &str, is_amount: impl Fn(&str) -> bool) -> bool {
    let mut words = value.split_whitespace();
    let (path, amount) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    path.starts_with('/') && is_amount(amount) && words.next().is_none()
}

/// Bytes or operations in a second: a number, perhaps with K, M, G or T for thousands and more.
pub(super) fn is_rate(value: &str) -> bool {
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match &value[digits.len()..] {
        "" => 1,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return value == "infinity",
    };
    let number =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    number.and_then(|number| number.checked_mul(unit)).is_some_and(|rate| rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_become_percent() {
        for (value, expected) in [("1.5", "150%"), ("2", "200%"), ("0.125", "12.5%"), ("0.001", "0.1%")] {
            assert!(is_processors(value), "{value}");
            assert_eq!(percent(value), expected);
        }
        for bad in ["", "0", "-1", "1,5", "150%", "inf", "1e3", "%i"] {
            assert!(!is_processors(bad), "{bad}");
        }
    }

    #[test]
    fn sizes_become_bytes() {
        for (value, expected) in [
            ("512m", "536870912"),
            ("1K", "1024"),
            ("50%", "50%"),
            ("infinity", "infinity"),
            ("-1", "infinity"),
        ] {
            assert!(is_limit(value), "{value}");
            assert_eq!(in_bytes(value), expected);
        }
        assert!(is_limit("100.00%") && is_limit("0.5%"));
        for bad in [
            "",
            "lots",
            "120%",
            "%",
            "%i",
            "-5",
            "1e1%",
            "50.555%",
            "50.%",
            ".5%",
            "100.01%",
            "18446744073709551615",
            "99999999999.5p",
        ] {
            assert!(!is_limit(bad), "{bad}");
        }
    }

    #[test]
    fn lists_of_processors_and_devices() {
        for (value, good) in
            [("0-3,5", true), ("0 2", true), ("3-1", false), ("", false), ("a", false), (",", false)]
        {
            assert_eq!(is_cpu_set(value), good, "{value}");
        }
        assert!(is_of_device("/dev/sda 10M", is_rate) && is_of_device("/var 500", is_weight));
        assert!(is_rate("infinity") && is_rate("18446744T") && is_rate("7"));
        for bad in ["18446744073709551615T", "18446745T", "", "K", "+1", "1KK", "infinityK"] {
            assert!(!is_rate(bad), "{bad}");
        }
        for bad in ["/dev/sda", "10M", "sda 10M", "/dev/sda 10m", "/dev/sda 0", "/dev/sda 1 2"] {
            assert!(!is_of_device(bad, is_rate), "{bad}");
        }
        assert!(!is_weight("0") && !is_weight("10001") && is_weight("10000"));
    }
}
