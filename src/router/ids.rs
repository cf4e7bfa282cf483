//! Numbers that the server gives out itself, and maps by them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A socket, as the network layer numbers it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A bound resource. Never reused while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(super) u64);

/// A map by one of these. Each stanza is looked up in several, and nobody outside can choose a number, so the hash need
/// not withstand anybody. Never for keys that a peer chooses.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Spreads one number over all bits, by multiplication.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio; the map looks at the lowest and the highest bits.
        let product = u128::from(self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = (product ^ (product >> 64)) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    #[test]
    fn numbers_in_a_row_and_places_in_high_bits_are_spread() {
        let hash = |id: u64| BuildHasherDefault::<IdHasher>::default().hash_one(ConnectionId(id));
        for step in [1, 1 << 24, (1 << 24) + 1, 1 << 40] {
            for (name, part) in [("lowest", 0), ("highest", 57)] {
                let seen: HashSet<u64> = (1..=1024).map(|n| hash((n * step) | 1 << 63) >> part & 0x7F).collect();
                assert!(seen.len() > 100, "the {name} bits of steps of {step} take {} values", seen.len());
            }
        }
    }
}
