//! Identifiers of containers.

/// 64 hexadecimal digits, as Podman's and Docker's.
///
/// # Errors
/// getrandom(2)'s.
pub(crate) fn random() -> anyhow::Result<String> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_long_as_podmans() {
        assert_eq!(super::random().unwrap().len(), 64);
    }
}
