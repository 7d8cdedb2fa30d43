//! Quantities: `500m`, `0.5`, `64Mi`, `1e3` (Kubernetes reference, "Quantity").

/// How many thousandths a quantity is, rounded up as Kubernetes does; `None` if it is none, or negative.
pub(crate) fn thousandths(text: &str) -> Option<u64> {
    let value = value(text)? * 1000.0;
    (0.0..=u64::MAX as f64).contains(&value).then(|| value.ceil() as u64)
}

/// How many whole units a quantity is, rounded up, such as bytes; `None` if it is none, or negative.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let value = value(text)?;
    (0.0..=u64::MAX as f64).contains(&value).then(|| value.ceil() as u64)
}

fn value(text: &str) -> Option<f64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024f64,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_all_spellings() {
        for (text, expected) in [
            ("64Mi", Some(64 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("128974848", Some(128_974_848)),
            ("1e3", Some(1000)),
            ("12E2", Some(1200)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("100m", Some(1)),
            ("-1", None),
            ("64m i", None),
            ("64mb", None),
            ("", None),
            ("Mi", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        assert_eq!(thousandths("0.5"), Some(500));
        assert_eq!(thousandths("250m"), Some(250));
        assert_eq!(thousandths("2"), Some(2000));
    }
}
