//! The keys of `[Image]` in `.image` files.

use super::{Emit::*, Shape::*, table};

table! { "Image";
    IMAGE "Image" 4.8 Text, Own("IMAGE"), Any,
        "The image to pull, best with its registry, or a path with a transport such as oci-archive:.";
    IMAGE_TAG "ImageTag" 4.8 Text, Own("name of the image for other units"), Any,
        "The name that other units know the image by, when it isn't the one in Image=, as with an archive.";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-image\".";
    ALL_TAGS "AllTags" 4.8 Boolean, Flag("--all-tags"), Any,
        "Whether all tags of the repository are pulled.";
    ARCH "Arch" 4.8 Text, Flag("--arch"), Any,
        "The architecture of the image, if not this machine's.";
    OS "OS" 4.8 Text, Flag("--os"), Any,
        "The operating system of the image, if not this machine's.";
    VARIANT "Variant" 4.8 Text, Flag("--variant"), Any,
        "The variant of the architecture, such as v7.";
    POLICY "Policy" 5.6 Text, Flag("--policy"), OneOf(&["always", "missing", "never", "newer"]),
        "When the image is pulled: always, missing, never or newer.";
    AUTH_FILE "AuthFile" 4.8 Text, Flag("--authfile"), Any,
        "The file with the registry's credentials, see containers-auth.json(5).";
    CERT_DIR "CertDir" 4.8 Text, Flag("--cert-dir"), Any,
        "A directory with the certificates for the registry.";
    CREDS "Creds" 4.8 Text, Flag("--creds"), Any,
        "USER[:PASSWORD] for the registry; AuthFile= keeps the password out of the unit.";
    DECRYPTION_KEY "DecryptionKey" 4.8 Text, Flag("--decryption-key"), Any,
        "KEY[:PASSPHRASE] to decrypt the image with.";
    TLS_VERIFY "TLSVerify" 4.8 Boolean, Flag("--tls-verify"), Any,
        "Whether the registry must show a valid certificate. The default is yes.";
    RETRY "Retry" 5.5 Text, Flag("--retry"), Integer,
        "How often a failed pull is tried again.";
    RETRY_DELAY "RetryDelay" 5.5 Text, Flag("--retry-delay"), Duration,
        "How long to wait before a failed pull is tried again.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 4.8 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 4.8 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 4.8 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
