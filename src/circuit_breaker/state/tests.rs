use std::time::Duration;

use proptest::prelude::*;

use super::admission::{Grant, Rejected, Role};
use super::fuzz::{self, Breaker, Op, Pair};
use super::machine::Machine;
use super::naive::How;
use super::transition::Edge;
use super::word::{Flags, State, Word};
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::config::{Config, Ramp, Throttled};
use crate::circuit_breaker::trip::{Trip, Window};
use crate::config::Mode;
use crate::fuzzing::cases;
use crate::rejection::RejectionKind;
use crate::testing::ms;
use crate::time::Tick;

const MS: u64 = 1_000_000;

impl Breaker {
    fn state(&self) -> State {
        self.machine.word().state()
    }

    fn new(config: Config, now: u64) -> Self {
        Self::of_generation(config, now, 0)
    }

    fn admit(&self, now: u64) -> Result<Grant, Rejected> {
        self.admit_at(now, 0.0)
    }

    fn call(&mut self, now: u64, how: How) {
        let grant = self.admit(now).expect("it admits");
        self.end(grant, now, how, Duration::ZERO);
    }
}

fn config(trips: Vec<Trip>) -> Config {
    Config {
        trips,
        open_for: Backoff::exponential(ms(10))
            .max(ms(40))
            .jitter(Jitter::None),
        probes: 3,
        ..Config::default()
    }
}

const FAILURE: How = How::Failure(None);

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Success),
        5 => Just(FAILURE),
        1 => (0..80u64).prop_map(|n| How::Failure(Some(ms(n)))),
        2 => Just(How::Throttled(None)),
        1 => Just(How::Overtaken),
        1 => (0..80u64).prop_map(|n| How::Throttled(Some(ms(n)))),
        1 => Just(How::Ignore),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0.0..1.0f64).prop_map(Op::Call),
        10 => (any::<usize>(), how()).prop_map(|(at, how)| Op::End(at, how)),
        30 => (how(), 0..4 * MS).prop_map(|(how, takes)| Op::Whole(how, takes)),
        8 => (0..12 * MS).prop_map(Op::Pass),
        3 => (0..90 * MS).prop_map(Op::Pass),
        1 => prop_oneof![Just(1u64), Just(3_600), Just(49 * 86_400)]
            .prop_map(|secs| Op::Pass(secs * 1_000 * MS)),
        2 => (0..90 * MS).prop_map(Op::Back),
        1 => Just(Op::ForceOpen),
        2 => Just(Op::Release),
        1 => Just(Op::Reset),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1..9u32).prop_map(Window::count),
        // Buckets of one to three milliseconds.
        (1..4u64, 1..6u32)
            .prop_map(|(bucket, n)| { Window::time(ms(bucket * u64::from(n))).buckets(n) }),
    ]
}

fn trip() -> impl Strategy<Value = Trip> {
    let rate = prop_oneof![Just(0.3), Just(0.5), Just(0.75), Just(1.0)];
    let rated = prop_oneof![
        rate.clone().prop_map(Trip::failure_rate),
        (rate, 0..4u64).prop_map(|(rate, after)| Trip::slow_rate(rate, ms(after))),
        Just(Trip::custom("three", |counts| counts.failures >= 3)),
        Just(Trip::custom("row", |counts| counts.consecutive >= 3)),
    ];
    prop_oneof![
        (1..5u32, 0..9u64, prop::option::of(9..30u64)).prop_map(|(n, lasting, within)| {
            let mut trip = Trip::consecutive_failures(n).lasting(ms(lasting));
            trip.within = within.map(ms);
            trip
        }),
        (1..5u32, 1..30u64).prop_map(|(n, within)| Trip::failures(n).within(ms(within))),
        (rated, window(), prop::option::of(1..8u32)).prop_map(|(trip, window, least)| {
            let mut trip = trip.over(window);
            trip.min_calls = least;
            if let crate::circuit_breaker::trip::Span::Calls(n) = window.0 {
                trip.min_calls = least.map(|least| least.min(n));
            }
            trip
        }),
    ]
}

