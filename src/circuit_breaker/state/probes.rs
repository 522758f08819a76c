//! What the counts of probes decide.

use super::word::Word;
use crate::circuit_breaker::config::Config;

pub(super) fn is_won(word: Word, config: &Config) -> bool {
    word.succeeded() >= config.close_after()
}

/// The probes that have not failed are too few to close.
pub(super) fn is_lost(word: Word, config: &Config) -> bool {
    word.failed() + config.close_after() > config.probes
}

pub(super) fn is_undecided(word: Word, config: &Config) -> bool {
    !is_won(word, config) && !is_lost(word, config)
}

/// Whether one more probe fits. With the results of all probes the state has ended, so no more are
/// admitted than can still say something.
pub(super) fn has_room(word: Word, config: &Config) -> bool {
    word.in_flight() + word.succeeded() + word.failed() < config.probes
}
