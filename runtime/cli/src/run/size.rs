//! Sizes and times as Podman spells them: `64m`, `1.5g`, `1m30s`.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// Bytes from a number with an optional unit: `b k m g t p`, also `kb`, `kib`, in powers of 1024.
pub(crate) fn bytes(text: &str) -> anyhow::Result<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let shift = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => bail!("\"{text}\" is not a size: use a number with b, k, m or g, as in 64m"),
    };
    let number: f64 = number
        .parse()
        .with_context(|| format!("\"{text}\" is not a size: use a number with b, k, m or g, as in 64m"))?;
    Ok((number * (1u64 << shift) as f64) as u64)
}

/// A time as Go writes it (`300ms`, `1m30s`, `2h`); a bare number is seconds.
pub(crate) fn duration(text: &str) -> anyhow::Result<Duration> {
    let refuse = || format!("\"{text}\" is not a time: use a number with ms, s, m or h, as in 1m30s");
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).with_context(refuse);
    }
    let mut rest = text.trim();
    ensure!(!rest.is_empty(), refuse());
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').with_context(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => bail!(refuse()),
        };
        let number: f64 = number.parse().with_context(refuse)?;
        total += Duration::try_from_secs_f64(number * seconds).with_context(refuse)?;
        rest = tail;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in
            [("64", 64), ("64b", 64), ("2k", 2048), ("64m", 64 << 20), ("1.5g", 3 << 29), ("1GiB", 1 << 30)]
        {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        for text in ["", "m", "64x", "-1"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, millis) in [("30", 30_000), ("300ms", 300), ("1m30s", 90_000), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(duration(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "s", "5x", "1m30"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
