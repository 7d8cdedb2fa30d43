//! The keys of `[Quadlet]`, a section of every Quadlet file.

use super::{Emit::*, Shape::*, table};

table! { "Quadlet";
    DEFAULT_DEPENDENCIES "DefaultDependencies" 5.3 Boolean, Own("no dependency on network-online.target when false"), Any,
        "Whether the service waits for network-online.target, so that an image can be pulled at boot. The default is yes.";
}
