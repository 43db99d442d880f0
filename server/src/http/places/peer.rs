//! Whom a connection counts as.

use std::net::{IpAddr, Ipv6Addr};

/// The network that an address belongs to: who has one address of it can use all. /24 of IPv4, /56 of IPv6, which
/// providers give to one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Peer(u128);

impl Peer {
    pub(super) fn of(address: IpAddr) -> Peer {
        // An IPv4 address is written as IPv6 does it, so that both forms are one peer.
        let (bits, length) = match address.to_canonical() {
            IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 96 + 24),
            IpAddr::V6(address) => (address.to_bits(), 56),
        };
        Peer(bits & !(u128::MAX >> length))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = Ipv6Addr::from_bits(self.0);
        match address.to_ipv4_mapped() {
            Some(address) => write!(f, "{address}/24"),
            None => write!(f, "{address}/56"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_peer() {
        let peer = |address: &str| Peer::of(address.parse().unwrap());
        assert_eq!(peer("192.0.2.1"), peer("192.0.2.254"));
        assert_eq!(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.3.1"));
        assert_eq!(peer("2001:db8:0:1ff::1"), peer("2001:db8:0:100::"));
        assert_ne!(peer("2001:db8:0:1ff::1"), peer("2001:db8:0:200::1"));
        assert_eq!(
            [peer("192.0.2.1"), peer("2001:db8:0:1ff::1")].map(|peer| peer.to_string()),
            ["192.0.2.0/24", "2001:db8:0:100::/56"]
        );
    }
}
