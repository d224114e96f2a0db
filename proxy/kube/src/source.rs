//! Where connections come from, and how many from each place: a share that nobody can outgrow by calling again.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Open connections by source: an IPv4 address, or the /64 of an IPv6 address, since its holder has all of it to call
/// from. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place in the share of its source, until dropped.
#[derive(Debug)]
pub struct SourcePlace {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// Whether there is one from `address`.
    #[must_use]
    pub fn any_from(&self, address: IpAddr) -> bool {
        self.0.lock().contains_key(&source(address))
    }

    /// Counts one more from `address`; `None` where that would make more than `places_max`.
    #[must_use]
    pub fn enter(&self, address: IpAddr, places_max: usize) -> Option<SourcePlace> {
        let source = source(address);
        let mut taken = self.0.lock();
        let of_source = taken.get(&source).copied().unwrap_or(0);
        if of_source >= places_max {
            return None;
        }
        taken.insert(source, of_source + 1);
        Some(SourcePlace { sources: self.clone(), source })
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let mut taken = self.sources.0.lock();
        if let Some(of_source) = taken.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_ipv4_addresses_and_ipv6_networks() {
        for (address, counted_for) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(source(address.parse().unwrap()), counted_for.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn a_share_is_full_for_its_source_alone_and_frees_up() {
        let sources = Sources::default();
        let [one, other] = ["192.0.2.7", "192.0.2.8"].map(|address| address.parse().unwrap());
        let places = [sources.enter(one, 2), sources.enter(one, 2)].map(Option::unwrap);
        assert!(sources.enter(one, 2).is_none());
        let _of_other = sources.enter(other, 2).unwrap();
        assert!(sources.any_from(one));
        drop(places);
        assert!(!sources.any_from(one));
        assert_eq!(sources.0.lock().len(), 1, "what is free is forgotten");
        assert!(sources.enter(one, 1).is_some());
        assert!(sources.enter(one, 0).is_none());
    }
}
