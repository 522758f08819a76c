//! The one way to a token: an [`Ask`] from every entry point, which [`RateLimiter::decide`] decides
//! now.

#[cfg(feature = "tower")]
use std::cmp::Reverse;
use std::time::Duration;

use super::denied::Denied;
use super::joint;
use super::limit::{Ask, Asker, Charges};
#[cfg(feature = "tower")]
use super::permit::OpenCharge;
use super::policy::{Limit, RateLimiter};
use super::state::Shortfall;
use super::table::{KeyHandle, Table};
use crate::config::Mode;
use crate::context::CallContext;
use crate::event::Ending;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Tick};

/// A clock whose first reading is `first`. Each later one is fresh, because a lease is charged to
/// the instant at which it is fetched (RL1).
#[inline]
pub(super) fn fresh_after(first: impl FnOnce() -> Tick) -> impl FnMut() -> Tick {
    let mut first = Some(first);
    move || first.take().map_or_else(time::now, |first| first())
}

impl RateLimiter {
    /// Takes a token if one is available.
    #[must_use = "a call that is not admitted must not be made"]
    #[inline]
    pub fn allow(&self) -> bool {
        self.allow_n(1)
    }

    /// Takes `cost` tokens if they are available; 0 is free.
    #[must_use = "a call that is not admitted must not be made"]
    #[inline]
    pub fn allow_n(&self, cost: u32) -> bool {
        self.allows(Ask::now(cost), time::now)
    }

    /// Takes a token if one is available.
    ///
    /// # Errors
    /// [`RejectionKind::RateLimited`], with the time until a token is available if no other call
    /// comes first; without a time if the limiter is stopped. While calls wait for tokens, it is
    /// the time until all of them have their tokens.
    #[inline]
    pub fn try_acquire(&self) -> Result<(), Rejection> {
        self.try_acquire_n(1)
    }

    /// Takes `cost` tokens if they are available; 0 is free.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire), and [`RejectionKind::CostAboveBurst`] if the
    /// bucket never holds that many.
    #[inline]
    pub fn try_acquire_n(&self, cost: u32) -> Result<(), Rejection> {
        self.admit(Ask::now(cost), time::now)
    }

    /// What [`try_acquire`](Self::try_acquire) would return now. Takes nothing and emits nothing.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire).
    pub fn peek(&self) -> Result<(), Rejection> {
        self.peek_n(1)
    }

    /// What [`try_acquire_n`](Self::try_acquire_n) would return now. Takes nothing and emits
    /// nothing.
    ///
    /// # Errors
    /// Those of [`try_acquire_n`](Self::try_acquire_n).
    pub fn peek_n(&self, cost: u32) -> Result<(), Rejection> {
        match self.mode() {
            Mode::Enforce => self.would_take(&Ask::now(cost).at(time::now())),
            _ => Ok(()),
        }
    }

    /// What waiting for at most `max_wait` would be rejected with now. Takes nothing and emits
    /// nothing.
    #[cfg(feature = "tower")]
    pub(super) fn peek_wait(&self, cost: u32, max_wait: Option<Duration>) -> Result<(), Rejection> {
        if self.mode() != Mode::Enforce {
            return Ok(());
        }
        let now = time::now();
        self.check_deadline(now)?;
        let max_wait = max_wait.unwrap_or_else(|| self.max_wait());
        self.would_take(&Ask {
            latest: now.after(max_wait).min(CallContext::deadline()),
            ..Ask::now(cost).at(now)
        })
    }

    fn would_take(&self, ask: &Ask) -> Result<(), Rejection> {
        let due = self.due(ask, None).and_then(|due| due.in_time(ask));
        due.map(drop).map_err(|denied| denied.rejection())
    }

    /// Takes the tokens now or rejects, and emits the event.
    #[inline]
    pub(crate) fn admit(&self, ask: Ask, clock: impl FnMut() -> Tick) -> Result<(), Rejection> {
        self.decide(ask, clock, |denied| self.reject(&denied))
    }

    /// Emits the rejection that it makes of a denial.
    #[cold]
    #[inline(never)]
    pub(super) fn reject(&self, denied: &Denied<'_>) -> Rejection {
        let kind = denied.kind();
        self.common().reject(&kind, || denied.rejection())
    }

    /// Takes the tokens now or rejects, and notes what is left for the layer above.
    #[cfg(feature = "tower")]
    #[cold]
    pub(super) fn admit_and_note(&self, ask: Ask) -> Result<(), Rejection> {
        let charged = self.charged(ask.cost, ask.key, false);
        self.note(ask.key, charged.as_ref().ok().map(OpenCharge::charges));
        // Dropped, it charges what was taken.
        charged.map(drop)
    }

    /// Notes what is left after these charges, or now: of the member with the fewest tokens, for a
    /// joint limiter. Nothing if the limiter rejects nothing.
    #[cfg(feature = "tower")]
    pub(super) fn note(&self, key: Option<KeyHandle>, charges: Option<&Charges>) {
        if self.mode() != Mode::Enforce {
            return;
        }
        let (now, key) = (time::now(), self.key.or(key));
        let members = self.members().iter().enumerate();
        let members = members.filter(|(_, member)| member.mode() == Mode::Enforce);
        let left = members.filter_map(|(index, member)| {
            let charge = match charges {
                Some(Charges::One(charge)) => Some(charge),
                Some(Charges::Joint(_, charges)) => charges[index].as_ref(),
                Some(Charges::None) | None => None,
            };
            member.tokens(key).remainder(now, charge)
        });
        // With as many left, the one whose next token comes later.
        if let Some(fewest) = left.min_by_key(|remainder| (remainder.left, Reverse(remainder.next)))
        {
            fewest.note();
        }
    }

