//! The keys of `[Build]` in `.build` files.

use super::{Emit::*, Shape::*, table};

table! { "Build";
    IMAGE_TAG "ImageTag" 5.2 Lines, Flag("--tag"), Any,
        "The name of the built image; the first one is what other units refer to.";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-build\".";
    FILE "File" 5.2 Text, Own("--file"), Any,
        "The Containerfile: a path or a URL. A relative path needs SetWorkingDirectory=.";
    SET_WORKING_DIRECTORY "SetWorkingDirectory" 5.2 Text, Own("[Service] WorkingDirectory= and the context"), Any,
        "The build context: a path, a URL, file for the directory of File=, or unit for the unit file's directory.";
    PULL "Pull" 5.2 Text, Joined("--pull"), Any,
        "When base images are pulled: always, missing, never or newer.";
    ARCH "Arch" 5.2 Text, Flag("--arch"), Any,
        "The architecture of the image, if not this machine's.";
    VARIANT "Variant" 5.2 Text, Flag("--variant"), Any,
        "The variant of the architecture, such as v7.";
    TARGET "Target" 5.2 Text, Flag("--target"), Any,
        "The stage of the Containerfile to build.";
    IGNORE_FILE "IgnoreFile" 5.7 Text, Flag("--ignorefile"), Any,
        "A file that says what is left out of the context.";
    AUTH_FILE "AuthFile" 5.2 Text, Flag("--authfile"), Any,
        "The file with the registry's credentials, see containers-auth.json(5).";
    TLS_VERIFY "TLSVerify" 5.2 Boolean, Flag("--tls-verify"), Any,
        "Whether the registry must show a valid certificate. The default is yes.";
    FORCE_RM "ForceRM" 5.2 Boolean, Flag("--force-rm"), Any,
        "Whether intermediate containers are removed also after a failed build.";
    RETRY "Retry" 5.5 Text, Flag("--retry"), Integer,
        "How often a failed pull is tried again.";
    RETRY_DELAY "RetryDelay" 5.5 Text, Flag("--retry-delay"), Duration,
        "How long to wait before a failed pull is tried again.";
    DNS "DNS" 5.2 Lines, Flag("--dns"), Address,
        "A name server for the build containers.";
    DNS_OPTION "DNSOption" 5.2 Lines, Flag("--dns-option"), Any,
        "An option for resolv.conf in the build containers.";
    DNS_SEARCH "DNSSearch" 5.2 Lines, Flag("--dns-search"), Any,
        "A search domain for the build containers.";
    GROUP_ADD "GroupAdd" 5.2 Lines, Flag("--group-add"), Any,
        "A further group of the build's user, or keep-groups.";
    BUILD_ARG "BuildArg" 5.7 Pairs, Flag("--build-arg"), Any,
        "Values of the Containerfile's ARG instructions.";
    ENVIRONMENT "Environment" 5.2 Pairs, Flag("--env"), Any,
        "Environment variables of the image.";
    LABEL "Label" 5.2 Pairs, Flag("--label"), Any,
        "Labels of the image.";
    ANNOTATION "Annotation" 5.2 Pairs, Flag("--annotation"), Any,
        "OCI annotations of the image.";
    NETWORK "Network" 5.2 Lines, Own("--network"), Any,
        "The network of the build containers; may be a .network file.";
    SECRET "Secret" 5.2 Arguments, Flag("--secret"), Any,
        "A secret for RUN --mount=type=secret, such as id=key,src=/path.";
    VOLUME "Volume" 5.2 Lines, Own("--volume"), Any,
        "A directory or volume mounted during the build; may be a .volume file.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 5.2 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 5.2 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 5.2 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
