//! Who a container is to a DHCP server: the same from start to start, so that it gets
//! the same address again, and another on each host.

use sha2::{Digest, Sha256};

use crate::config::Network;
use crate::definition::hexadecimal;
use crate::lease::Holder;

/// A client identifier of RFC 4361 begins so, and goes on with four bytes for the interface and a DUID.
const NODE_SPECIFIC: u8 = 255;
/// A DUID made of a UUID (RFC 6355).
const DUID_UUID: u16 = 4;
const UUID: usize = 16;

/// The longest name, and the longest part between dots, of a host (RFC 1123).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The client identifier of one interface of a container, in hexadecimal digits.
///
/// It is made of names, because a container's id is another at each start.
pub(crate) fn client_id(holder: &Holder, network: &Network, interface: &str) -> String {
    // machine-id(5): not to be told to others as it is. Without one, hosts differ by their names at least.
    let machine = std::fs::read_to_string("/etc/machine-id")
        .unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let duid = Sha256::digest(format!("sampan dhcp {} {} {}", machine.trim(), network.name, holder.name));
    let interface = Sha256::digest(interface);
    let mut id = vec![NODE_SPECIFIC];
    id.extend(&interface[..4]);
    id.extend(DUID_UUID.to_be_bytes());
    id.extend(&duid[..UUID]);
    hexadecimal(&id)
}

/// The bytes of a client identifier.
pub(super) fn bytes(id: &str) -> Vec<u8> {
    let (pairs, _) = id.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().filter_map(byte).collect()
}

/// The name to tell the server, if it can be that of a host: the host name that the user has chosen, else the
/// container's own name.
pub(crate) fn hostname(holder: &Holder, chosen: Option<&str>) -> Option<String> {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let name = chosen.filter(|name| !name.is_empty()).unwrap_or(&holder.name);
    (name.len() <= LONGEST_NAME && name.split('.').all(is_label)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::definition::define;
    use crate::pool::{Defaults, Neighbours};

    fn holder(name: &str) -> Holder {
        Holder { id: name.repeat(12), name: name.to_owned() }
    }

    #[test]
    fn identifiers_are_those_of_names() {
        let config = Config { name: "lan".to_owned(), ..Config::default() };
        let network = define(
            &config,
            &Neighbours { networks: &[], routes: &[], foreign: &[], defaults: &Defaults::default() },
            |_| Ok(false),
        )
        .unwrap();
        let id = client_id(&holder("web"), &network, "eth0");
        let again = Holder { id: "another".to_owned(), ..holder("web") };
        assert_eq!(id, client_id(&again, &network, "eth0"));
        assert_ne!(id, client_id(&holder("db"), &network, "eth0"));
        assert_ne!(id, client_id(&holder("web"), &network, "eth1"));
        let bytes = bytes(&id);
        assert_eq!((bytes[0], bytes.len()), (NODE_SPECIFIC, 1 + 4 + 2 + UUID));
        assert_eq!(hexadecimal(&bytes), id);
    }

    #[test]
    fn only_names_of_hosts_are_told() {
        assert_eq!(hostname(&holder("web"), None).as_deref(), Some("web"));
        assert_eq!(hostname(&holder("web"), Some("www.example.com")).as_deref(), Some("www.example.com"));
        for wrong in ["a_b", "-a", "a..b", &"a".repeat(64), "a b"] {
            assert_eq!(hostname(&holder("web"), Some(wrong)), None, "{wrong}");
        }
    }
}
