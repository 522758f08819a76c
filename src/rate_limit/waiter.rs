//! A call that waits for its tokens.

use std::task::Waker;
use std::time::Duration;

use super::ask::fresh_after;
use super::denied::Denied;
use super::joint::Standing;
use super::limit::{Ask, Asker, Charges};
use super::permit::Granted;
use super::policy::RateLimiter;
use super::queue::{Turn, WaiterId};
use super::state::Shortfall;
use crate::config::Mode;
use crate::context::CallContext;
use crate::counters::Count;
use crate::event::Ending;
use crate::rejection::Rejection;
#[cfg(doc)]
use crate::rejection::RejectionKind;
use crate::time::{self, Tick};
use crate::waiting::{Progress, block_on};

/// A call in the queue of a limiter, or of the member of a joint one that is the last to have its
/// tokens. Dropping it leaves the queue.
#[derive(Debug)]
#[allow(unreachable_pub)] // Named by the future of a layer that waits.
pub struct Waiter {
    limiter: RateLimiter,
    cost: u32,
    since: Tick,
    /// When the longest wait ends.
    until: Tick,
    deadline: Tick,
    /// Before it, tokens that look as if they were due are not.
    not_before: Tick,
    /// The member in whose queue it is. None once the wait has ended.
    position: Option<(usize, WaiterId)>,
    /// Whether what is left at the end of the wait is noted for the layer above.
    #[cfg(feature = "tower")]
    noted: bool,
}

const ENDED: &str = "polled after it was ready";

impl RateLimiter {
    /// Takes a token, or blocks this thread until it has one, for at most
    /// [`max_wait`](super::Builder::max_wait) and until the [deadline](crate::Deadline) in force.
    /// For code that is not async; needs no runtime. The call waits in the same queue as those of
    /// `acquire`.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire), at once if the wait would be longer than that,
    /// or as soon as a change of the limit makes it longer; [`RejectionKind::Expired`] if the
    /// deadline has passed.
    pub fn acquire_blocking(&self) -> Result<(), Rejection> {
        self.acquire_blocking_n(1)
    }

    /// Takes `cost` tokens, like [`acquire_blocking`](Self::acquire_blocking).
    ///
    /// # Errors
    /// Those of [`acquire_blocking`](Self::acquire_blocking), and
    /// [`RejectionKind::CostAboveBurst`] if the bucket never holds that many.
    pub fn acquire_blocking_n(&self, cost: u32) -> Result<(), Rejection> {
        let entered = self.enter(time::now(), Ask::now(cost), None)?;
        entered.or_else(|waiter| block_on(waiter).map(Granted::commit))
    }

    /// Takes the tokens, or queues the call. `max_wait` replaces the
    /// longest wait of the configuration.
    #[inline]
    pub(super) fn enter(
        &self,
        now: Tick,
        ask: Ask,
        max_wait: Option<Duration>,
    ) -> Result<Result<(), Waiter>, Rejection> {
        // In record-only mode the waiter decides: a call that would wait is not one that would be
        // rejected.
        if self.mode() == Mode::Enforce
            && self.check_deadline(now).is_ok()
            && self
                .decide(ask.waiting(), fresh_after(|| now), |_| ())
                .is_ok()
        {
            return Ok(Ok(()));
        }
        self.enter_queue(now, ask, max_wait)
    }

    #[inline(never)]
    fn enter_queue(
        &self,
        now: Tick,
        ask: Ask,
        max_wait: Option<Duration>,
    ) -> Result<Result<(), Waiter>, Rejection> {
        let max_wait = max_wait.unwrap_or_else(|| self.max_wait());
        let mut waiter = Waiter {
            limiter: self.viewed(ask.key),
            cost: ask.cost,
            since: now,
            until: now.after(max_wait),
            deadline: CallContext::deadline(),
            not_before: now,
            position: None,
            #[cfg(feature = "tower")]
            noted: false,
        };
        Ok(match waiter.start(now)? {
            true => Err(waiter),
            false => Ok(()),
        })
    }
}

impl crate::waiting::Waiter for Waiter {
    type Permit = Granted;

    /// Takes over a deadline that no timer further up enforces.
    #[cfg(feature = "tokio")]
    fn first_poll(&mut self) -> Result<(), Rejection> {
        self.deadline = self.deadline.min(CallContext::unenforced());
        Ok(())
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        self.deadline
    }

    fn poll(&mut self, waker: &Waker, now: Tick) -> Progress<Granted> {
        let progress = self.poll_turn(waker, now);
        if let Progress::Ended(_) = progress {
            self.waited(now);
        }
        progress
    }
}

impl Waiter {
    /// Counts the wait, which has ended.
    fn waited(&self, now: Tick) {
        self.limiter.common().cells().time(now.since(self.since));
    }

