use super::count::{Count, ENDINGS, STATES};
use super::times::Times;
use crate::event::{Ending, Suppression};
use crate::macros::debug_fields;
use crate::outcome::FailureKind;
use crate::rejection::RejectionKind;

/// What a policy has done since it was built, as numbers that only grow.
///
/// Calls in mode [`Off`](crate::Mode::Off) are not counted. Each other call is counted once as
/// admitted or as rejected, and an admitted one once as ended: so `admitted + rejected` are all
/// calls, and once all calls have ended, as many have ended as were admitted. A call that leaves a queue
/// was admitted and dropped.
///
/// A policy of a [keyed](crate::keyed) one counts together with the policies of the other keys. A
/// member of a [joint](crate::RateLimiter::all_of) limiter counts a call that it lacks the tokens for as
/// rejected, and none where only other members lack them. A budget counts nothing here.
///
/// While calls run, the numbers are read one after the other and may differ by those calls.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    words: [u64; Count::ALL],
    times: Times,
}

debug_fields!(Totals, this: admitted = this.admitted(), rejected = this.rejected(),
    ended = this.ended(), in_flight = this.in_flight());

impl Default for Totals {
    fn default() -> Self {
        Self::new([0; Count::ALL], Times::default())
    }
}

impl Totals {
    pub(super) const fn new(words: [u64; Count::ALL], times: Times) -> Self {
        Self { words, times }
    }

    /// Those of a policy that does not count the times of its shortest calls.
    pub(crate) fn with_shortest(mut self) -> Self {
        self.times.fill(self.ended());
        self
    }

    fn of(&self, word: Count) -> u64 {
        self.words[word.0]
    }

    /// Calls that were made under the policy or rejected by it.
    pub fn calls(&self) -> u64 {
        self.admitted() + self.rejected()
    }

    /// Calls that were admitted.
    pub fn admitted(&self) -> u64 {
        // A limiter admits and ends a call at once, so it counts that once.
        self.of(Count::ADMITTED) + self.of(Count::ended(Ending::Admitted))
    }

    /// Calls that were rejected before they were made.
    pub fn rejected(&self) -> u64 {
        let all: u64 = self.rejections().map(|(_, count)| count).sum();
        all - self.cut_short()
    }

    /// Calls that were admitted, and cut short by a timeout.
    pub fn cut_short(&self) -> u64 {
        let kinds = [RejectionKind::TIMED_OUT, RejectionKind::REQUEST_TIMED_OUT];
        let counts = kinds.map(|index| self.of(Count::rejected_by_index(index)));
        counts.into_iter().sum()
    }

    /// Calls that were admitted and have ended, [cut short](Self::cut_short) or otherwise.
    pub fn ended(&self) -> u64 {
        let ended: u64 = self.endings().map(|(_, count)| count).sum();
        ended + self.cut_short()
    }

    /// Calls that were admitted and have not ended.
    pub fn in_flight(&self) -> u64 {
        self.admitted().saturating_sub(self.ended())
    }

    /// Calls that ended so.
    pub fn ended_as(&self, ending: Ending) -> u64 {
        self.of(Count::ended(ending))
    }

    /// Calls that were rejected or cut short for this reason. What else the kind contains, such as
    /// a limit, does not matter.
    pub fn rejected_as(&self, kind: &RejectionKind) -> u64 {
        self.of(Count::rejected(kind))
    }

    /// Calls that record-only mode would have rejected or cut short.
    pub fn would_reject(&self) -> u64 {
        self.would_be_rejections().map(|(_, count)| count).sum()
    }

    /// Calls that record-only mode would have rejected or cut short for this reason.
    pub fn would_reject_as(&self, kind: &RejectionKind) -> u64 {
        self.of(Count::would_reject(kind))
    }

    /// Attempts of a retry or hedge: the first ones, and those beyond.
    pub fn attempts(&self) -> u64 {
        self.admitted() + self.extra()
    }

    /// Attempts beyond the first ones.
    pub fn extra(&self) -> u64 {
        self.of(Count::EXTRA)
    }

    /// Attempts beyond the first ones whose success was returned.
    pub fn won(&self) -> u64 {
        self.of(Count::WON)
    }

    /// Attempts, or calls of a fallback, that record-only mode would have made.
    pub fn would_make(&self) -> u64 {
        self.of(Count::WOULD_MAKE)
    }

    /// Attempts that failed so and were followed by another one. The failures of last attempts are
    /// in [`ended_as`](Self::ended_as).
    pub fn retried_after(&self, kind: FailureKind) -> u64 {
        self.of(Count::retried(kind))
    }

