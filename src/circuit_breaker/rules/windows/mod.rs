use super::Rules;
use crate::circuit_breaker::window::Memory;
use crate::per_thread::ThreadSlot;
use crate::sync::{
    Arc, AtomicU64,
    Ordering::{Acquire, Release},
};
use crate::time::{Count, Tick, nanos};

/// The windows that a breaker was made with: what a success is counted in, at hand without the
/// rules, as long as no change of these has put others in their place.
#[derive(Debug)]
pub(in crate::circuit_breaker) struct Windows {
    /// Apart, because most have but one.
    first: Option<Arc<Memory>>,
    others: Box<[Arc<Memory>]>,
    /// In nanoseconds: the least threshold of their slow rules.
    slow_after: u64,
    /// Below this count of the clock's counter none of them has come to its next bucket, so that
    /// the time need not be worked out. Stored after the windows have moved on to the buckets
    /// that it is the end of, and released, so that who reads it finds them there (model:
    /// `a_success_is_never_counted_in_a_bucket_that_is_over`).
    fresh: AtomicU64,
}

impl Windows {
    pub(in crate::circuit_breaker) fn of(rules: &Rules) -> Self {
        Self {
            first: rules.windows().next().cloned(),
            others: rules.windows().skip(1).cloned().collect(),
            slow_after: rules.slow_after().map_or(u64::MAX, nanos),
            fresh: AtomicU64::new(0),
        }
    }

    /// Whether a call is slow by one of them.
    #[inline]
    pub(in crate::circuit_breaker) fn is_slow(&self, start: Tick, now: Tick) -> bool {
        now.0.saturating_sub(start.0) > self.slow_after
    }

    /// A success, for which the clock's counter is read by `read`, and that reading; as an error
    /// if the call was `slow` by it or takes the time to be counted.
    #[inline]
    pub(in crate::circuit_breaker) fn succeed(
        &self,
        generation: u32,
        slot: impl FnOnce() -> Option<ThreadSlot>,
        read: impl FnOnce() -> Count,
        slow: impl Fn(Count) -> bool,
    ) -> Result<Count, Count> {
        let count = read();
        if slow(count) || count.0 >= self.fresh.load(Acquire) {
            return Err(count);
        }
        let slot = slot();
        if let Some(first) = &self.first {
            first.succeed_in_front(generation, slot);
        }
        if !self.others.is_empty() {
            self.others_succeed(generation, slot);
        }
        Ok(count)
    }

    #[inline(never)]
    fn others_succeed(&self, generation: u32, slot: Option<ThreadSlot>) {
        for window in &self.others {
            window.succeed_in_front(generation, slot);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Memory>> {
        self.first.iter().chain(&self.others)
    }

    /// A success that was not slow. `before` gives a count that is surely before a time.
    #[cold]
    pub(in crate::circuit_breaker) fn succeed_at(
        &self,
        generation: u32,
        now: Tick,
        slot: Option<ThreadSlot>,
        before: fn(Tick) -> Count,
    ) {
        for window in self.all() {
            window.succeed(generation, now, slot);
        }
        let ends = self.all().map(|window| window.front_ends()).min();
        let fresh = before(ends.unwrap_or(Tick::NEVER));
        self.fresh.fetch_max(fresh.0, Release);
    }

    /// Whether these are all the windows that `rules` have.
    pub(in crate::circuit_breaker) fn are_those_of(&self, rules: &Rules) -> bool {
        let held = |window: &Arc<Memory>| self.all().any(|own| Arc::ptr_eq(own, window));
        rules.windows().count() == self.all().count() && rules.windows().all(held)
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
