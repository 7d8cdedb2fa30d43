//! The keys of `[Artifact]` in `.artifact` files.

use super::{Emit::*, Shape::*, table};

table! { "Artifact";
    ARTIFACT "Artifact" Text, Own("ARTIFACT"), Any,
        "The OCI artifact to pull, with its registry.";
    SERVICE_NAME "ServiceName" Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-artifact\".";
    AUTH_FILE "AuthFile" Text, Flag("--authfile"), Any,
        "The file with the registry's credentials, see containers-auth.json(5).";
    CERT_DIR "CertDir" Text, Flag("--cert-dir"), Any,
        "A directory with the certificates for the registry.";
    CREDS "Creds" Text, Flag("--creds"), Any,
        "USER[:PASSWORD] for the registry; AuthFile= keeps the password out of the unit.";
    DECRYPTION_KEY "DecryptionKey" Text, Flag("--decryption-key"), Any,
        "KEY[:PASSPHRASE] to decrypt the artifact with.";
    QUIET "Quiet" Boolean, Flag("--quiet"), Any,
        "Whether progress is left out of the log.";
    TLS_VERIFY "TLSVerify" Boolean, Flag("--tls-verify"), Any,
        "Whether the registry must show a valid certificate. The default is yes.";
    RETRY "Retry" Text, Flag("--retry"), Integer,
        "How often a failed pull is tried again.";
    RETRY_DELAY "RetryDelay" Text, Flag("--retry-delay"), Duration,
        "How long to wait before a failed pull is tried again.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
