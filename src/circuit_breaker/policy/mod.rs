mod builder;
mod call;
mod moves;
mod permit;
mod snapshot;

use arc_swap::ArcSwap;
use std::fmt;

#[cfg(feature = "tower")]
use super::gate::Gate;
use super::rules::{Rules, Windows};
use super::run::Hint;
use super::state::{Cause, Flags, Machine, State, Word};
use super::trip::Counts;
use crate::config::{ConfigError, Mode, Name};
use crate::event::{Event, EventKind, Listeners, Subscription};
use crate::keyed::Idle;
use crate::rejection::Rejection;
use crate::rng::Jitter;
use crate::sync::{Arc, AtomicU64};
use crate::time::{self, Tick};

pub use builder::Builder;
use call::{Call, End};
pub use permit::Permit;
pub use snapshot::{Probes, RuleCounts, Snapshot, Trouble};

/// A circuit breaker: fails calls at once while a dependency is known to be down.
///
/// A handle: clones are the same breaker. See the [module](crate::circuit_breaker) for what it does and for its
/// defaults.
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

struct Shared {
    name: Name,
    machine: Machine,
    failing: Hint,
    /// Read by calls that have something to record; replaced under the machine's control lock.
    rules: ArcSwap<Rules>,
    windows: Windows,
    jitter: Jitter,
    /// Counts only itself: relaxed.
    would_reject: AtomicU64,
    listeners: Listeners,
    #[cfg(feature = "tower")]
    gate: Gate,
}

impl CircuitBreaker {
    /// A breaker with the default rules.
    pub fn new(name: impl Into<Name>) -> Self {
        Self::builder(name).assemble()
    }

