//! Platforms as an OCI index names them.

use std::fmt;
use std::str::FromStr;

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

    /// How well an offered variant fits: 0 is best, `None` is not at all.
    pub(crate) fn rank(&self, offered: Option<&str>) -> Option<u32> {
        let number = |variant: &str| variant.strip_prefix('v').and_then(|v| v.parse::<u32>().ok());
        match (self.variant.as_deref(), offered) {
            (wanted, offered) if wanted == offered => Some(0),
            (_, None) => Some(1),
            // No variant wanted: the lowest runs everywhere.
            (None, Some(offered)) => Some(2 + number(offered).unwrap_or(100)),
            (Some(wanted), Some(offered)) => {
                let (wanted, offered) = (number(wanted)?, number(offered)?);
                (offered < wanted).then(|| 2 + (wanted - offered))
            }
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Parses `os/arch[/variant]` as `--platform` takes it; uname(1)'s architecture names are
    /// understood too.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/');
        let (Some(os), Some(architecture), variant, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::reference(text, "a platform is written os/architecture[/variant]"));
        };
        let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if ![Some(os), Some(architecture), variant].into_iter().flatten().all(word) {
            return Err(Error::reference(text, "a platform is written os/architecture[/variant]"));
        }
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "i386" | "i686" => "386",
            other => other,
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }
}