    /// Attempts, or calls of a fallback, that were due and not made.
    pub fn suppressed(&self) -> u64 {
        self.suppressions().map(|(_, count)| count).sum()
    }

    /// Attempts, or calls of a fallback, that were due and not made for this reason.
    pub fn suppressed_by(&self, reason: Suppression) -> u64 {
        self.of(Count::suppressed(reason))
    }

    /// Attempts that would have been suppressed for this reason, by a budget in record-only mode.
    pub fn would_suppress(&self, reason: Suppression) -> u64 {
        self.of(Count::would_suppress(reason))
    }

    /// Calls that have waited in a queue.
    pub fn queued(&self) -> u64 {
        self.of(Count::QUEUED)
    }

    /// How long the calls of a timeout took, those that were cut short or dropped too; how long
    /// the calls of a limiter or a bulkhead waited that have [queued](Self::queued). Nothing for other policies.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Every reason to reject, by its [label](RejectionKind::label), with
    /// [`rejected_as`](Self::rejected_as). Also those that are zero.
    pub fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let labels = RejectionKind::LABELS.iter().enumerate();
        labels.map(|(index, label)| (*label, self.of(Count::rejected_by_index(index))))
    }

    /// Every reason to reject, by its label, with [`would_reject_as`](Self::would_reject_as). Also
    /// those that are zero.
    pub fn would_be_rejections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let labels = RejectionKind::LABELS.iter().enumerate();
        labels.map(|(index, label)| (*label, self.of(Count::would_reject_by_index(index))))
    }

    /// Every ending, by its [label](Ending::label), with [`ended_as`](Self::ended_as), and all
    /// failures together. Also those that are zero.
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let failed = self.failures().map(|(_, failed)| failed).sum();
        let endings = ENDINGS
            .iter()
            .map(|ending| (ending.label(), self.ended_as(*ending)));
        endings.chain(std::iter::once(("failure", failed)))
    }

    /// Every kind of failure, by its [label](FailureKind::label), with how many calls ended in it.
    /// Also those that are zero.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let kinds = FailureKind::ALL.into_iter();
        kinds.map(|kind| (kind.label(), self.ended_as(Ending::Failure(kind))))
    }

    /// Every kind of failure, by its label, with [`retried_after`](Self::retried_after). Also those
    /// that are zero.
    pub fn retries(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let kinds = FailureKind::ALL.into_iter();
        kinds.map(|kind| (kind.label(), self.retried_after(kind)))
    }

    /// Every state of a circuit breaker, by its [label](crate::circuit_breaker::State::label), with
    /// how many times a breaker has entered it. Also those that are zero.
    pub fn transitions(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let states = STATES.iter().enumerate();
        states.map(|(state, label)| (*label, self.of(Count::entered(state))))
    }

    /// Every reason to suppress, by its [label](Suppression::label), with
    /// [`suppressed_by`](Self::suppressed_by). Also those that are zero.
    pub fn suppressions(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let reasons = Suppression::ALL.into_iter();
        reasons.map(|reason| (reason.label(), self.suppressed_by(reason)))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Totals {
    /// Numbers, and maps of labels without the zeros.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::collections::BTreeMap;

        use serde::ser::SerializeStruct;

        fn some(all: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
            all.filter(|(_, count)| *count > 0).collect()
        }

        let mut totals = serializer.serialize_struct("Totals", 17)?;
        totals.serialize_field("calls", &self.calls())?;
        totals.serialize_field("admitted", &self.admitted())?;
        totals.serialize_field("rejected", &self.rejected())?;
        totals.serialize_field("cut_short", &self.cut_short())?;
        totals.serialize_field("ended", &self.ended())?;
        totals.serialize_field("in_flight", &self.in_flight())?;
        totals.serialize_field("rejections", &some(self.rejections()))?;
        totals.serialize_field("would_be_rejections", &some(self.would_be_rejections()))?;
        totals.serialize_field("endings", &some(self.endings()))?;
        totals.serialize_field("failures", &some(self.failures()))?;
        totals.serialize_field("retries", &some(self.retries()))?;
        totals.serialize_field("suppressions", &some(self.suppressions()))?;
        totals.serialize_field("transitions", &some(self.transitions()))?;
        totals.serialize_field("extra", &self.extra())?;
        totals.serialize_field("won", &self.won())?;
        totals.serialize_field("queued", &self.queued())?;
        totals.serialize_field("times", &self.times)?;
        totals.end()
    }
}
