//! So many at once, and no waiting.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many at once, and no waiting.
#[derive(Debug)]
pub(super) struct Turns {
    taken: AtomicUsize,
    max: usize,
}

impl Turns {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Turn> {
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Turn(Arc::clone(self)))
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    pub(super) fn are_all_back(&self) -> bool {
        self.taken() == 0
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// So many at once, of which no place has more than half: one that takes all it can get leaves some to others. This machine is where proxies
/// and tunnels stand, and may have all.
#[derive(Debug)]
pub(super) struct SharedTurns {
    all: Arc<Turns>,
    of_each: Mutex<HashMap<IpAddr, Arc<Turns>>>,
}

impl SharedTurns {
    pub(super) fn new(max: usize) -> Self {
        Self { all: Turns::new(max), of_each: Mutex::default() }
    }

    /// Both are given back together.
    pub(super) fn take(&self, from: IpAddr) -> Option<(Turn, Option<Turn>)> {
        let of_place = if from.is_loopback() { None } else { Some(self.of(place(from)).take()?) };
        Some((self.all.take()?, of_place))
    }

    fn of(&self, place: IpAddr) -> Arc<Turns> {
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        of_each.retain(|_, turns| !turns.are_all_back());
        Arc::clone(of_each.entry(place).or_insert_with(|| Turns::new(self.all.max / 2)))
    }
}

/// Of IPv6 the network: whoever has an address there has all of them.
fn place(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(turns: &SharedTurns, from: &str, times: usize) -> Vec<(Turn, Option<Turn>)> {
        let from = from.parse().expect("an address");
        (0..times).map_while(|_| turns.take(from)).collect()
    }

    #[test]
    fn one_place_leaves_half_to_others_and_gets_back_what_it_gave_back() {
        let turns = SharedTurns::new(8);
        let held = taken(&turns, "10.0.0.1", 9);
        assert_eq!(held.len(), 4);
        assert_eq!(taken(&turns, "10.0.0.2", 9).len(), 4);
        drop(held);
        assert_eq!(taken(&turns, "::ffff:10.0.0.1", 9).len(), 4);
        assert!(turns.all.are_all_back());
    }

    #[test]
    fn addresses_of_one_network_are_one_place_and_this_machine_may_have_all() {
        let turns = SharedTurns::new(8);
        let held = [taken(&turns, "2001:db8::1", 3), taken(&turns, "2001:db8::2", 9)];
        assert_eq!(held.map(|held| held.len()), [3, 1]);
        assert_eq!(taken(&turns, "127.0.0.1", 9).len(), 8);
    }
}
