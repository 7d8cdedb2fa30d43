//! The keys of `[Artifact]` in `.artifact` files.

use super::{Emit::*, Shape::*, table};

table! { "Artifact";
    ARTIFACT "Artifact" 5.7 Text, Own("ARTIFACT"), Any,
        "The OCI artifact to pull, with its registry.";
    SERVICE_NAME "ServiceName" 5.7 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-artifact\".";
    AUTH_FILE "AuthFile" 5.7 Text, Flag("--authfile"), Any,
        "The file with the registry's credentials, see containers-auth.json(5).";
    CERT_DIR "CertDir" 5.7 Text, Flag("--cert-dir"), Any,
        "A directory with the certificates for the registry.";
    CREDS "Creds" 5.7 Text, Flag("--creds"), Any,
        "USER[:PASSWORD] for the registry; AuthFile= keeps the password out of the unit.";
    DECRYPTION_KEY "DecryptionKey" 5.7 Text, Flag("--decryption-key"), Any,
        "KEY[:PASSPHRASE] to decrypt the artifact with.";
    QUIET "Quiet" 5.7 Boolean, Flag("--quiet"), Any,
        "Whether progress is left out of the log.";
    TLS_VERIFY "TLSVerify" 5.7 Boolean, Flag("--tls-verify"), Any,
        "Whether the registry must show a valid certificate. The default is yes.";
    RETRY "Retry" 5.7 Text, Flag("--retry"), Integer,
        "How often a failed pull is tried again.";
    RETRY_DELAY "RetryDelay" 5.7 Text, Flag("--retry-delay"), Duration,
        "How long to wait before a failed pull is tried again.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 5.7 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 5.7 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 5.7 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
