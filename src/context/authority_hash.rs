//! The hash of an authority. The policies per authority of a client stack find theirs by one hash.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::sync::OnceLock;

/// What hashes the authorities of all stacks.
pub(crate) fn hasher() -> &'static RandomState {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    HASHER.get_or_init(RandomState::new)
}

/// A longer authority is hashed each time.
const LONGEST: usize = 64;

/// The authority that this thread has hashed last. A call looks up several policies by one
/// authority, and the next call often has the same.
struct Last {
    text: [u8; LONGEST],
    /// More than `LONGEST` before the first.
    len: usize,
    hash: u64,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last {
        text: [0; LONGEST],
        len: LONGEST + 1,
        hash: 0,
    }) };
}

pub(crate) fn hash(authority: &str) -> u64 {
    LAST.with_borrow_mut(|last| {
        if last.text.get(..last.len) != Some(authority.as_bytes()) {
            last.set(authority);
        }
        last.hash
    })
}

impl Last {
    #[cold]
    fn set(&mut self, authority: &str) {
        self.len = LONGEST + 1;
        self.hash = hasher().hash_one(authority);
        if let Some(text) = self.text.get_mut(..authority.len()) {
            text.copy_from_slice(authority.as_bytes());
            self.len = authority.len();
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::hash::BuildHasher;

    use super::{LONGEST, hash, hasher};

    #[test]
    fn ky6_an_authority_has_one_hash_also_after_another_one() {
        let texts = ["a", "b", "a", "", "ab", "ab", "b", &"x".repeat(LONGEST)];
        let longer = "x".repeat(LONGEST + 1);
        for text in texts.into_iter().chain([&*longer, &*longer, "a"]) {
            assert_eq!(hash(text), hasher().hash_one(text), "{text}");
        }
    }
}
