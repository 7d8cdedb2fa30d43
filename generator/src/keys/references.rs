//! Which keys name other Quadlet files, and of which kinds.

use super::UnitType;

/// The keys of `[Unit]` that name units, and so also the Quadlet files that become them.
pub const DEPENDENCIES: [&str; 15] = [
    "After",
    "Before",
    "BindsTo",
    "Conflicts",
    "OnFailure",
    "OnSuccess",
    "PartOf",
    "PropagatesReloadTo",
    "PropagatesStopTo",
    "ReloadPropagatedFrom",
    "Requires",
    "Requisite",
    "StopPropagatedFrom",
    "Upholds",
    "Wants",
];

/// The kinds of Quadlet files that a value of this key may name; none for most keys.
pub fn named_by(section: &str, key: &str) -> &'static [UnitType] {
    use UnitType::*;
    match (section, key) {
        ("Unit", _) if DEPENDENCIES.contains(&key) => &UnitType::ALL,
        ("Container" | "Volume", "Image") => &[Image, Build],
        ("Container", "Pod") => &[Pod],
        ("Container" | "Pod" | "Build" | "Kube", "Network") => &[Network, Container],
        ("Container" | "Pod" | "Build", "Volume") => &[Volume, Artifact],
        ("Container", "Mount") => &[Volume, Image, Artifact],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_exist_name_files() {
        for kind in UnitType::ALL {
            for key in ["Image", "Pod", "Network", "Volume", "Mount"] {
                let exists = kind.keys().iter().any(|row| row.name == key);
                let named = !named_by(kind.section(), key).is_empty();
                assert!(exists || !named, "{key} in {}", kind.section());
            }
        }
        assert_eq!(named_by("Unit", "After").len(), 8);
        assert!(named_by("Service", "After").is_empty());
    }
}
