//! The machine and its rules beside a model that keeps every outcome.

use std::time::Duration;

use super::admission::{Grant, Rejected, Role};
use super::machine::Machine;
use super::naive::{Admitted, How, Naive};
use super::transition::{Edge, Moment};
use super::word::{Flags, State, Word};
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::config::{Config, Ramp, Throttled};
use crate::circuit_breaker::rules::{Ended, Rules, Tripped};
use crate::circuit_breaker::trip::{Span, Trip, When, Window};
use crate::config::Mode;
use crate::fuzzing::Bytes;
use crate::outcome::FailureKind;
use crate::per_thread::ThreadSlot;
use crate::sync::Ordering;
use crate::time::Tick;

const MS: u64 = 1_000_000;

/// The machine and its rules, put together as the policy does, with the time as an argument.
pub(super) struct Breaker {
    pub(super) machine: Machine,
    rules: Rules,
    pub(super) tripped: Vec<Tripped>,
    ended: u8,
}

impl Breaker {
    pub(super) fn of_generation(config: Config, now: u64, generation: u32) -> Self {
        let machine = Machine::new(Tick(now), Mode::Enforce, Flags::default());
        let word = Word::new(generation, State::Closed, Mode::Enforce, Flags::default());
        machine.word.store(word.0, Ordering::Relaxed);
        Self {
            machine,
            rules: Rules::new(config, generation, Tick(now), None),
            tripped: Vec::new(),
            ended: 0,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.rules.config
    }

    pub(super) fn change_at(&mut self, now: u64, change: impl FnOnce(&mut Config)) {
        let mut config = self.config().clone();
        change(&mut config);
        let generation = self.machine.word().generation();
        self.rules = Rules::new(config, generation, Tick(now), Some(&self.rules));
    }

    /// Takes an edge if it is there.
    pub(super) fn take(&self, now: u64, edge: impl FnOnce(&Machine, &Moment<'_>) -> Edge) -> Edge {
        self.decide(now, 0.0, |at| edge(&self.machine, at))
    }

    fn decide<T>(&self, now: u64, fraction: f64, decide: impl FnOnce(&Moment<'_>) -> T) -> T {
        decide(&Moment {
            now: Tick(now),
            rules: &self.rules,
            random: &|| fraction,
        })
    }

    pub(super) fn admit_at(&self, now: u64, fraction: f64) -> Result<Grant, Rejected> {
        self.decide(now, fraction, |at| self.machine.admit(at)).0
    }

    pub(super) fn end(&mut self, grant: Grant, now: u64, how: How, elapsed: Duration) {
        self.end_at(grant, now, how, elapsed, 0.0);
    }

    /// Ends a call, with this random number.
    pub(super) fn end_at(
        &mut self,
        grant: Grant,
        now: u64,
        how: How,
        elapsed: Duration,
        fraction: f64,
    ) {
        let Grant { generation, role } = grant;
        let slow_after = self.rules.slow_after;
        let elapsed = slow_after.is_some().then_some(elapsed);
        let failure = match how {
            How::Failure(after) => Some((FailureKind::Error, after)),
            How::Throttled(after) => Some((FailureKind::Throttled, after)),
            How::Overtaken => Some((FailureKind::Slow, None)),
            How::Success | How::Ignore => None,
        };
        if role == Role::Probe {
            let result = match (how, failure) {
                (How::Ignore, _) => None,
                (_, Some(failure)) => Some(Err(failure)),
                (_, None) if elapsed > slow_after => Some(Err((FailureKind::Slow, None))),
                _ => Some(Ok(())),
            };
            let _ = self.take(now, |machine, at| machine.end_probe(generation, result, at));
            return;
        }
        let word = self.machine.word();
        if how == How::Ignore || word.generation() != generation {
            return;
        }
        // One thread after the other, some without words of their own.
        self.ended = (self.ended + 1) % 12;
        let call = Ended {
            failure,
            elapsed,
            slot: (self.ended < 10).then(|| ThreadSlot::numbered(self.ended)),
        };
        let mut tripped = self.rules.record(generation, Tick(now), &call);
        if word.state() == State::Recovering {
            tripped = tripped.or(self.rules.record_ramp(generation, Tick(now), &call));
        }
        if let Some(tripped) = tripped {
            self.tripped.push(tripped.clone());
            let trip = |at: &Moment<'_>| self.machine.trip(generation, tripped, at);
            let edge = self.decide(now, fraction, trip);
            assert_eq!(edge, Edge::Taken);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Call(f64),
    /// Ends one of the calls in flight.
    End(usize, How),
    /// A whole call that takes this long.
    Whole(How, u64),
    Pass(u64),
    Back(u64),
    ForceOpen,
    Release,
    Reset,
    Change(Box<Config>),
    Mode(Mode, Flags),
}

/// The breaker, its model, and the calls in flight.
pub(super) struct Pair {
    breaker: Breaker,
    naive: Naive,
    now: u64,
    calls: Vec<(Grant, Admitted)>,
}

impl Pair {
    pub(super) fn new(config: Config, now: u64, generation: u32) -> Self {
        config.check(&"tested".into()).unwrap();
        Self {
            breaker: Breaker::of_generation(config.clone(), now, generation),
            naive: Naive::new(config, now, generation),
            now,
            calls: Vec::new(),
        }
    }

    fn call(&mut self, fraction: f64) -> Option<(Grant, Admitted)> {
        let Self {
            breaker,
            naive,
            now,
            ..
        } = self;
        let peeked = breaker.machine.peek(Tick(*now), breaker.config());
        let open = breaker.machine.rejects_while_open(Tick(*now));
        // A gate decides before the call.
        #[cfg(feature = "tower")]
        let shut = (fraction < 0.5).then(|| {
            breaker
                .decide(*now, 0.0, |at| breaker.machine.shut_now(at))
                .0
        });
        let decision = breaker.admit_at(*now, fraction);
        let expected = naive.admit(*now, fraction);
        assert!(open.is_none_or(|rejected| decision == Err(rejected)));
        if naive.state != State::Recovering {
            assert_eq!(peeked.is_ok(), decision.is_ok());
            #[cfg(feature = "tower")]
            if let Some(shut) = shut {
                assert_eq!(shut, decision.err());
            }
        }
        match (decision, expected) {
            (Ok(grant), Ok(admitted)) => {
                assert_eq!(grant.generation, admitted.generation);
                assert_eq!(grant.role == Role::Probe, admitted.probe);
                Some((grant, admitted))
            }
            (decision, expected) => {
                let decision =
                    decision.map_err(|rejected| (rejected.kind(), rejected.retry_after()));
                assert_eq!(decision.err(), expected.err());
                None
            }
        }
    }

    fn end(&mut self, (grant, admitted): (Grant, Admitted), how: How) {
        let elapsed = Tick(self.now).since(Tick(admitted.start));
        self.breaker.end(grant, self.now, how, elapsed);
        self.naive.end(admitted, self.now, how);
    }

    /// Does it to both, and compares their states.
    pub(super) fn step(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Call(fraction) => {
                let call = self.call(fraction);
                self.calls.extend(call);
            }
            Op::End(at, how) => {
                if !self.calls.is_empty() {
                    let call = self.calls.swap_remove(at % self.calls.len());
                    self.end(call, how);
                }
            }
            Op::Whole(how, takes) => {
                let call = self.call(0.3);
                self.now = now.saturating_add(takes);
                if let Some(call) = call {
                    self.end(call, how);
                }
            }
            Op::Pass(by) => self.now = now.saturating_add(by),
            Op::Back(by) => self.now = now.saturating_sub(by),
            Op::ForceOpen => {
                let _ = self.breaker.take(now, Machine::force_open);
                self.naive.force_open(now);
            }
            Op::Release => {
                let _ = self.breaker.take(now, Machine::release);
                self.naive.release(now);
            }
            Op::Reset => {
                let _ = self.breaker.take(now, Machine::reset);
                self.naive.reset(now);
            }
            Op::Change(config) => {
                self.breaker
                    .change_at(now, |changed| *changed = (*config).clone());
                self.naive.change(*config, now);
            }
            Op::Mode(mode, flags) => {
                let machine = &self.breaker.machine;
                machine.set_mode(mode);
                machine.set_flags(|| flags);
                assert_eq!(
                    (machine.word().mode(), machine.word().flags()),
                    (mode, flags)
                );
            }
        }
        let (breaker, naive) = (&self.breaker, &self.naive);
        let (word, since, due) = breaker.machine.timed_word();
        let probes = (word.in_flight(), word.succeeded(), word.failed());
        assert_eq!(
            (word.state(), word.generation(), since.0, due.0, probes),
            (
                naive.state,
                naive.generation,
                naive.since,
                naive.due,
                naive.probes
            ),
        );
        assert_eq!(breaker.tripped.len(), naive.tripped.len());
        if let (Some(tripped), Some(rule)) = (breaker.tripped.last(), naive.tripped.last()) {
            assert!(
                rule == "ramp" || *rule == tripped.rule,
                "{rule} {}",
                tripped.rule
            );
        }
    }
}

fn ms(n: u32) -> Duration {
    Duration::from_millis(n.into())
}

fn how(bytes: &mut Bytes<'_>) -> How {
    match bytes.byte() % 16 {
        0..=3 => How::Success,
        4..=8 => How::Failure(None),
        9 | 10 => How::Failure(Some(ms(bytes.below(80)))),
        11 | 12 => How::Throttled(None),
        13 => How::Throttled(Some(ms(bytes.below(80)))),
        14 => How::Overtaken,
        _ => How::Ignore,
    }
}

/// All streaks of one input have one time: a streak that a change gives another time keeps what it
/// has.
fn trip(bytes: &mut Bytes<'_>, within: Option<Duration>) -> Trip {
    let rate = bytes.pick(&[0.3, 0.5, 0.75, 1.0]);
    let rated = match bytes.byte() % 7 {
        0 => {
            let n = 1 + bytes.below(4);
            let mut trip = Trip::consecutive_failures(n).lasting(ms(bytes.below(9)));
            trip.within = within;
            return trip;
        }
        1 => {
            let n = 1 + bytes.below(4);
            return Trip::failures(n).within(ms(1 + bytes.below(29)));
        }
        2 => Trip::slow_rate(rate, ms(bytes.below(4))),
        3 => Trip::custom("three", |counts| counts.failures >= 3),
        4 => Trip::custom("row", |counts| counts.consecutive >= 3),
        _ => Trip::failure_rate(rate),
    };
    let window = match bytes.byte() % 2 {
        0 => Window::count(1 + bytes.below(8)),
        _ => {
            let (bucket, n) = (1 + bytes.below(3), 1 + bytes.below(5));
            Window::time(ms(bucket * n)).buckets(n)
        }
    };
    let mut trip = rated.over(window);
    if matches!(trip.when, When::FailureRate(_) | When::SlowRate(..)) && rate < 1.0 {
        // No sum of a few calls meets these bounds exactly.
        trip.confidence = bytes.pick(&[None, None, Some(0.37), Some(1.3)]);
    }
    if let (least @ 1.., Span::Calls(n)) = (bytes.below(8), window.0) {
        trip.min_calls = Some(least.min(n));
    }
    trip
}

fn config(bytes: &mut Bytes<'_>, within: Option<Duration>) -> Config {
    let trips = (0..1 + bytes.below(3)).map(|_| trip(bytes, within));
    let trips = trips.collect();
    let probes = 1 + bytes.below(4);
    Config {
        trips,
        open_for: Backoff::exponential(ms(10))
            .max(ms(40))
            .jitter(Jitter::None),
        retry_after_cap: ms(bytes.below(100)),
        probes,
        close_after: match bytes.below(5) {
            0 => None,
            n => Some(n.min(probes)),
        },
        max_probe_time: Some(ms(5 + bytes.below(55))),
        ramp: match bytes.below(3) {
            0 => Some(Ramp {
                over: ms(5 + bytes.below(55)),
                reopen_at: bytes.pick(&[0.2, 0.5]),
            }),
            _ => None,
        },
        throttled: bytes.pick(&[Throttled::NotInRates, Throttled::Failure]),
        ..Config::default()
    }
}

/// The origin of time: anywhere, and shortly before a wrap: of the stamps of buckets of one to three
/// milliseconds, of a streak's milliseconds, of the microseconds of failures, and of time itself.
fn origin(bytes: &mut Bytes<'_>) -> u64 {
    let day = 86_400_000 * MS;
    let wraps = [1 << 32, 2 << 32, 3 << 32, 1 << 40].map(|millis: u64| millis * MS);
    let [one, two, three, run] = wraps;
    let at = bytes.pick(&[0, day, one, two, three, run, (1 << 48) * 1_000, u64::MAX]);
    at.saturating_sub(u64::from(bytes.word()) * (MS / 256))
}

/// CB1, CB3, CB5, CB6, CB7, CB10, CB16, CB19, CB20: every decision is that of the model.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let origin = origin(&mut bytes);
    // Also shortly before a wrap in the words that keep fewer bits of it.
    let generation = bytes.pick(&[0, 2_045, 4_093, 0xFFFD, u32::MAX - 2]);
    let within = match bytes.below(3) {
        0 => None,
        _ => Some(ms(9 + bytes.below(21))),
    };
    let mut pair = Pair::new(config(&mut bytes, within), origin, generation);
    // A word from more than a round of stamps ago looks new: after 49 days at the shortest.
    let end = origin.saturating_add(45 * 86_400_000 * MS);
    while !bytes.is_empty() {
        let op = match bytes.byte() % 64 {
            0..=7 => Op::Call(f64::from(bytes.byte()) / 256.0),
            8..=17 => Op::End(bytes.byte().into(), how(&mut bytes)),
            18..=47 => Op::Whole(how(&mut bytes), u64::from(bytes.byte()) * (MS / 64)),
            48..=51 => Op::Pass(u64::from(bytes.word()) * (MS / 4_096)),
            52..=54 => Op::Pass(u64::from(bytes.word()) * (MS / 512)),
            55 => Op::Pass(bytes.pick(&[1_000, 3_600_000, 40 * 86_400_000]) * MS),
            56 => Op::Back(u64::from(bytes.word()) * (MS / 512)),
            57 => Op::Back(bytes.pick(&[1_000, 3_600_000]) * MS),
            58 => Op::ForceOpen,
            59 => Op::Release,
            60 => Op::Reset,
            61 | 62 => Op::Change(Box::new(config(&mut bytes, within))),
            _ => {
                let mode = bytes.pick(&[Mode::Enforce, Mode::RecordOnly, Mode::Off]);
                let bits = bytes.byte();
                let flags = Flags {
                    times_calls: bits & 1 != 0,
                    changed: bits & 2 != 0,
                };
                Op::Mode(mode, flags)
            }
        };
        pair.step(op);
        pair.now = pair.now.min(end);
    }
}