fn any_config() -> impl Strategy<Value = Config> {
    let probes = (1..5u32, prop::option::of(1..5u32));
    let ramp = prop::option::of((5..60u64, prop_oneof![Just(0.2), Just(0.5)]));
    let times = (5..60u64, 0..100u64);
    (
        prop::collection::vec(trip(), 1..4),
        probes,
        any::<bool>(),
        ramp,
        times,
    )
        .prop_map(
            |(trips, (probes, close_after), not_in_rates, ramp, (max_probe_time, cap))| Config {
                probes,
                close_after: close_after.map(|n| n.min(probes)),
                max_probe_time: Some(ms(max_probe_time)),
                ramp: ramp.map(|(over, reopen_at)| Ramp {
                    over: ms(over),
                    reopen_at,
                }),
                retry_after_cap: ms(cap),
                throttled: if not_in_rates {
                    Throttled::NotInRates
                } else {
                    Throttled::Failure
                },
                ..config(trips)
            },
        )
}

/// The origin of time: anywhere, and shortly before a wrap: of the stamps of buckets of one to three
/// milliseconds, of a streak's milliseconds, of the microseconds of failures, and of time itself.
fn origin() -> impl Strategy<Value = u64> {
    let wraps = [1 << 32, 2 << 32, 3 << 32, 1 << 40].map(|millis: u64| millis * MS);
    let mut origins = vec![0, 86_400_000 * MS, (1 << 48) * 1_000, u64::MAX];
    origins.extend(wraps);
    (prop::sample::select(origins), 0..200 * MS).prop_map(|(at, before)| at.saturating_sub(before))
}

fn agree(config: Config, origin: u64, ops: Vec<Op>) {
    let mut pair = Pair::new(config, origin, 0);
    for op in ops {
        pair.step(op);
    }
}

