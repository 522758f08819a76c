//! What a limiter says to who does not wait, and tells of it.

use std::time::Duration;

use super::asked::Asked;
use super::{RateLimiter, Refusal, Shape, joint};
use crate::config::Mode;
use crate::event::{Ending, EventKind};
use crate::rate_limit::state::Early;
use crate::rate_limit::table::Place;
use crate::rejection::Rejection;
use crate::sync::Ordering;
use crate::time::{self, Tick};

impl RateLimiter {
    /// The decision of what most limiters are, one limit that is kept; none of another. Small,
    /// and apart from [`decide`](Self::decide), so that an answer is not passed through memory.
    #[inline]
    pub(super) fn decide_one(
        &self,
        clock: impl FnMut() -> Tick,
        cost: u32,
    ) -> Option<Result<(), Early>> {
        match (&self.0.shape, self.mode()) {
            (Shape::One(bucket), Mode::Enforce) => {
                let decided = bucket.ask(clock, cost);
                if decided.is_ok() {
                    self.admitted();
                }
                Some(decided)
            }
            _ => None,
        }
    }

    #[cold]
    pub(super) fn reject_early(&self, cost: u32, early: Early) -> Rejection {
        self.reject(&Refusal {
            by: self,
            cost,
            refused: early.into(),
        })
    }

    #[inline(never)]
    pub(super) fn allow_otherwise(&self, place: Option<Place>, cost: u32) -> bool {
        self.decide(time::now, place, cost)
            .map_err(|refusal| {
                if self.0.listeners.any() {
                    self.emit(EventKind::Rejected(&refusal.rejection()));
                }
            })
            .is_ok()
    }

    #[inline(never)]
    pub(super) fn acquire_otherwise(
        &self,
        clock: impl FnOnce() -> Tick,
        place: Option<Place>,
        cost: u32,
    ) -> Result<(), Rejection> {
        let decided = self.decide(clock, place, cost);
        decided.map_err(|refusal| self.reject(&refusal))
    }

    pub(super) fn decide(
        &self,
        clock: impl FnOnce() -> Tick,
        place: Option<Place>,
        cost: u32,
    ) -> Result<(), Refusal<'_>> {
        let mode = self.mode();
        if mode == Mode::Off {
            return Ok(());
        }
        let now = clock();
        let decided = match self.asked(place) {
            Asked::Joint(members) => {
                let mut charges = joint::NONE;
                joint::take(members, place, now, cost, now, &mut charges).map(drop)
            }
            asked => asked.admit(now, cost).map_err(|refused| Refusal {
                by: self,
                cost,
                refused,
            }),
        };
        if let Err(refusal) = decided {
            if mode != Mode::RecordOnly {
                return Err(refusal);
            }
            self.record(&refusal);
        }
        self.admitted();
        Ok(())
    }

    #[inline]
    pub(super) fn admitted(&self) {
        if self.0.listeners.any() {
            self.emit_admitted();
        }
    }

    #[cold]
    pub(super) fn emit_admitted(&self) {
        self.emit(EventKind::Ended {
            ending: Ending::Admitted,
            elapsed: Duration::ZERO,
        });
    }

    /// Refuses or records, as `mode` wants it, and tells of it.
    #[cold]
    pub(super) fn refuse(&self, mode: Mode, refusal: &Refusal<'_>) -> Result<(), Rejection> {
        if mode == Mode::RecordOnly {
            self.record(refusal);
            return Ok(());
        }
        Err(self.reject(refusal))
    }

    #[cold]
    pub(super) fn reject(&self, refusal: &Refusal<'_>) -> Rejection {
        let rejection = refusal.rejection();
        self.emit(EventKind::Rejected(&rejection));
        rejection
    }

    #[cold]
    pub(super) fn record(&self, refusal: &Refusal<'_>) {
        self.0.would_reject.fetch_add(1, Ordering::Relaxed);
        if self.0.listeners.any() {
            self.emit(EventKind::WouldReject(&refusal.rejection()));
        }
    }

    /// Tells of a refusal that was made without asking for a token, and whether it is one in this
    /// mode.
    #[cold]
    pub(crate) fn refuses(&self, rejection: &Rejection) -> bool {
        let mode = self.mode();
        match mode {
            Mode::Enforce => self.emit(EventKind::Rejected(rejection)),
            Mode::RecordOnly => {
                self.0.would_reject.fetch_add(1, Ordering::Relaxed);
                self.emit(EventKind::WouldReject(rejection));
            }
            Mode::Off => {}
        }
        mode == Mode::Enforce
    }

    /// Tells the listeners; for a refusal that was found by [`peek`](Self::peek) and then made.
    pub(crate) fn emit(&self, kind: EventKind<'_>) {
        self.0.listeners.emit(&self.0.name, kind);
    }
}
