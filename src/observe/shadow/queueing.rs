//! What a bulkhead would do with the calls that went through one that only records.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::bulkhead;

/// The time since the shadow began.
type At = Duration;

/// A call that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) from: At,
    pub(super) took: Duration,
}

/// A bulkhead with a queue in the order of arrival, played with the times of calls.
///
/// A counter of calls above the limit is not enough: a call that a bulkhead rejects takes no
/// permit from the next one, and one that waits ends later. Which waiter is next makes no
/// difference to how many are rejected, but for those at the end of a burst.
#[derive(Debug)]
pub(super) struct Queueing {
    limit: usize,
    queue: usize,
    max_wait: Duration,
    /// When the calls that hold a permit end.
    running: BinaryHeap<Reverse<At>>,
    waiting: VecDeque<Call>,
    /// When the calls really ended.
    in_flight: BinaryHeap<Reverse<At>>,
    peak: usize,
    now: At,
}

impl Queueing {
    pub(super) fn new(of: &bulkhead::Snapshot) -> Self {
        Self {
            limit: of.limit as usize,
            queue: of.queue.map_or(usize::MAX, |queue| queue as usize),
            max_wait: of.max_wait,
            running: BinaryHeap::new(),
            waiting: VecDeque::new(),
            in_flight: BinaryHeap::new(),
            peak: 0,
            now: At::ZERO,
        }
    }

    /// The most calls that were in flight at once.
    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    /// Plays a call, after those that began before it. Calls `rejected` with the time of each
    /// rejection.
    pub(super) fn play(&mut self, call: Call, rejected: &mut impl FnMut(At)) {
        let call = Call {
            from: call.from.max(self.now),
            ..call
        };
        self.now = call.from;
        while matches!(self.in_flight.peek(), Some(Reverse(end)) if *end <= self.now) {
            self.in_flight.pop();
        }
        self.in_flight.push(Reverse(call.from + call.took));
        self.peak = self.peak.max(self.in_flight.len());

        self.advance(call.from, rejected);
        if self.running.len() < self.limit {
            self.running.push(Reverse(call.from + call.took));
        } else if self.limit > 0 && self.waiting.len() < self.queue {
            self.waiting.push_back(call);
        } else {
            rejected(call.from);
        }
    }

    /// Ends all waits and calls that end until then.
    pub(super) fn advance(&mut self, until: At, rejected: &mut impl FnMut(At)) {
        while let Some(&Reverse(end)) = self.running.peek() {
            if end > until {
                break;
            }
            self.running.pop();
            self.expire(end, rejected);
            if let Some(next) = self.waiting.pop_front() {
                self.running.push(Reverse(end + next.took));
            }
        }
        self.expire(until, rejected);
    }

    fn expire(&mut self, now: At, rejected: &mut impl FnMut(At)) {
        while let Some(first) = self.waiting.front() {
            let end = first.from + self.max_wait;
            if end > now {
                break;
            }
            rejected(end);
            self.waiting.pop_front();
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::Duration;

    use super::{Call, Queueing};
    use crate::Bulkhead;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// When the calls are rejected, and the most that were in flight.
    fn played(bulkhead: &Bulkhead, calls: &[(u64, u64)]) -> (Vec<Duration>, usize) {
        let mut queueing = Queueing::new(&bulkhead.snapshot());
        let mut at = Vec::new();
        for &(from, took) in calls {
            let (from, took) = (ms(from), ms(took));
            queueing.play(Call { from, took }, &mut |when| at.push(when));
        }
        queueing.advance(Duration::MAX, &mut |when| at.push(when));
        (at, queueing.peak())
    }

    #[test]
    fn a_rejected_call_takes_no_permit_from_the_next_one() {
        let one = Bulkhead::new(1);
        let one = {
            one.change(|now| now.queue(0)).unwrap();
            one
        };
        let calls = [(0, 100), (50, 100), (100, 100), (150, 100)];
        assert_eq!(played(&one, &calls), (vec![ms(50), ms(150)], 2));
    }

    #[test]
    fn a_waiter_begins_when_a_permit_is_free_or_leaves_after_its_wait() {
        let builder = Bulkhead::builder(1).queue(1).max_wait(ms(80));
        let bulkhead = builder.build().unwrap();
        // The second begins at 100 and ends at 200, the third is one too many, the fourth waits
        // from 110 to 190.
        let calls = [(0, 100), (50, 100), (60, 100), (110, 100)];
        assert_eq!(played(&bulkhead, &calls).0, [ms(60), ms(190)]);
    }

    #[test]
    fn a_limit_of_zero_rejects_every_call() {
        let bulkhead = Bulkhead::builder(0).queue(5).build().unwrap();
        assert_eq!(played(&bulkhead, &[(1, 1), (2, 1)]).0, [ms(1), ms(2)]);
    }
}
