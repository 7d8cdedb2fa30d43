//! Platforms as an OCI index names them.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::ImageConfiguration;

use crate::error::Error;

/// A platform as in an OCI index: `linux/amd64`, `linux/arm64/v8`
/// ([image index](https://github.com/opencontainers/image-spec/blob/main/image-index.md)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Operating system, Go's `GOOS`.
    pub os: String,
    /// Processor architecture, Go's `GOARCH`.
    pub architecture: String,
    /// Variant of the architecture, such as `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// The machine this runs on.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// With what the other names of an architecture say of the variant.
    pub fn of(os: &str, name: &str, variant: Option<&str>) -> Self {
        let implied = match name {
            "armhf" => Some("v7"),
            "armel" => Some("v6"),
            _ => None,
        };
        Self {
            os: os.to_owned(),
            architecture: architecture(name).to_owned(),
            variant: variant.or(implied).map(str::to_owned),
        }
    }

    /// Whether an image is for this platform.
    pub fn fits(&self, config: &ImageConfiguration) -> bool {
        config.os().to_string() == self.os
            && config.architecture().to_string() == self.architecture
            && self.rank(config.variant().as_deref()).is_some()
    }

    /// How well an offered variant fits: 0 is best, `None` is not at all.
    ///
    /// The order is that of containers/image: the wanted variant, then lower ones that it also runs,
    /// the highest first, then none at all. Where none is wanted, none is best, and of others the
    /// highest; of x86-64's levels none that this machine cannot run.
    pub(crate) fn rank(&self, offered: Option<&str>) -> Option<u32> {
        let offered = offered.filter(|variant| !variant.is_empty());
        let known = match self.architecture.as_str() {
            "arm" => &["v8", "v7", "v6", "v5"][..],
            "arm64" => &["v8"],
            "amd64" => &["v4", "v3", "v2", "v1"],
            _ => &[],
        };
        let place = |variant: &str| known.iter().position(|known| *known == variant);
        match (self.variant.as_deref(), offered) {
            (wanted, offered) if wanted == offered => Some(0),
            (Some(_), None) => Some(1000),
            (Some(wanted), Some(offered)) => {
                let (wanted, offered) = (place(wanted)?, place(offered)?);
                (offered > wanted).then(|| (offered - wanted) as u32)
            }
            (None, Some(offered)) => {
                let place = place(offered)?;
                let runs = self.architecture != "amd64" || 4 - place as u32 <= x86_64_level();
                runs.then_some(1 + place as u32)
            }
            (None, None) => Some(0),
        }
    }
}

/// The architecture under Go's name for it; uname(1)'s and Debian's are understood too.
pub(crate) fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        "armhf" | "armel" => "arm",
        "powerpc64le" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// The highest level of x86-64 whose instructions this processor has (x86-64 psABI, 3.1.1); elsewhere
/// the first, which is what emulators offer.
fn x86_64_level() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let second = has!("cmpxchg16b") && has!("popcnt") && has!("sse4.2") && has!("ssse3");
        let third = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma");
        let third = third && has!("lzcnt") && has!("movbe") && has!("xsave");
        let fourth = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq");
        let levels = [second, third, fourth && has!("avx512vl")];
        1 + levels.iter().take_while(|level| **level).count() as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    1
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Parses `os/arch[/variant]` as `--platform` takes it. Of a single word that is an architecture
    /// the system is Linux; of any other the architecture is this machine's.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::InvalidPlatform {
            platform: text.to_owned(),
            reason: "write os/architecture or os/architecture/variant, for example linux/arm64/v8".to_owned(),
        };
        let word = |word: &&str| {
            !word.is_empty()
                && word.len() <= 32
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(bad());
        }
        let host = Self::host();
        match parts[..] {
            [single] if ARCHITECTURES.contains(&architecture(single)) => Ok(Self::of("linux", single, None)),
            [os] => Ok(Self { os: os.to_owned(), ..host }),
            [os, architecture] => Ok(Self::of(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::of(os, architecture, Some(variant))),
            _ => Err(bad()),
        }
    }
}

/// What can be told from the name of a system.
const ARCHITECTURES: [&str; 9] =
    ["amd64", "arm64", "386", "arm", "ppc64le", "s390x", "riscv64", "loong64", "mips64le"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_people_write_them() {
        for (given, wanted) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/v5", "linux/arm/v5"),
            ("s390x", "linux/s390x"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(given.parse::<Platform>().unwrap().to_string(), wanted, "{given}");
        }
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
        for bad in ["", "/", "linux/", "linux//v8", "linux/arm/v7/x", "linux/../etc", "li nux/amd64", "l\n/a"]
        {
            let message = bad.parse::<Platform>().unwrap_err().to_string();
            assert!(message.contains("linux/arm64/v8"), "{bad}: {message}");
        }
    }

    #[test]
    fn variants_rank_as_podman_ranks_them() {
        let order = |wanted: &str, offered: &[&str]| -> Vec<String> {
            let wanted: Platform = wanted.parse().unwrap();
            let ranked = offered.iter().filter_map(|variant| {
                let rank = wanted.rank(Some(*variant).filter(|variant| !variant.is_empty()))?;
                Some((rank, (*variant).to_owned()))
            });
            let mut ranked: Vec<_> = ranked.collect();
            ranked.sort_by_key(|(rank, _)| *rank);
            ranked.into_iter().map(|(_, variant)| variant).collect()
        };
        let arm = ["v5", "v6", "", "v7", "v8", "odd"];
        assert_eq!(order("linux/arm/v7", &arm), ["v7", "v6", "v5", ""]);
        assert_eq!(order("linux/arm/v5", &arm), ["v5", ""]);
        assert_eq!(order("linux/arm", &arm), ["", "v8", "v7", "v6", "v5"]);
        assert_eq!(order("linux/arm/odd", &arm), ["odd", ""]);
        assert_eq!(order("linux/arm64/v8", &["", "v9", "v8"]), ["v8", ""]);
        assert_eq!(order("linux/amd64/v3", &["", "v1", "v2", "v3", "v4"]), ["v3", "v2", "v1", ""]);
        let plain = order("linux/amd64", &["v1", "v2", "v3", "v4", ""]);
        assert_eq!((plain[0].as_str(), plain[plain.len() - 1].as_str()), ("", "v1"));
        assert_eq!(plain.len() as u32, 1 + x86_64_level());
    }
}
