//! The machine and its rules beside a model that keeps every outcome.

use std::cell::Cell;
use std::time::Duration;

use super::naive::{Admitted, How, Naive};
use super::*;
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::Window;
use crate::circuit_breaker::rules::{Finished, Ramp, Rules, Tripped, Windows};
use crate::circuit_breaker::run::Hint;
use crate::circuit_breaker::trip::{Span, Trip};
use crate::fuzzing::Bytes;
use crate::per_thread::ThreadSlot;
use crate::time::nanos;

const MS: u64 = 1_000_000;

/// The machine and its rules, put together as the policy does, with the time as an argument.
pub(super) struct Breaker {
    pub(super) machine: Machine,
    rules: Rules,
    /// Those it was made with, as the policy keeps them.
    windows: Windows,
    failing: Hint,
    pub(super) tripped: Vec<Tripped>,
    ended: u8,
}

thread_local! {
    /// What the clock's counter shows: the time.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

impl Breaker {
    pub(super) fn of_generation(config: Config, now: u64, generation: u32) -> Self {
        let machine = Machine::new(Tick(now), Mode::Enforce, Flags::default());
        let word = Word::new(generation, State::Closed, Mode::Enforce, Flags::default());
        machine.word.store(word.0, Ordering::Relaxed);
        let rules = Rules::new(config, generation, Tick(now), None);
        Self {
            machine,
            windows: Windows::of(&rules),
            rules,
            failing: Hint::default(),
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

    pub(super) fn go(
        &self,
        now: u64,
        from: Option<u32>,
        to: State,
        cause: Cause,
        after: Option<Duration>,
    ) {
        let timing = Timing {
            config: self.config(),
            fraction: 0.0,
            retry_after: after,
            before: |due| Count(due.0),
        };
        let step = Step {
            from,
            to,
            cause,
            timing,
        };
        let mut control = self.machine.control.lock();
        let begin = |generation| self.rules.begin(generation);
        let _ = self.machine.enter(&mut control, Tick(now), step, begin);
    }

    fn make(&self, now: u64, step: Move) {
        let after = match step.kind {
            Ended::ProbesFailed(_, after) => after,
            _ => None,
        };
        self.go(now, step.from, step.to, Cause::Reset, after);
    }

    pub(super) fn admit_at(&self, now: u64, fraction: f64) -> Result<Ticket, Refused> {
        for _ in 0..4 {
            match self.machine.admit(Tick(now), self.config(), || fraction) {
                Answer::Admitted(ticket) => return Ok(ticket),
                Answer::Refused(refused) => return Err(refused),
                Answer::Move(step) => self.make(now, step),
            }
        }
        panic!("it moves for ever");
    }

    pub(super) fn end(&mut self, ticket: Ticket, now: u64, how: How, elapsed: Duration) {
        let slow_after = self.rules.slow_after();
        let elapsed = slow_after.is_some().then_some(elapsed);
        let failure = match how {
            How::Failure(after) => Some((FailureKind::Error, after)),
            How::Success | How::Ignore => None,
        };
        if ticket.role == Role::Probe {
            let slow = elapsed > slow_after;
            let said = match (how, failure) {
                (How::Ignore, _) => None,
                (_, Some(failure)) => Some(Err(failure)),
                (_, None) if slow => Some(Err((FailureKind::Slow, None))),
                _ => Some(Ok(())),
            };
            if let Some(step) = self.machine.end_probe(ticket, said, self.config()) {
                self.make(now, step);
            }
            return;
        }
        let word = self.machine.word();
        if how == How::Ignore || word.generation() != ticket.generation {
            return;
        }
        // One thread after the other, some without words of their own.
        self.ended = (self.ended + 1) % 12;
        let slot = (self.ended < 10).then(|| ThreadSlot::numbered(self.ended));
        if how == How::Success && self.succeeds_in_passing(ticket, now, elapsed, slot) {
            return;
        }
        let call = Finished {
            failure,
            elapsed,
            slot,
        };
        let generation = ticket.generation;
        if failure.is_none() {
            self.failing.clear(generation);
        }
        let mut tripped = self.rules.record(generation, Tick(now), &call);
        if failure.is_some() {
            self.failing.set(generation);
        }
        if word.state() == State::Recovering {
            tripped = tripped.or(self.rules.record_ramp(generation, Tick(now), &call));
        }
        if let Some(tripped) = tripped {
            let after = tripped.retry_after;
            let cause = Cause::Tripped(tripped.clone());
            self.tripped.push(tripped);
            self.go(now, Some(generation), State::Open, cause, after);
        }
    }

    /// As the policy does with a success that ends no run of failures.
    fn succeeds_in_passing(
        &self,
        ticket: Ticket,
        now: u64,
        elapsed: Option<Duration>,
        slot: Option<ThreadSlot>,
    ) -> bool {
        let counted =
            self.machine.word().state() == State::Closed && self.windows.are_those_of(&self.rules);
        if self.failing.is_set() || !counted {
            return false;
        }
        let start = Tick(now - elapsed.map_or(0, nanos));
        let slow = |count: Count| self.windows.is_slow(start, Tick(count.0));
        COUNT.set(now);
        let read = || Count(COUNT.get());
        let generation = ticket.generation;
        match self.windows.succeed(generation, || slot, read, slow) {
            Ok(_) => {}
            Err(count) if slow(count) => return false,
            Err(count) => {
                let before = |due: Tick| Count(due.0);
                self.windows
                    .succeed_at(generation, Tick(count.0), slot, before);
            }
        }
        true
    }

    pub(super) fn state(&self) -> State {
        self.machine.word().state()
    }
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Call(f64),
    /// Ends one of the calls under way.
    End(usize, How),
    /// A whole call that takes so long.
    Whole(How, u64),
    Pass(u64),
    Back(u64),
    ForceOpen,
    Release,
    Reset,
    Change(Box<Config>),
    Mode(Mode, Flags),
}

/// Both, and the calls under way.
pub(super) struct Pair {
    breaker: Breaker,
    naive: Naive,
    now: u64,
    calls: Vec<(Ticket, Admitted)>,
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

    fn call(&mut self, fraction: f64) -> Option<(Ticket, Admitted)> {
        let Self {
            breaker,
            naive,
            now,
            ..
        } = self;
        let peeked = breaker.machine.peek(Tick(*now), breaker.config());
        // What a refusal looks at first.
        if breaker.machine.is_open_at(Count(*now)) {
            assert_eq!(naive.state, State::Open);
            assert!(naive.due > *now);
        }
        let answer = breaker.admit_at(*now, fraction);
        let expected = naive.admit(*now, fraction);
        if naive.state != State::Recovering {
            assert_eq!(peeked.is_ok(), answer.is_ok());
        }
        match (answer, expected) {
            (Ok(ticket), Ok(admitted)) => {
                assert_eq!(ticket.generation, admitted.generation);
                assert_eq!(ticket.role == Role::Probe, admitted.probe);
                Some((ticket, admitted))
            }
            (answer, expected) => {
                let answer = answer.map_err(|refused| (refused.kind(), refused.retry_after()));
                assert_eq!(answer.err(), expected.err());
                None
            }
        }
    }

    fn end(&mut self, (ticket, admitted): (Ticket, Admitted), how: How) {
        let elapsed = Tick(self.now).since(Tick(admitted.start));
        self.breaker.end(ticket, self.now, how, elapsed);
        self.naive.end(admitted, self.now, how);
    }

    /// Does it to both, and compares all that can be seen of them.
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
                if self.breaker.state() != State::ForcedOpen {
                    (self.breaker).go(now, None, State::ForcedOpen, Cause::ForcedOpen, None);
                }
                self.naive.force_open(now);
            }
            Op::Release => {
                if self.breaker.state() == State::ForcedOpen {
                    (self.breaker).go(now, None, State::Closed, Cause::Released, None);
                }
                self.naive.release(now);
            }
            Op::Reset => {
                (self.breaker).go(now, None, State::Closed, Cause::Reset, None);
                self.naive.reset(now);
            }
            Op::Change(config) => {
                self.breaker
                    .change_at(now, |changed| *changed = (*config).clone());
                self.naive.change(*config, now);
            }
            Op::Mode(mode, flags) => {
                let machine = &self.breaker.machine;
                machine.set(&mut machine.control.lock(), Some(mode), Some(flags));
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
    match bytes.byte() % 12 {
        0..=3 => How::Success,
        4..=8 => How::Failure(None),
        9 | 10 => How::Failure(Some(ms(bytes.below(80)))),
        _ => How::Ignore,
    }
}

/// The runs of one input lie within one time: what has been kept of a run when that is changed
/// is not told again.
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
        half_open_for: ms(5 + bytes.below(55)),
        give_up: bytes.pick(&[GiveUp::Open, GiveUp::Closed]),
        ramp: match bytes.below(3) {
            0 => Some(Ramp {
                over: ms(5 + bytes.below(55)),
                reopen_at: bytes.pick(&[0.2, 0.5]),
            }),
            _ => None,
        },
        ..Config::default()
    }
}

/// Where time begins: anywhere, and shortly before what wraps: stamps of buckets of one to three
/// milliseconds, a run's milliseconds, microseconds of failures, and the end of time.
fn origin(bytes: &mut Bytes<'_>) -> u64 {
    let day = 86_400_000 * MS;
    let wraps = [1 << 32, 2 << 32, 3 << 32, 1 << 40].map(|millis: u64| millis * MS);
    let [one, two, three, run] = wraps;
    let at = bytes.pick(&[0, day, one, two, three, run, (1 << 48) * 1_000, u64::MAX]);
    at.saturating_sub(u64::from(bytes.word()) * (MS / 256))
}

/// CB1, CB3, CB5, CB6, CB7, CB10, CB16, CB19: every decision is that of the model.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let origin = origin(&mut bytes);
    // Also shortly before what keeps fewer bits of it comes round.
    let generation = bytes.pick(&[0, 2_045, 4_093, 0xFFFD, u32::MAX - 2]);
    let within = match bytes.below(3) {
        0 => None,
        _ => Some(ms(9 + bytes.below(21))),
    };
    let mut pair = Pair::new(config(&mut bytes, within), origin, generation);
    // What is left from more than a round of stamps ago looks new: 49 days at the shortest.
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
                    count_successes: bits & 1 != 0,
                    time_calls: bits & 2 != 0,
                    changed: bits & 4 != 0,
                };
                Op::Mode(mode, flags)
            }
        };
        pair.step(op);
        pair.now = pair.now.min(end);
    }
}
