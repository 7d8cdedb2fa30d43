//! The keys of `[Volume]` in `.volume` files.

use super::{Emit::*, Shape::*, table};

table! { "Volume";
    VOLUME_NAME "VolumeName" 4.7 Text, Own("NAME"), Any,
        "The volume's name. The default is \"systemd-\" and the file's name without its extension.";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-volume\".";
    UID "UID" 6.0 TextOrEmpty, Flag("--uid"), Any,
        "The user id that owns the volume's directory.";
    GID "GID" 6.0 TextOrEmpty, Flag("--gid"), Any,
        "The group id that owns the volume's directory.";
    DRIVER "Driver" 4.8 TextOrEmpty, Flag("--driver"), Any,
        "The volume driver: local (the default), or image together with Image=.";
    IMAGE "Image" 4.8 Text, Own("--opt image="), Any,
        "With Driver=image, the image that the volume shows; may be a .image or .build file.";
    COPY "Copy" 4.4 Boolean, Own("--opt copy"), Any,
        "Whether the image's content of the mount point is copied into the new volume. The default is yes.";
    DEVICE "Device" 4.4 Text, Own("--opt device="), Any,
        "What is mounted as the volume: a device or a directory.";
    TYPE "Type" 4.4 Text, Own("--opt type="), Any,
        "The file system type of Device=, or bind.";
    USER "User" 4.4 Number, Own("--opt o=uid="), Any,
        "The user id that the volume is mounted for.";
    GROUP "Group" 4.4 Number, Own("--opt o=gid="), Any,
        "The group id that the volume is mounted for.";
    OPTIONS "Options" 4.4 Text, Own("--opt o="), Any,
        "Mount options of Device=, separated by commas, as for mount(8).";
    LABEL "Label" 4.4 Pairs, Flag("--label"), Any,
        "Labels of the volume.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 4.8 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 4.8 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 4.6 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
