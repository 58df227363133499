use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// How many connections there are of each peer. Whoever has none takes no room.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<Peer, usize>);

/// Whose connections are counted together: an IPv4 address, or an IPv6 network of 64 bits, of which anybody has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

impl Peers {
    /// Counts one in, unless there are `limit` already; 0: no limit, and nothing is counted.
    pub(super) fn enter(&mut self, peer: Peer, limit: usize) -> bool {
        if limit == 0 {
            return true;
        }
        let count = self.0.entry(peer).or_default();
        let has_room = *count < limit;
        *count += usize::from(has_room);
        has_room
    }

    /// Counts one out.
    pub(super) fn leave(&mut self, peer: Peer) {
        if let Some(count) = self.0.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn each_peer_has_its_own_room() {
        let mut peers = Peers::default();
        let (a, b) = (peer("10.0.0.1"), peer("10.0.0.2"));
        assert!(peers.enter(a, 2) && peers.enter(a, 2) && !peers.enter(a, 2));
        assert!(peers.enter(b, 2));
        peers.leave(a);
        assert!(peers.enter(a, 2) && !peers.enter(a, 2));
        for peer in [a, a, b, b] {
            peers.leave(peer);
        }
        assert!(peers.0.is_empty(), "{peers:?}");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut peers = Peers::default();
        assert!((0..100).all(|_| peers.enter(peer("10.0.0.1"), 0)));
        assert!(peers.0.is_empty());
    }

    #[test]
    fn a_network_is_one_peer_and_an_address_in_either_form() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
    }
}