    fn poll_turn(&mut self, waker: &Waker, now: Tick) -> Progress<Granted> {
        let limiter = self.limiter.clone();
        let mut has_moved = false;
        let mut has_failed = false;
        loop {
            let (index, id) = self.position.expect(ENDED);
            let mode = limiter.mode();
            if mode != Mode::Enforce {
                self.leave();
                self.take_unenforced(mode, now);
                return Progress::Ended(Ok(self.granted(Charges::None, now)));
            }
            if self.deadline <= now {
                self.leave();
                self.note_end();
                return Progress::Ended(Err(limiter.common().rejected(limiter.expired())));
            }
            let member = &limiter.members()[index];
            let key = member.queue_key(limiter.key);
            let queues = &member.shared.queues;
            let (turn, next) = queues.poll(key, id, self.latest(), waker, now);
            next.into_iter().for_each(Waker::wake);
            let is_head = turn == Turn::Head;
            let (in_front, until) = match turn {
                Turn::Head => (0, Tick::NEVER),
                Turn::Behind { in_front, until } => (in_front, until),
                Turn::Removed => return self.deny(&member.denied(self.cost, Shortfall::Unknown)),
            };
            // Only now, so that what adds tokens later finds the waker.
            let standing = Standing {
                member: index,
                id,
                in_front,
            };
            let ask = self.ask(now, Asker::Head);
            let due = match limiter.due(&ask, Some(standing)) {
                Ok(due) => due,
                Err(denied) => return self.deny(&denied),
            };
            if is_head && due.at <= now {
                if self.not_before > now {
                    return Progress::Waits(self.not_before);
                }
                let denied = match limiter.take(&Ask { keep: true, ..ask }) {
                    Ok(charges) => {
                        self.leave();
                        return Progress::Ended(Ok(self.granted(charges, now)));
                    }
                    // Another call came between.
                    Err(_) if !std::mem::replace(&mut has_failed, true) => continue,
                    Err(denied) => denied,
                };
                // Two keys of a joint limiter share an entry. It has tokens for each of them, so a
                // look says that they are due, and not for both.
                let wait = denied.shortfall.wait();
                return match wait.map(|wait| now.after(wait.max(Duration::from_nanos(1)))) {
                    Some(at) if !self.is_too_late(at) => {
                        self.not_before = at;
                        Progress::Waits(at)
                    }
                    _ => self.deny(&denied),
                };
            }
            if self.is_too_late(due.at) || self.latest() <= now {
                return self.deny(&due.late(&ask));
            }
            if is_head && due.member != index && !has_moved {
                // Here it would hold up others for tokens that it cannot use yet. In every queue
                // it stands where it would if it had come there first.
                self.leave();
                self.join(due.member);
                has_moved = true;
                continue;
            }
            return Progress::Waits(match is_head {
                true => due.at,
                // A waiter in front that is not polled holds up no longer than its own wait.
                false => self.latest().min(until),
            });
        }
    }
}

impl Waiter {
    fn ask(&self, now: Tick, by: Asker) -> Ask {
        let quiet = true;
        Ask {
            by,
            quiet,
            ..Ask::now(self.cost).at(now)
        }
    }

    /// Joins the queue, and returns whether the call has to wait.
    fn start(&mut self, now: Tick) -> Result<bool, Rejection> {
        let mode = self.limiter.mode();
        if mode != Mode::Enforce {
            self.take_unenforced(mode, now);
            if mode != Mode::Off {
                self.granted(Charges::None, now).commit();
            }
            return Ok(false);
        }
        if self.deadline <= now {
            return Err(self.limiter.common().rejected(self.limiter.expired()));
        }
        let ask = self.ask(now, Asker::Comer);
        let due = match self.limiter.due(&ask, None) {
            Ok(due) if self.is_too_late(due.at) => Err(due.late(&ask)),
            other => other,
        };
        let due = due.map_err(|denied| self.limiter.deny(&denied))?;
        let member = due.member;
        self.join(member);
        self.limiter.common().cells().count(Count::QUEUED);
        Ok(true)
    }

    fn is_too_late(&self, at: Tick) -> bool {
        at > self.until || at >= self.deadline
    }

    /// Notes what is left at the end of the wait for the layer above.
    #[cfg(feature = "tower")]
    pub(super) fn note_later(&mut self) {
        self.noted = true;
    }

    /// When the wait ends at the latest.
    fn latest(&self) -> Tick {
        self.until.min(self.deadline)
    }

    fn join(&mut self, index: usize) {
        let member = &self.limiter.members()[index];
        let key = member.queue_key(self.limiter.key);
        let id = member
            .shared
            .queues
            .push(key, self.since, self.cost, self.latest());
        self.position = Some((index, id));
    }

    /// Leaves the queue, and wakes the next waiter if this was the head. False if the wait had
    /// ended before.
    fn leave(&mut self) -> bool {
        let Some((index, id)) = self.position.take() else {
            return false;
        };
        let member = &self.limiter.members()[index];
        let key = member.queue_key(self.limiter.key);
        let next = member.shared.queues.remove(key, id);
        next.into_iter().for_each(Waker::wake);
        true
    }

    /// Takes the tokens for a call that is not made to wait, in a mode that does not enforce.
    fn take_unenforced(&self, mode: Mode, now: Tick) {
        if mode == Mode::Off {
            return;
        }
        let taken = self.limiter.take(&Ask {
            latest: self.latest().max(now),
            ..self.ask(now, Asker::Released)
        });
        if let Err(denied) = taken {
            let rejection = || denied.rejection();
            self.limiter.common().record_rejection(rejection);
        }
    }

    fn granted(&self, charges: Charges, now: Tick) -> Granted {
        let at = charges.at().unwrap_or(now);
        Granted {
            limiter: self.limiter.clone(),
            cost: self.cost,
            charges,
            waited: at.since(self.since),
            open: true,
            #[cfg(feature = "tower")]
            noted: self.noted,
        }
    }

    /// Notes what is left for the layer above, if the wait ends without tokens.
    fn note_end(&self) {
        #[cfg(feature = "tower")]
        if self.noted {
            self.limiter.note(None, None);
        }
    }

    fn deny(&mut self, denied: &Denied<'_>) -> Progress<Granted> {
        self.leave();
        self.note_end();
        Progress::Ended(Err(self.limiter.deny(denied)))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.leave() {
            let now = time::now();
            self.waited(now);
            self.limiter
                .emit_ended(Ending::Dropped, now.since(self.since));
        }
    }
}