    /// Starts a breaker with rules of your own.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into())
    }

    /// The name, as in its rejections.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Whether a call would be admitted now. Moves nothing; the answer may be old when it
    /// arrives.
    ///
    /// # Errors
    /// What a call would be refused with.
    pub fn peek(&self) -> Result<(), Rejection> {
        if self.0.machine.word().mode() != Mode::Enforce {
            return Ok(());
        }
        let rules = self.0.rules.load();
        let answer = self.0.machine.peek(time::now(), &rules.config);
        answer.map_err(|refused| self.rejection(refused))
    }

    /// What the breaker does. Reading moves nothing: an open breaker whose wait is over reads
    /// half-open, though it becomes that only when a call comes.
    pub fn state(&self) -> State {
        self.state_at(time::now()).0
    }

    fn state_at(&self, now: Tick) -> (State, Word, Tick, Tick) {
        let (word, since, due) = self.0.machine.timed_word();
        let state = match word.state() {
            State::Open if now >= due => State::HalfOpen,
            State::Recovering if now >= due => State::Closed,
            state => state,
        };
        (state, word, since, due)
    }

    /// Whether it may be forgotten: it is closed, and nobody else has a handle. One that has seen
    /// failures of late had better stay.
    pub(crate) fn idle(&self) -> Idle {
        if Arc::strong_count(&self.0) > 1 || self.state() != State::Closed {
            return Idle::No;
        }
        let now = time::now();
        let rules = self.0.rules.load();
        let counts = rules.counts(self.0.machine.word().generation(), now);
        let ill = |counts: &Counts| counts.failures > 0 || counts.slow > 0;
        match counts.iter().any(|(_, counts)| ill(counts)) {
            true => Idle::WithHistory,
            false => Idle::Fresh,
        }
    }

    /// Whether it is enforced.
    pub fn mode(&self) -> Mode {
        self.0.machine.word().mode()
    }

    /// Enforces, only records, or switches off, for calls that start from now on. Switched off
    /// it admits all and records nothing; it goes on from where it was.
    pub fn set_mode(&self, mode: Mode) {
        let mut control = self.0.machine.control.lock();
        self.0.machine.set(&mut control, Some(mode), None);
        drop(control);
        self.wake_gate();
    }

    /// Opens it until [`release`](Self::release) or [`reset`](Self::reset), whatever happens.
    pub fn force_open(&self) {
        loop {
            let word = self.0.machine.word();
            let from = Some(word.generation());
            let forced = word.state() == State::ForcedOpen;
            // Who forces it at the same time moves it once.
            if forced || self.go(from, State::ForcedOpen, Cause::ForcedOpen, None) {
                return;
            }
        }
    }

    /// Ends [`force_open`](Self::force_open): closed, with nothing counted. Does nothing to a
    /// breaker that is not forced open.
    pub fn release(&self) {
        let word = self.0.machine.word();
        if word.state() == State::ForcedOpen {
            let from = Some(word.generation());
            self.go(from, State::Closed, Cause::Released, None);
        }
    }

    /// Closes it with nothing counted, whatever its state. Calls under way change nothing any
    /// more.
    pub fn reset(&self) {
        self.go(None, State::Closed, Cause::Reset, None);
    }

    /// Calls `listener` for every event of this breaker until the subscription is dropped.
    /// Transitions come in their order, one at a time.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.listeners.add(listener)
    }

    /// Changes the rules while calls run. `change` gets a builder as the breaker is configured
    /// now; name, mode, seed and listeners stay. The state stays, and so do the counts of every
    /// rule whose window is unchanged; others start empty. Calls under way are counted by the
    /// rules that are in force when they end.
    ///
    /// Of two changes at once neither undoes what only the other sets; what both set is as the
    /// later one has it. The rules are one setting here, whether one is added or all replaced.
    ///
    /// # Errors
    /// Everything that is wrong with the new rules; nothing changes then.
    ///
    /// ```
    /// use seawall::CircuitBreaker;
    /// use seawall::circuit_breaker::Trip;
    ///
    /// let breaker = CircuitBreaker::new("payments");
    /// breaker.change(|rules| rules.trips([Trip::consecutive_failures(3)]))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl FnOnce(Builder) -> Builder) -> Result<(), ConfigError> {
        let name = &self.0.name;
        let base = self.0.rules.load_full();
        let mine = change(Builder::from_config(name.clone(), base.config.clone())).into_config()?;
        let mut control = self.0.machine.control.lock();
        let generation = self.0.machine.word().generation();
        let current = self.0.rules.load_full();
        let config = mine.over(&base.config, &current.config);
        if let Err(problems) = config.check(name) {
            drop(control);
            return Err(problems);
        }
        let rules = Rules::new(config, generation, time::now(), Some(&current));
        let flags = flags_of(&rules, &self.0.windows);
        let before = self.0.rules.swap(Arc::new(rules));
        self.0.machine.set(&mut control, None, Some(flags));
        drop(control);
        // Outside the lock: a rule of the user's may own what comes back here when dropped.
        drop((before, current, base));
        self.wake_gate();
        Ok(())
    }

    fn emit(&self, kind: EventKind<'_>) {
        self.0.listeners.emit(&self.0.name, kind);
    }

    fn wake_gate(&self) {
        #[cfg(feature = "tower")]
        self.0.gate.wake();
    }

    /// Until when it admits nothing, if nothing else moves it; none if a call is admitted or
    /// moves it.
    #[cfg(feature = "tower")]
    pub(super) fn shut_until(&self) -> Option<Tick> {
        if self.mode() != Mode::Enforce {
            return None;
        }
        let rules = self.0.rules.load();
        self.0.machine.shut_until(time::now(), &rules.config)
    }

    #[cfg(feature = "tower")]
    pub(super) fn gate(&self) -> &Gate {
        &self.0.gate
    }
}

fn flags_of(rules: &Rules, windows: &Windows) -> Flags {
    Flags {
        count_successes: rules.count_successes(),
        time_calls: rules.time_calls(),
        changed: !windows.are_those_of(rules),
    }
}

impl From<&CircuitBreaker> for CircuitBreaker {
    fn from(breaker: &CircuitBreaker) -> Self {
        breaker.clone()
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, word, ..) = self.state_at(time::now());
        let mut debug = f.debug_struct("CircuitBreaker");
        debug.field("name", &self.0.name).field("state", &state);
        if state == State::HalfOpen {
            debug.field("probes", &word.in_flight());
        }
        debug.field("mode", &word.mode()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
