//! How much a key has used its entry.

use crate::rate_limit::state::config::Config;
use crate::time::Tick;

/// How much a key has used its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Charged once.
    New,
    /// Charged again.
    Again,
    /// Charged again after the refill time of a whole burst. The entry of a made-up key does not
    /// last as long, however often the key is sent.
    Established,
}

/// What the standing of an entry's owner is derived from. Guarded by the set's lock.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// Where the debt ended with the first charge. Carried over with the entry's word.
    first: u64,
    /// The standing before that.
    least: Standing,
}

impl Origin {
    pub(super) const NONE: Self = Self::new(0, Standing::New);

    pub(super) const fn new(first: u64, least: Standing) -> Self {
        Self { first, least }
    }

    /// The standing of an owner whose debt ends at `end`.
    pub(super) fn standing(self, end: u64, config: &Config) -> Standing {
        let shown = match end.saturating_sub(self.first) {
            0 => Standing::New,
            moved if moved <= config.tolerance => Standing::Again,
            _ => Standing::Established,
        };
        self.least.max(shown)
    }

    /// The same standing in another configuration.
    pub(super) fn carried(self, from: &Config, to: &Config, end: u64, now: Tick) -> Self {
        Self::new(from.carried(to, self.first, now), self.standing(end, from))
    }
}
