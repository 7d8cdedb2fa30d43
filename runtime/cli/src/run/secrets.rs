//! `--secret`: values that the unit's credentials carry (systemd.exec(5), `LoadCredential=`, `SetCredential=`). The
//! generator asks systemd for those that the file has no credential for; systemd passes over one that it doesn't find,
//! so that a missing secret is found missing here.
//!
//! A secret never stands in an argument, in the state or in the Spec on disk but for the one case that asks for it:
//! `type=env`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use oci_spec::runtime::{Mount, MountBuilder};

use super::environment::Environment;
use crate::blame::Blamed as _;

/// One `--secret`, parsed.
#[derive(Debug, PartialEq, Eq)]
struct Secret {
    name: String,
    /// Path below `/run/secrets` or absolute; for `type=env` the variable.
    target: String,
    is_environment: bool,
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Puts the secrets into the environment, or into files of `directory` that the returned mounts put in place.
///
/// # Errors
/// A malformed option, or a secret that the unit has no credential for.
pub(crate) fn place(
    texts: &[String],
    directory: &Path,
    on_host: &dyn Fn(u32, u32) -> (u32, u32),
    environment: &mut Environment,
) -> anyhow::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for text in texts {
        let secret = parse(text).blame("Secret", text)?;
        let value = read(&secret.name).blame("Secret", text)?;
        if secret.is_environment {
            let value = String::from_utf8(value).with_context(|| "the value is not UTF-8".to_string())?;
            environment.insert(secret.target, value.trim_end_matches('\n').to_owned());
            continue;
        }
        let path = directory.join(format!("secret-{}", mounts.len()));
        fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(secret.mode))?;
        let (uid, gid) = on_host(secret.uid, secret.gid);
        chown(&path, Some(uid), Some(gid))?;
        let destination = Path::new("/run/secrets").join(&secret.target);
        mounts.push(
            MountBuilder::default()
                .destination(destination)
                .typ("bind")
                .source(path)
                .options(["bind", "ro", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec())
                .build()?,
        );
    }
    Ok(mounts)
}

fn parse(text: &str) -> anyhow::Result<Secret> {
    let mut fields = text.split(',');
    let name = fields.next().unwrap_or("").to_owned();
    anyhow::ensure!(!name.is_empty() && !name.contains('/') && name != "..", "a secret has a plain name");
    let mut secret =
        Secret { target: name.clone(), name, is_environment: false, uid: 0, gid: 0, mode: 0o444 };
    for field in fields {
        let usage =
            || format!("\"{field}\" is not understood; write NAME,type=mount|env,target=…,uid=,gid=,mode=");
        let (key, value) = field.split_once('=').with_context(usage)?;
        match (key, value) {
            ("type", "mount") => secret.is_environment = false,
            ("type", "env") => secret.is_environment = true,
            ("target", _) => secret.target = value.to_owned(),
            ("uid", _) => secret.uid = value.parse().with_context(usage)?,
            ("gid", _) => secret.gid = value.parse().with_context(usage)?,
            ("mode", _) => secret.mode = u32::from_str_radix(value, 8).with_context(usage)?,
            _ => bail!(usage()),
        }
    }
    Ok(secret)
}

fn read(name: &str) -> anyhow::Result<Vec<u8>> {
    let missing = || {
        format!(
            "there is no secret \"{name}\": put its value into the file /etc/credstore/{name}, readable for root alone, or \
             name it in [Service], with LoadCredential={name}:/path/to/file, LoadCredentialEncrypted={name} or \
             SetCredential={name}:value. Podman's secrets are not read here; to move one: podman secret inspect \
             --showsecret --format '{{{{.SecretData}}}}' {name}"
        )
    };
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").with_context(missing)?;
    fs::read(PathBuf::from(directory).join(name)).with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_with_their_options() {
        let secret = parse("db,type=env,target=POSTGRES_PASSWORD").unwrap();
        assert_eq!((secret.is_environment, secret.target.as_str()), (true, "POSTGRES_PASSWORD"));
        assert_eq!(parse("db,mode=0400,uid=5").unwrap().mode, 0o400);
        for wrong in ["", "../x", "db,what", "db,type=file", "db,uid=root"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
