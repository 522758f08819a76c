use std::fmt;
use std::time::Duration;

use super::counts::RuleCounts;
#[cfg(feature = "tower")]
use super::gate::Gate;
use super::rules::{Rules, Tripped, longest_run, threshold};
use super::state::{Edge, Flags, Machine, Moment, Rejected, State, Word};
use crate::common::{Common, Options, common_methods, listed};
use crate::config::{Live, Mode};
use crate::counters::Totals;
use crate::event::EventKind;
use crate::macros::from_ref;
use crate::policy_id;
use crate::rejection::Rejection;
use crate::rng::Jitter;
use crate::sync::Arc;
use crate::time::{self, Tick};

/// A circuit breaker: rejects calls at once while a dependency is down.
///
/// A handle: clones are the same breaker. See the [module](crate::circuit_breaker) for what it does
/// and for its defaults.
#[derive(Clone)]
pub struct CircuitBreaker(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) machine: Machine,
    /// The rules that the breaker was built with. A success uses these, until a flag in the machine's
    /// word says that they have been changed: so it need not look for newer ones.
    pub(super) built_with: Arc<Rules>,
    pub(super) rules: Live<Rules>,
    /// Its mode is not used: the machine's word has it.
    common: Common,
    jitter: Jitter,
    #[cfg(feature = "tower")]
    pub(super) gate: Gate,
}

impl CircuitBreaker {
    /// `options` and `rules` have been checked.
    pub(super) fn from_parts(options: Options, rules: Rules, now: Tick) -> Self {
        let seed = options.seed;
        let rules = Live::new(rules);
        let built_with = rules.full();
        Self(policy_id::list(|registration| Shared {
            machine: Machine::new(now, options.mode, flags_of(&built_with, false)),
            built_with,
            rules,
            common: Common::new(options, registration),
            jitter: seed.map_or_else(Jitter::from_entropy, Jitter::seeded),
            #[cfg(feature = "tower")]
            gate: Gate::default(),
        }))
    }

    common_methods!();

    /// Whether a call would be admitted now. Changes nothing. Another call may change the answer at
    /// any time.
    ///
    /// # Errors
    /// The rejection that a call would get.
    pub fn peek(&self) -> Result<(), Rejection> {
        if self.mode() != Mode::Enforce {
            return Ok(());
        }
        let rules = self.0.rules.load();
        let decision = self.0.machine.peek(time::now(), &rules.config);
        decision.map_err(|rejected| self.rejection(rejected))
    }

    pub(super) fn rejection(&self, rejected: Rejected) -> Rejection {
        Rejection::new(rejected.kind(), self.name().clone())
            .with_retry_after(rejected.retry_after())
    }

    /// The state. Reading changes nothing: an open breaker whose wait is over reads half-open,
    /// though it enters that state only when a call comes.
    pub fn state(&self) -> State {
        self.state_at(time::now()).0
    }

    /// The state, the word it was read from, and since when and until when that lasts.
    fn state_at(&self, now: Tick) -> (State, Word, Tick, Tick) {
        let (word, since, due) = self.0.machine.timed_word();
        let state = match word.state() {
            State::Open if now >= due => State::HalfOpen,
            State::Recovering if now >= due => State::Closed,
            state => state,
        };
        (state, word, since, due)
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.0.machine.word().mode()
    }

    /// Sets the mode for calls that start from now on. While it is off, the breaker admits all
    /// calls and records nothing; when it is on again, it continues in the same state.
    pub fn set_mode(&self, mode: Mode) {
        self.0.machine.set_mode(mode);
        self.wake_gate();
    }

    /// Opens the breaker until [`release`](Self::release) or [`reset`](Self::reset).
    pub fn force_open(&self) {
        self.transition(Machine::force_open);
    }

    /// Ends [`force_open`](Self::force_open): the breaker closes, and its counts are cleared. Does
    /// nothing to a breaker that is not forced open.
    pub fn release(&self) {
        self.transition(Machine::release);
    }

    /// Closes the breaker and clears its counts, whatever its state. Calls that are in flight no
    /// longer count.
    pub fn reset(&self) {
        self.transition(Machine::reset);
    }

    pub(super) fn common(&self) -> &Common {
        &self.0.common
    }

