//! Which word counts what.

use crate::event::{Ending, Suppression};
use crate::outcome::FailureKind;
use crate::rejection::RejectionKind;

/// The number of a count. What calls that go well count comes first, so that it fills one cache
/// line of a thread, and what rejections count fits the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(super) usize);

/// The endings that have a word each. A failure has one for each kind.
pub(super) const ENDINGS: [Ending; 8] = [
    Ending::Admitted,
    Ending::Completed,
    Ending::Success,
    Ending::Ignored,
    Ending::Dropped,
    Ending::Rejected,
    Ending::Panicked,
    Ending::FellBack,
];

/// The labels of a circuit breaker's states, in their order.
pub(super) const STATES: [&str; 5] = ["closed", "open", "half_open", "forced_open", "recovering"];

impl Count {
    pub(crate) const ADMITTED: Self = Self(0);
    /// The first six of [`ENDINGS`].
    const ENDED: usize = 1;
    const FAILED: usize = Self::ENDED + 6;
    const FELL_BACK: usize = Self::FAILED + FailureKind::ALL.len();
    const PANICKED: usize = Self::FELL_BACK + 1;
    const REJECTED: usize = Self::PANICKED + 1;
    const WOULD_REJECT: usize = Self::REJECTED + RejectionKind::LABELS.len();
    const SUPPRESSED: usize = Self::WOULD_REJECT + RejectionKind::LABELS.len();
    const WOULD_SUPPRESS: usize = Self::SUPPRESSED + Suppression::ALL.len();
    const RETRIED: usize = Self::WOULD_SUPPRESS + Suppression::ALL.len();
    /// An extra attempt is made.
    pub(crate) const EXTRA: Self = Self(Self::RETRIED + FailureKind::ALL.len());
    /// The success of an extra attempt is returned.
    pub(crate) const WON: Self = Self(Self::EXTRA.0 + 1);
    /// Record-only mode would have made an extra attempt, or called the fallback.
    pub(crate) const WOULD_MAKE: Self = Self(Self::WON.0 + 1);
    /// A call starts to wait.
    pub(crate) const QUEUED: Self = Self(Self::WOULD_MAKE.0 + 1);
    const ENTERED: usize = Self::QUEUED.0 + 1;
    pub(super) const ALL: usize = Self::ENTERED + STATES.len();

    #[inline]
    pub(crate) const fn ended(ending: Ending) -> Self {
        Self(match ending {
            Ending::Admitted => Self::ENDED,
            Ending::Completed => Self::ENDED + 1,
            Ending::Success => Self::ENDED + 2,
            Ending::Ignored => Self::ENDED + 3,
            Ending::Dropped => Self::ENDED + 4,
            Ending::Rejected => Self::ENDED + 5,
            Ending::Panicked => Self::PANICKED,
            Ending::Failure(kind) => Self::FAILED + kind as usize,
            Ending::FellBack => Self::FELL_BACK,
        })
    }

    #[inline]
    pub(crate) const fn rejected(kind: &RejectionKind) -> Self {
        Self(Self::REJECTED + kind.index())
    }

    pub(super) const fn rejected_by_index(index: usize) -> Self {
        Self(Self::REJECTED + index)
    }

    pub(crate) const fn would_reject(kind: &RejectionKind) -> Self {
        Self(Self::WOULD_REJECT + kind.index())
    }

    pub(super) const fn would_reject_by_index(index: usize) -> Self {
        Self(Self::WOULD_REJECT + index)
    }

    pub(crate) const fn suppressed(reason: Suppression) -> Self {
        Self(Self::SUPPRESSED + reason as usize)
    }

    pub(crate) const fn would_suppress(reason: Suppression) -> Self {
        Self(Self::WOULD_SUPPRESS + reason as usize)
    }

    /// A circuit breaker enters the state at this index of [`STATES`].
    pub(crate) const fn entered(state: usize) -> Self {
        Self(Self::ENTERED + state)
    }

    /// An attempt has failed and another one follows.
    pub(crate) const fn retried(kind: FailureKind) -> Self {
        Self(Self::RETRIED + kind as usize)
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{Count, ENDINGS, STATES};
    use crate::event::{Ending, Suppression};
    use crate::outcome::FailureKind;
    use crate::per_thread::WORDS;

    #[test]
    fn ob1_each_count_has_a_word_of_its_own_and_usual_calls_count_in_one_cache_line() {
        let mut words: Vec<_> = ENDINGS.map(|ending| Count::ended(ending).0).to_vec();
        words.extend(FailureKind::ALL.map(|kind| Count::ended(Ending::Failure(kind)).0));
        assert!(words[..6].iter().all(|word| *word < WORDS));
        words.extend((0..12).map(|index| Count::rejected_by_index(index).0));
        assert!(
            words[words.len() - 12..]
                .iter()
                .all(|word| word / WORDS == 1)
        );
        words.extend((0..12).map(|index| Count::would_reject_by_index(index).0));
        words.extend(Suppression::ALL.map(|reason| Count::suppressed(reason).0));
        words.extend(Suppression::ALL.map(|reason| Count::would_suppress(reason).0));
        words.extend(FailureKind::ALL.map(|kind| Count::retried(kind).0));
        words.extend((0..STATES.len()).map(|state| Count::entered(state).0));
        let others = [
            Count::ADMITTED,
            Count::EXTRA,
            Count::WON,
            Count::WOULD_MAKE,
            Count::QUEUED,
        ];
        words.extend(others.map(|word| word.0));
        words.sort_unstable();
        assert_eq!(words, (0..Count::ALL).collect::<Vec<_>>());
    }
}
