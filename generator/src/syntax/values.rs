//! Booleans and numbers, as systemd reads them.

/// A boolean of systemd.syntax(7), in any case; `None` if the text is none of its words.
pub fn boolean(text: &str) -> Option<bool> {
    const TRUE: [&str; 6] = ["1", "yes", "true", "on", "y", "t"];
    const FALSE: [&str; 6] = ["0", "no", "false", "off", "n", "f"];
    let is = |words: [&str; 6]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(TRUE) {
        Some(true)
    } else if is(FALSE) {
        Some(false)
    } else {
        None
    }
}

/// An unsigned number with strtoul(3)'s prefixes: `0x` hexadecimal, `0` octal.
pub fn number(text: &str) -> Option<u32> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text.starts_with(['+', '-']) {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    let radix = if text.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(text, radix).ok()
}

/// A size in bytes as `podman run --memory` takes it: a number, perhaps with a fraction, and one of
/// `b k m g t p` (powers of 1024), optionally followed by `b` or `ib`.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let fraction: f64 = number.parse().ok()?;
    Some((fraction * (1u64 << shift) as f64) as u64)
}

/// A time span of systemd.time(7) in seconds, such as `5min 20s`; a bare number is seconds.
pub fn time_span(text: &str) -> Option<f64> {
    if text.trim() == "infinity" {
        return Some(f64::INFINITY);
    }
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        seconds += number * unit_in_seconds(&rest[..letters])?;
        rest = rest[letters..].trim_start();
    }
    (!text.trim().is_empty()).then_some(seconds)
}

fn unit_in_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "usec" | "µs" | "μs" => 1e-6,
        "ms" | "msec" => 1e-3,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "M" | "month" | "months" => 2_629_800.0,
        "y" | "year" | "years" => 31_557_600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        assert_eq!(boolean("Yes"), Some(true));
        assert_eq!(boolean("off"), Some(false));
        assert_eq!(boolean("maybe"), None);
        assert_eq!(boolean(""), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(number("10"), Some(10));
        assert_eq!(number("0x10"), Some(16));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("-1"), None);
        assert_eq!(number("root"), None);
    }

    #[test]
    fn time_spans() {
        assert_eq!(time_span("5min 20s"), Some(320.0));
        assert_eq!(time_span("2h30min"), Some(9000.0));
        assert_eq!(time_span("90"), Some(90.0));
        assert_eq!(time_span("infinity"), Some(f64::INFINITY));
        assert_eq!(time_span("5 minuts"), None);
        assert_eq!(time_span(""), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("512m"), Some(512 << 20));
        assert_eq!(bytes("1.5GiB"), Some(3 << 29));
        assert_eq!(bytes("100b"), Some(100));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("x"), None);
        assert_eq!(bytes(""), None);
    }
}
