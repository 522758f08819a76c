//! Text keys of any length.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::sync::OnceLock;

/// A host name with its port has at most 259 characters, and few API keys have more.
const LONGEST: usize = 260;

/// What is left of a longer one: enough for a tier by its first letters.
const START: usize = 64;

/// A caller's text as a key. A longer one than 260 bytes is its start and a hash of 128 bits, with a
/// seed that is random for each process: otherwise each key that is kept could take as much memory
/// as a head may have.
#[inline]
pub(crate) fn bounded(key: &str) -> Cow<'_, str> {
    match key.len() <= LONGEST {
        true => Cow::Borrowed(key),
        false => Cow::Owned(shortened(key)),
    }
}

#[cold]
fn shortened(key: &str) -> String {
    static SEEDS: OnceLock<[RandomState; 2]> = OnceLock::new();
    let seeds = SEEDS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    let [high, low] = seeds.each_ref().map(|seed| seed.hash_one(key));
    let end = (0..=START).rev().find(|&end| key.is_char_boundary(end));
    let start = &key[..end.unwrap_or(0)];
    format!("{start}..{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{LONGEST, bounded};

    #[test]
    fn ky3_a_long_key_is_kept_as_its_start_and_a_hash() {
        let short = "k".repeat(LONGEST);
        assert!(matches!(bounded(&short), Cow::Borrowed(key) if key == short));
        let long = |end: &str| format!("pro-{}{end}", "é".repeat(5_000));
        let key = bounded(&long("1")).into_owned();
        assert!(key.starts_with("pro-é") && key.len() <= LONGEST, "{key}");
        assert_eq!(key, bounded(&long("1")));
        assert_ne!(key, bounded(&long("2")));
    }
}