    /// The same, without making a rejection that nothing observes.
    #[inline]
    pub(super) fn allows(&self, ask: Ask, clock: impl FnMut() -> Tick) -> bool {
        let reject = |denied: Denied<'_>| {
            let rejection = move || denied.rejection();
            self.common().count_rejected(&denied.kind(), rejection);
        };
        self.decide(ask, clock, reject).is_ok()
    }

    /// Takes the tokens now or makes an error of the denial, and emits an admission. `clock` is
    /// read again where a lease is fetched: what was read before may be long ago.
    ///
    /// It returns no denial, and it is inlined always, because a denial that is copied waits until
    /// it was written: that takes longer than the decision.
    #[inline(always)]
    pub(super) fn decide<E>(
        &self,
        ask: Ask,
        clock: impl FnMut() -> Tick,
        deny: impl FnOnce(Denied<'_>) -> E,
    ) -> Result<(), E> {
        let waits = self.shared.queues.any();
        let decided = match (&self.shared.limit, self.mode(), ask.by) {
            (Limit::One(bucket), Mode::Enforce, by)
                if !(waits || by == Asker::Comer && bucket.is_fast()) =>
            {
                bucket.admit_now(clock, ask.cost)
            }
            (Limit::Keyed(table), Mode::Enforce, Asker::Caller) if !waits => {
                self.admit_key(table, clock, self.key_of(ask.key), ask.cost)
            }
            _ => return self.decide_otherwise(ask, clock).map_err(deny),
        };
        match decided {
            Ok(()) => {
                self.emit_own(Ending::Admitted, Duration::ZERO);
                Ok(())
            }
            Err(shortfall) => Err(deny(self.denied(ask.cost, shortfall))),
        }
    }

    /// Takes the tokens of a key now.
    #[inline(never)]
    fn admit_key(
        &self,
        table: &Table,
        clock: impl FnMut() -> Tick,
        key: KeyHandle,
        cost: u32,
    ) -> Result<(), Shortfall> {
        let evicted = table.admit_now(clock, key, cost)?;
        self.emit_eviction(evicted);
        Ok(())
    }

    /// The same for joint limiters, in the other modes, and while calls wait.
    #[inline(never)]
    fn decide_otherwise(
        &self,
        ask: Ask,
        mut clock: impl FnMut() -> Tick,
    ) -> Result<(), Denied<'_>> {
        let mode = self.mode();
        if mode == Mode::Off {
            return Ok(());
        }
        let ask = Ask {
            quiet: ask.quiet || mode != Mode::Enforce,
            ..ask.at(clock())
        };
        match self.take(&ask) {
            Ok(_) => {}
            Err(denied) if mode == Mode::Enforce => return Err(denied),
            Err(denied) => self.common().record_rejection(|| denied.rejection()),
        }
        self.emit_ended(Ending::Admitted, Duration::ZERO);
        Ok(())
    }

    /// Takes the tokens for the earliest instant of use, or nothing. Emits nothing for this limiter,
    /// and the events of the members of a joint one.
    #[inline]
    pub(super) fn take(&self, ask: &Ask) -> Result<Charges, Denied<'_>> {
        if let Limit::Joint(members) = &self.shared.limit {
            return joint::take(members, &ask.of(self.key.or(ask.key)));
        }
        let charged = self.charge(ask).map(Charges::One);
        charged.map_err(|shortfall| self.denied(ask.cost, shortfall))
    }

    /// What a decision comes to in this mode: a denial is a rejection if it enforces, and else it is
    /// recorded.
    pub(super) fn enforced<T>(
        &self,
        mode: Mode,
        decided: Result<T, Denied<'_>>,
    ) -> Result<Option<T>, Rejection> {
        match decided {
            Ok(taken) => return Ok(Some(taken)),
            Err(denied) if mode == Mode::Enforce => {
                return Err(self.reject(&denied));
            }
            Err(denied) => self.common().record_rejection(|| denied.rejection()),
        }
        Ok(None)
    }

    pub(super) fn denied(&self, cost: u32, shortfall: Shortfall) -> Denied<'_> {
        Denied {
            by: self,
            cost,
            shortfall,
        }
    }

    /// # Errors
    /// [`RejectionKind::Expired`] if the deadline in force has passed.
    pub(super) fn check_deadline(&self, now: Tick) -> Result<(), Rejection> {
        if CallContext::deadline() > now {
            return Ok(());
        }
        Err(self.expired())
    }

    pub(super) fn expired(&self) -> Rejection {
        Rejection::new(RejectionKind::Expired, self.name().clone())
    }

    #[inline]
    fn emit_own(&self, ending: Ending, elapsed: Duration) {
        if ending != Ending::Admitted {
            // An admission at once is counted once, as its end.
            self.common().admitted();
        }
        self.common().ended(ending, || elapsed);
    }

    /// Emits the terminal event of an admission, for the members of a joint limiter too.
    pub(super) fn emit_ended(&self, ending: Ending, elapsed: Duration) {
        self.emit_own(ending, elapsed);
        if let Limit::Joint(members) = &self.shared.limit {
            let counting = |member: &&Self| member.mode() != Mode::Off;
            let counting = members.iter().filter(counting);
            counting.for_each(|member| member.emit_own(ending, elapsed));
        }
    }

    /// Emits a rejection that was made without taking a token, and returns whether the mode
    /// rejects.
    #[cold]
    pub(crate) fn rejects(&self, rejection: &Rejection) -> bool {
        match self.mode() {
            Mode::Enforce => {
                self.common().emit_rejected(rejection);
                return true;
            }
            Mode::RecordOnly => self.common().record_rejection(|| rejection.clone()),
            Mode::Off => {}
        }
        false
    }
}