proptest! {
    #![proptest_config(cases(600))]

    // CB1, CB3, CB5, CB6, CB7, CB10, CB16
    #[test]
    fn cb3_every_decision_is_that_of_the_naive_model(
        config in any_config(),
        origin in origin(),
        ops in prop::collection::vec(op(), 0..150),
    ) {
        agree(config, origin, ops);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    // CB1, CB3, CB5, CB6, CB7, CB10, CB16, CB19: long, with live changes, generations that wrap
    // and a clock that goes anywhere.
    #[test]
    fn cb3_long_schedules_are_decided_as_by_the_model(data in prop::collection::vec(any::<u8>(), 0..4_000)) {
        fuzz::run(&data);
    }
}

#[test]
fn cb2_a_full_window_of_successes_opens_on_the_fifth_of_ten() {
    let trip = Trip::failure_rate(0.5).over(Window::count(10));
    let mut breaker = Breaker::new(config(vec![trip]), 0);
    (0..1_000).for_each(|at| breaker.call(at, How::Success));
    (0..4).for_each(|at| breaker.call(1_000 + at, FAILURE));
    assert_eq!(breaker.state(), State::Closed);
    breaker.call(2_000, FAILURE);
    assert_eq!(breaker.state(), State::Open);
    let counts = breaker.tripped[0].counts;
    assert_eq!((counts.calls, counts.failures), (10, 5));
}

#[test]
fn cb2_min_calls_below_the_window_is_honoured() {
    for least in 1..=10 {
        let trip = Trip::failure_rate(0.5)
            .over(Window::count(10))
            .min_calls(least);
        let mut breaker = Breaker::new(config(vec![trip]), 0);
        let tripped = (1..=10).find(|&at| {
            breaker.call(u64::from(at), FAILURE);
            breaker.state() == State::Open
        });
        assert_eq!(tripped, Some(least));
    }
}

#[test]
fn cb3_a_fast_success_that_completes_min_calls_evaluates_no_rule() {
    let trip = Trip::failure_rate(0.5).over(Window::count(10)).min_calls(4);
    let mut breaker = Breaker::new(config(vec![trip]), 0);
    for how in [FAILURE, FAILURE, FAILURE, How::Success] {
        breaker.call(0, how);
    }
    assert_eq!(breaker.state(), State::Closed);
    breaker.call(0, FAILURE);
    assert_eq!(breaker.state(), State::Open);
}

/// Opened at 0 by one failure, for ten milliseconds.
fn opened(change: impl FnOnce(&mut Config)) -> Breaker {
    let mut config = config(vec![Trip::consecutive_failures(1)]);
    change(&mut config);
    let mut breaker = Breaker::new(config, 0);
    breaker.call(0, FAILURE);
    assert_eq!(breaker.state(), State::Open);
    breaker
}

/// With this time until the probes are given up.
fn half_open_full(left: Duration) -> Result<Grant, Rejected> {
    rejected(State::HalfOpen, left)
}

fn due_in(wait: Duration) -> Result<Grant, Rejected> {
    rejected(State::Open, wait)
}

fn rejected(state: State, wait: Duration) -> Result<Grant, Rejected> {
    Err(Rejected::until(state, Tick::ZERO.after(wait), Tick::ZERO))
}

#[test]
fn cb9_open_says_to_the_nanosecond_when_the_next_probe_is_due() {
    let breaker = opened(|_| {});
    assert_eq!(breaker.admit(3 * MS), due_in(ms(7)));
    assert_eq!(breaker.admit(10 * MS - 1), due_in(Duration::from_nanos(1)));
    assert_eq!(
        breaker.admit(10 * MS).map(|grant| grant.role),
        Ok(Role::Probe)
    );
}

#[test]
fn cb6_half_open_closes_after_all_its_probes_or_opens_with_the_first_failure() {
    for failing in [None, Some(0), Some(1), Some(2)] {
        let mut breaker = opened(|_| {});
        let probes: Vec<_> = (0..3).map(|_| breaker.admit(10 * MS).unwrap()).collect();
        assert_eq!(breaker.admit(10 * MS), half_open_full(ms(30_000)));
        for (at, probe) in probes.into_iter().enumerate() {
            assert_eq!(
                breaker.state(),
                match failing {
                    Some(failing) if failing < at => State::Open,
                    _ => State::HalfOpen,
                }
            );
            let how = if failing == Some(at) {
                FAILURE
            } else {
                How::Success
            };
            breaker.end(probe, 11 * MS, how, Duration::ZERO);
        }
        let expected = if failing.is_some() {
            State::Open
        } else {
            State::Closed
        };
        assert_eq!(breaker.state(), expected);
    }
}

#[test]
fn cb6_two_of_three_successes_close_and_two_failures_open() {
    for (how, expected) in [(How::Success, State::Closed), (FAILURE, State::Open)] {
        let mut breaker = opened(|config| config.close_after = Some(2));
        let other = if how == FAILURE {
            How::Success
        } else {
            FAILURE
        };
        for how in [how, other] {
            breaker.call(10 * MS, how);
            assert_eq!(breaker.state(), State::HalfOpen);
        }
        breaker.call(10 * MS, how);
        assert_eq!(breaker.state(), expected);
    }
}

#[test]
fn cb6_a_slow_probe_is_a_failure_where_a_slow_rule_is_set() {
    let slow = Trip::slow_rate(0.5, ms(5)).over(Window::count(10));
    for (rules, expected) in [(vec![], State::HalfOpen), (vec![slow], State::Open)] {
        let mut breaker = opened(|config| config.trips.extend(rules));
        let probe = breaker.admit(10 * MS).unwrap();
        breaker.end(probe, 16 * MS, How::Success, ms(6));
        assert_eq!(breaker.state(), expected);
    }
}

#[test]
fn cb7_an_ignored_probe_frees_its_permit_and_closes_nothing() {
    let mut breaker = opened(|config| config.probes = 1);
    for _ in 0..1_000 {
        let probe = breaker.admit(10 * MS).unwrap();
        assert_eq!(breaker.admit(10 * MS), half_open_full(ms(30_000)));
        breaker.end(probe, 10 * MS, How::Ignore, Duration::ZERO);
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.call(10 * MS, How::Success);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn cb7_hung_probes_are_given_up_by_the_next_call() {
    let mut breaker = opened(|config| config.max_probe_time = Some(ms(100)));
    let mut hung = vec![breaker.admit(10 * MS).unwrap()];
    hung.extend((0..2).map(|_| breaker.admit(40 * MS).unwrap()));
    // No probe is given up before its time.
    assert_eq!(breaker.admit(110 * MS), half_open_full(ms(30)));
    let last = Duration::from_nanos(1);
    assert_eq!(breaker.admit(140 * MS - 1), half_open_full(last));
    // A second recovery that failed: twice as long.
    assert_eq!(breaker.admit(140 * MS), due_in(ms(20)));
    assert_eq!(breaker.state(), State::Open);
    // CB5
    for hung in hung {
        breaker.end(hung, 141 * MS, How::Success, Duration::ZERO);
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.machine.word().in_flight(), 0);
}

#[test]
fn cb7_a_hung_probe_counts_as_failed_and_others_may_still_close() {
    let mut breaker = opened(|config| {
        config.close_after = Some(2);
        config.max_probe_time = Some(ms(100));
    });
    let hung = breaker.admit(10 * MS).unwrap();
    breaker.call(20 * MS, How::Success);
    // It is given up before another permit is taken, so that its time has an end.
    let since = breaker.machine.timed_word().1;
    let transitions = || breaker.machine.control.lock().pending.len();
    let before = transitions();
    let probe = breaker.admit(125 * MS).unwrap();
    let word = breaker.machine.word();
    assert_eq!(
        (word.in_flight(), word.succeeded(), word.failed()),
        (1, 1, 1)
    );
    // It is still the same half-open state, but the late outcome changes nothing.
    assert_eq!(breaker.machine.timed_word().1, since);
    assert_eq!(transitions(), before);
    breaker.end(hung, 126 * MS, How::Success, Duration::ZERO);
    assert_eq!(breaker.machine.word(), word);
    breaker.end(probe, 127 * MS, How::Success, Duration::ZERO);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn cb7_half_open_never_ends_by_itself() {
    let breaker = opened(|config| config.probes = 1);
    let probe = breaker.admit(10 * MS).unwrap();
    let _ = breaker.take(11 * MS, |machine, at| {
        machine.end_probe(probe.generation, None, at)
    });
    // A year later.
    let year = 365 * 86_400_000 * MS;
    assert_eq!(breaker.admit(year).map(|grant| grant.role), Ok(Role::Probe));
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn cb7_a_change_of_the_probes_leaves_no_half_open_state_that_cannot_end() {
    // CB7, CB19: three have succeeded and two have failed, of ten of which five must succeed;
    // whatever a change needs then, the next call is a probe or ends the state.
    for probes in 1..=10 {
        for close_after in 1..=probes {
            let mut breaker = opened(|config| {
                config.probes = 10;
                config.close_after = Some(5);
            });
            for how in [How::Success, FAILURE, How::Success, FAILURE, How::Success] {
                breaker.call(10 * MS, how);
            }
            breaker.change_at(0, |config| {
                config.probes = probes;
                config.close_after = Some(close_after);
            });
            let peeked = breaker.machine.peek(Tick(10 * MS), breaker.config());
            let answer = breaker.admit(10 * MS);
            assert_eq!(peeked.is_ok(), answer.is_ok());
            let expected = match () {
                () if close_after <= 3 => State::Closed,
                () if close_after + 2 > probes => State::Open,
                () => State::HalfOpen,
            };
            assert_eq!(breaker.state(), expected, "{close_after} of {probes}");
            assert_eq!(answer.is_ok(), expected != State::Open);
        }
    }
}

#[test]
fn cb10_the_wait_grows_with_every_failed_recovery_and_resets_on_close() {
    let mut breaker = opened(|config| config.probes = 1);
    let mut now = 0;
    for wait in [10, 20, 40, 40] {
        assert_eq!(breaker.admit(now), due_in(ms(wait)));
        now += wait * MS;
        breaker.call(now, FAILURE);
    }
    breaker.call(now + 40 * MS, How::Success);
    assert_eq!(breaker.state(), State::Closed);
    breaker.call(now + 50 * MS, FAILURE);
    assert_eq!(breaker.admit(now + 50 * MS), due_in(ms(10)));
}

#[test]
fn cb10_retry_after_is_a_floor_up_to_its_cap() {
    for (delay, wait) in [(0, 10), (9, 10), (15, 15), (30, 30), (31, 30), (9_999, 30)] {
        let mut config = config(vec![Trip::consecutive_failures(1)]);
        config.retry_after_cap = ms(30);
        config.probes = 1;
        let mut breaker = Breaker::new(config, 0);
        let failure = How::Failure(Some(ms(delay)));
        breaker.call(0, failure);
        assert_eq!(breaker.admit(0), due_in(ms(wait)), "{delay}");
        // A probe too, above the longer wait of a failed recovery.
        let now = 1_000 * MS;
        breaker.call(now, failure);
        assert_eq!(breaker.admit(now), due_in(ms(wait.max(20))), "{delay}");
    }
}

#[test]
fn cb10_jitter_stays_within_its_bounds() {
    let mut config = config(vec![Trip::consecutive_failures(1)]);
    config.open_for = config.open_for.jitter(Jitter::Equal);
    for (fraction, least, most) in [(0.0, 5.0, 5.0), (0.5, 7.5, 7.5), (0.999_999, 9.9, 10.0)] {
        let mut breaker = Breaker::new(config.clone(), 0);
        let grant = breaker.admit(0).unwrap();
        breaker.end_at(grant, 0, FAILURE, Duration::ZERO, fraction);
        let machine = &breaker.machine;
        let wait = machine.timed_word().2.0 as f64 / 1e6;
        assert!((least..=most).contains(&wait), "{wait}");
    }
}

/// Since 10 ms, for 90.
fn recovering() -> Breaker {
    let mut breaker = opened(|config| {
        config.probes = 1;
        config.ramp = Some(Ramp {
            over: ms(90),
            reopen_at: 0.5,
        });
    });
    breaker.call(10 * MS, How::Success);
    breaker
}

#[test]
fn cb16_the_share_grows_from_a_tenth_to_all() {
    let breaker = recovering();
    assert_eq!(breaker.state(), State::Recovering);
    let admits = |at: u64, fraction| breaker.admit_at((10 + at) * MS, fraction).is_ok();
    for (at, share) in [(0, 0.1), (10, 0.2), (45, 0.55), (80, 0.9)] {
        assert!(admits(at, share - 0.001), "{at}");
        assert!(!admits(at, share + 0.001), "{at}");
    }
    assert!(admits(90, 0.999_999));
    assert_eq!(breaker.state(), State::Closed);
}

// CB16: found by the fuzzer, whose model draws the very share.
#[test]
fn cb16_the_share_is_rounded_once() {
    let breaker = recovering();
    for passed in (0..90 * MS).step_by(10_007) {
        let share = 0.1 + 0.9 * passed as f64 / (90 * MS) as f64;
        assert!(
            breaker.admit_at(10 * MS + passed, share).is_err(),
            "{passed}"
        );
    }
}

#[test]
fn cb16_a_failure_rate_above_the_threshold_opens_it_again() {
    let mut breaker = opened(|config| {
        config.ramp = Some(Ramp {
            over: ms(100),
            reopen_at: 0.5,
        });
    });
    breaker.change_at(0, |config| config.trips = vec![Trip::failures(100)]);
    (0..3).for_each(|_| breaker.call(10 * MS, How::Success));
    for how in [How::Success, FAILURE].repeat(10) {
        breaker.call(11 * MS, how);
        assert_eq!(breaker.state(), State::Recovering, "half is not above half");
    }
    breaker.call(11 * MS, FAILURE);
    assert_eq!(breaker.state(), State::Open);
    // A recovery that failed.
    assert_eq!(breaker.admit(11 * MS), due_in(ms(20)));
}

#[test]
fn cb16_a_ramp_that_a_change_has_removed_is_not_entered() {
    let mut breaker = opened(|config| {
        config.ramp = Some(Ramp {
            over: ms(100),
            reopen_at: 0.5,
        });
    });
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(10 * MS).unwrap()).collect();
    breaker.change_at(10 * MS, |config| config.ramp = None);
    for probe in probes {
        breaker.end(probe, 11 * MS, How::Success, Duration::ZERO);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn cb9_a_state_at_the_end_of_time_lasts_for_ever() {
    let mut breaker = opened(|_| {});
    assert!(breaker.admit(u64::MAX).is_ok());
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.call(u64::MAX, FAILURE);
    let rejected = breaker.admit(u64::MAX).unwrap_err();
    assert_eq!(
        (rejected.kind(), rejected.retry_after()),
        (RejectionKind::CircuitOpen, None)
    );
}

#[test]
fn cb6_the_parts_of_the_word_do_not_overlap() {
    let flags = Flags {
        times_calls: false,
        changed: true,
    };
    let word = Word::new(u32::MAX, State::Recovering, Mode::Off, flags);
    let parts = (word.generation(), word.state(), word.mode(), word.flags());
    assert_eq!(parts, (u32::MAX, State::Recovering, Mode::Off, flags));

    let mut breaker = opened(|config| config.probes = 255);
    breaker.machine.set_mode(Mode::RecordOnly);
    breaker.machine.set_flags(|| flags);
    let probes: Vec<_> = (0..256)
        .filter_map(|_| breaker.admit(10 * MS).ok())
        .collect();
    assert_eq!(
        (probes.len(), breaker.machine.word().in_flight()),
        (255, 255)
    );
    breaker.change_at(10 * MS, |config| config.close_after = Some(254));
    for (at, probe) in probes.into_iter().enumerate() {
        let (word, ended) = (breaker.machine.word(), at as u32);
        let probes = (word.succeeded(), word.in_flight(), word.failed());
        assert_eq!(probes, (ended.saturating_sub(1), 255 - ended, ended.min(1)));
        // The first of them fails, which leaves enough.
        let how = if at == 0 { FAILURE } else { How::Success };
        breaker.end(probe, 10 * MS, how, Duration::ZERO);
    }
    let word = breaker.machine.word();
    let parts = (word.state(), word.generation(), word.mode(), word.flags());
    assert_eq!(parts, (State::Closed, 3, Mode::RecordOnly, flags));
}

// CB5, CX14
#[test]
fn cb5_a_transition_is_taken_once_and_by_its_own_generation() {
    let breaker = opened(|_| {});
    let half_open = || breaker.take(10 * MS, |machine, at| machine.half_open(1, at));
    assert_eq!(half_open(), Edge::Taken);
    assert_eq!(half_open(), Edge::NotTaken);
    assert_eq!(breaker.take(10 * MS, Machine::release), Edge::NotTaken);
    assert_eq!(breaker.take(10 * MS, Machine::force_open), Edge::Taken);
    assert_eq!(breaker.take(10 * MS, Machine::force_open), Edge::NotTaken);
    assert_eq!(breaker.take(10 * MS, Machine::release), Edge::Taken);
    assert_eq!(breaker.take(10 * MS, Machine::reset), Edge::Taken);
    let emitted = std::cell::RefCell::new(Vec::new());
    let emit = |edge: &super::Transition| emitted.borrow_mut().push((edge.from, edge.to));
    breaker.machine.emit_pending(emit);
    breaker
        .machine
        .emit_pending(|_| unreachable!("each is emitted once"));
    use State::{Closed, ForcedOpen, HalfOpen, Open};
    let expected = [
        (Closed, Open),
        (Open, HalfOpen),
        (HalfOpen, ForcedOpen),
        (ForcedOpen, Closed),
        (Closed, Closed),
    ];
    assert_eq!(*emitted.borrow(), expected);
}

// CX14: what panics is a subscriber of `tracing`; the panic of a listener is caught before.
#[test]
fn cx14_a_panic_while_a_transition_is_emitted_loses_no_later_one() {
    let breaker = opened(|_| {});
    let machine = &breaker.machine;
    crate::testing::catching(|| machine.emit_pending(|_| panic!())).unwrap_err();
    let _ = breaker.take(10 * MS, Machine::force_open);
    let emitted = std::cell::Cell::new(0);
    machine.emit_pending(|edge| {
        assert_eq!(edge.to, State::ForcedOpen);
        emitted.set(emitted.get() + 1);
    });
    assert_eq!(emitted.get(), 1);
}