    /// Makes a decision by `rules`.
    pub(super) fn decide<T>(
        &self,
        now: Tick,
        rules: &Rules,
        decide: impl FnOnce(&Moment<'_>) -> T,
    ) -> T {
        let random = || self.0.jitter.fraction();
        decide(&Moment {
            now,
            rules,
            random: &random,
        })
    }

    fn transition(&self, transition: impl FnOnce(&Machine, &Moment<'_>) -> Edge) {
        let rules = self.0.rules.load();
        let machine = &self.0.machine;
        self.announce(self.decide(time::now(), &rules, |at| transition(machine, at)));
    }

    /// Emits the transition and wakes the gate, if there was one.
    pub(super) fn announce(&self, edge: Edge) {
        if edge == Edge::Taken {
            self.wake_gate();
            self.0.machine.emit_pending(|edge| {
                self.0
                    .common
                    .entered(edge.to as usize, EventKind::Transition(edge));
            });
        }
    }

    /// The rules have changed.
    pub(super) fn follow_rules(&self) {
        // Kept until the lock is free: a custom rule may be dropped with it.
        let mut rules = None;
        self.0.machine.set_flags(|| {
            let newest = rules.insert(self.0.rules.full());
            flags_of(newest, true)
        });
        self.wake_gate();
    }

    pub(super) fn wake_gate(&self) {
        #[cfg(feature = "tower")]
        self.0.gate.wake();
    }

    /// The rejection of every call that comes now, and until when that lasts, unless another call
    /// ends or the handle changes its state. Where it is closed, this is one load.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn shut(&self) -> Option<(Rejected, Tick)> {
        let word = self.0.machine.word();
        match (word.state(), word.mode()) {
            (State::Closed, _) | (_, Mode::RecordOnly | Mode::Off) => None,
            _ => self.shut_by_rules(),
        }
    }

    #[cfg(feature = "tower")]
    #[cold]
    fn shut_by_rules(&self) -> Option<(Rejected, Tick)> {
        let (rules, now) = (self.0.rules.load(), time::now());
        let (shut, edge) = self.decide(now, &rules, |at| self.0.machine.shut_now(at));
        self.announce(edge);
        shut.map(|rejected| (rejected, rejected.due(now)))
    }

    #[cfg(feature = "tower")]
    pub(super) fn is_forced_open(&self) -> bool {
        self.0.machine.word().state() == State::ForcedOpen
    }

    /// The generation of the ramp that is under way.
    #[cfg(feature = "tower")]
    pub(super) fn ramp(&self) -> Option<u32> {
        let word = self.0.machine.word();
        let recovers = word.state() == State::Recovering && word.mode() == Mode::Enforce;
        recovers.then(|| word.generation())
    }

    /// Whether the ramp admits the next call, and in which generation; none without a ramp under
    /// way.
    #[cfg(feature = "tower")]
    pub(super) fn draw(&self, now: Tick) -> Option<(bool, u32)> {
        let rules = self.0.rules.load();
        self.decide(now, &rules, |at| self.0.machine.draw(at))
    }

    /// The state and the counts. Reading changes nothing. Under load, the parts may come from
    /// slightly different moments.
    pub fn snapshot(&self) -> Snapshot {
        let now = time::now();
        let (state, word, since, due) = self.state_at(now);
        let rules = self.0.rules.load();
        let counts = rules.counts(word.generation(), now).into_iter();
        let last_trip = self.0.machine.last_trip();
        let waits = word.state() == State::Open && !due.is_never();
        Snapshot {
            state,
            mode: word.mode(),
            in_state: now.since(since),
            next_probe: waits.then(|| due.since(now)),
            probes: (word.state() == State::HalfOpen).then(|| Probes {
                in_flight: word.in_flight(),
                succeeded: word.succeeded(),
                failed: word.failed(),
                limit: rules.config.probes,
            }),
            rules: counts
                .map(|(trip, counts)| {
                    let is_timed = trip.slow_after().is_some();
                    let enough = trip.is_rate() && counts.calls >= trip.least_calls();
                    RuleCounts {
                        rule: trip.to_string(),
                        counts,
                        threshold: threshold(trip),
                        consecutive_threshold: longest_run(trip),
                        failure_rate: counts.failure_rate().filter(|_| enough),
                        slow_rate: counts.slow_rate().filter(|_| enough && is_timed),
                    }
                })
                .collect(),
            last_trip: last_trip.map(|(tripped, at)| LastTrip {
                tripped,
                ago: now.since(at),
            }),
            would_reject: self.0.common.would_reject(),
            totals: self.common().totals(),
        }
    }
}

fn flags_of(rules: &Rules, changed: bool) -> Flags {
    Flags {
        times_calls: rules.times_calls(),
        changed,
    }
}

from_ref!(CircuitBreaker);
listed!(CircuitBreaker, Shared);

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, word, ..) = self.state_at(time::now());
        let mut debug = f.debug_struct("CircuitBreaker");
        debug.field("name", self.name()).field("state", &state);
        if state == State::HalfOpen {
            debug.field("probes", &word.in_flight());
        }
        debug.field("mode", &word.mode()).finish_non_exhaustive()
    }
}

/// The state and the counts of a breaker.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The state, as [`CircuitBreaker::state`] returns it.
    pub state: State,
    /// The mode.
    pub mode: Mode,
    /// How long ago it entered its state.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub in_state: Duration,
    /// The time until the next probe, zero once it is due. None unless the breaker is open, and
    /// none if it is forced open.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds_if_any")
    )]
    pub next_probe: Option<Duration>,
    /// The probes of the half-open state.
    pub probes: Option<Probes>,
    /// The counts of each rule in this state, in the order of the rules.
    pub rules: Vec<RuleCounts>,
    /// What tripped it last.
    pub last_trip: Option<LastTrip>,
    /// Calls that would have been rejected, in [`Mode::RecordOnly`].
    pub would_reject: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}

/// The probes of a half-open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Probes {
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls that have succeeded.
    pub succeeded: u32,
    /// Calls that have failed.
    pub failed: u32,
    /// The highest number of calls at once.
    pub limit: u32,
}

/// What tripped a breaker, and when.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LastTrip {
    /// What tripped it.
    pub tripped: Tripped,
    /// How long ago.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub ago: Duration,
}
