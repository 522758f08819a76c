use std::time::Duration;

use ::loom::thread;

use super::admission::{Grant, Rejected, Role};
use super::machine::Machine;
use super::transition::{Edge, Moment};
use super::word::{Flags, State};
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::config::Config;
use crate::circuit_breaker::counts::Counts;
use crate::circuit_breaker::rules::{Rules, Tripped};
use crate::circuit_breaker::trip::Trip;
use crate::config::Mode;
use crate::outcome::FailureKind;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Tick;

/// A machine and its rules: open for 100, a probe for at most 1,000.
struct Breaker {
    machine: Machine,
    rules: Rules,
}

fn breaker(probes: u32) -> Arc<Breaker> {
    let config = Config {
        trips: vec![Trip::consecutive_failures(1)],
        open_for: Backoff::constant(Duration::from_nanos(100)).jitter(Jitter::None),
        max_probe_time: Some(Duration::from_nanos(1_000)),
        probes,
        ..Config::default()
    };
    Arc::new(Breaker {
        machine: Machine::new(Tick(0), Mode::Enforce, Flags::default()),
        rules: Rules::new(config, 0, Tick(0), None),
    })
}

impl Breaker {
    fn at<T>(&self, now: u64, decide: impl FnOnce(&Machine, &Moment<'_>) -> T) -> T {
        let moment = Moment {
            now: Tick(now),
            rules: &self.rules,
            random: &|| 0.0,
        };
        decide(&self.machine, &moment)
    }

    fn trip(&self, now: u64, from: u32) -> Edge {
        let tripped = Tripped {
            rule: String::new(),
            counts: Counts::default(),
            kind: FailureKind::Error,
            retry_after: None,
            error: None,
        };
        self.at(now, |machine, at| machine.trip(from, tripped, at))
    }

    fn half_open(&self, now: u64, from: u32) {
        let edge = self.at(now, |machine, at| machine.half_open(from, at));
        assert_eq!(edge, Edge::Taken);
    }

    fn admit(&self, now: u64) -> Result<Grant, Rejected> {
        self.at(now, Machine::admit).0
    }

    fn end(
        &self,
        now: u64,
        probe: Grant,
        result: Option<Result<(), (FailureKind, Option<Duration>)>>,
    ) -> Edge {
        self.at(now, |machine, at| {
            machine.end_probe(probe.generation, result, at)
        })
    }
}

#[test]
fn a_rejection_has_the_time_of_its_own_generation() {
    ::loom::model(|| {
        let breaker = breaker(1);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || {
                // Open until 110, half-open, open until 400.
                assert_eq!(breaker.trip(10, 0), Edge::Taken);
                breaker.half_open(200, 1);
                let failed = |machine: &Machine, at: &Moment<'_>| {
                    machine.reopen(2, FailureKind::Error, None, at)
                };
                assert_eq!(breaker.at(300, failed), Edge::Taken);
            })
        };
        let (word, since, due) = breaker.machine.timed_word();
        let expected = match word.generation() {
            0 => (State::Closed, 0, u64::MAX),
            1 => (State::Open, 10, 110),
            2 => (State::HalfOpen, 200, u64::MAX),
            _ => (State::Open, 300, 400),
        };
        assert_eq!((word.state(), since.0, due.0), expected);
        other.join().unwrap();
    });
}

#[test]
fn one_generation_is_left_once() {
    ::loom::model(|| {
        let breaker = breaker(1);
        let trip = || {
            let breaker = Arc::clone(&breaker);
            move || breaker.trip(5, 0) == Edge::Taken
        };
        let other = thread::spawn(trip());
        let mine = trip()();
        // The mode changes meanwhile, and the state stays.
        breaker.machine.set_mode(Mode::RecordOnly);
        let theirs = other.join().unwrap();
        assert!(mine != theirs, "{mine} {theirs}");
        let word = breaker.machine.word();
        assert_eq!((word.generation(), word.mode()), (1, Mode::RecordOnly));
        assert_eq!(breaker.machine.control.lock().pending.len(), 1);
    });
}

#[test]
fn probes_never_exceed_their_number() {
    // With two, one is released beside the other.
    for probes in [1, 2] {
        ::loom::model(move || {
            let breaker = breaker(probes);
            assert_eq!(breaker.trip(0, 0), Edge::Taken);
            breaker.half_open(10, 1);
            let in_flight = Arc::new(AtomicU64::new(0));
            let probe = || {
                let (breaker, in_flight) = (Arc::clone(&breaker), Arc::clone(&in_flight));
                move || {
                    let Ok(probe) = breaker.admit(20) else {
                        return;
                    };
                    assert!(in_flight.fetch_add(1, Ordering::Relaxed) < u64::from(probes));
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                    assert_eq!(breaker.end(20, probe, None), Edge::NotTaken);
                }
            };
            let others = [thread::spawn(probe()), thread::spawn(probe())];
            probe()();
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(breaker.machine.word().in_flight(), 0);
        });
    }
}

#[test]
fn a_late_outcome_changes_nothing() {
    ::loom::model(|| {
        let breaker = breaker(2);
        assert_eq!(breaker.trip(0, 0), Edge::Taken);
        breaker.half_open(10, 1);
        let late = breaker.admit(20).unwrap();
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || {
                // Half-open once more, with a probe of its own.
                let failed = |machine: &Machine, at: &Moment<'_>| {
                    machine.reopen(2, FailureKind::Error, None, at)
                };
                assert_eq!(breaker.at(1_010, failed), Edge::Taken);
                breaker.half_open(3_000, 3);
                breaker.admit(3_001).unwrap();
            })
        };
        assert_eq!(breaker.end(20, late, Some(Ok(()))), Edge::NotTaken);
        other.join().unwrap();
        let word = breaker.machine.word();
        let probes = (word.in_flight(), word.succeeded(), word.failed());
        assert_eq!((word.generation(), probes), (4, (1, 0, 0)));
    });
}

#[test]
fn a_change_of_the_mode_loses_no_probe_permit() {
    ::loom::model(|| {
        let breaker = breaker(2);
        assert_eq!(breaker.trip(0, 0), Edge::Taken);
        breaker.half_open(10, 1);
        let changer = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.machine.set_mode(Mode::RecordOnly))
        };
        breaker.admit(20).unwrap();
        changer.join().unwrap();
        let word = breaker.machine.word();
        assert_eq!((word.in_flight(), word.mode()), (1, Mode::RecordOnly));
    });
}

/// A probe that ends meanwhile is counted by its outcome or given up, not both. One that starts
/// meanwhile is never given up, though the word looks the same as before.
#[test]
fn a_probe_is_given_up_or_ends() {
    for result in [Some(Ok(())), None] {
        ::loom::model(move || {
            let breaker = breaker(1);
            assert_eq!(breaker.trip(0, 0), Edge::Taken);
            breaker.half_open(10, 1);
            let hung = breaker.admit(20).unwrap();
            let other = {
                let breaker = Arc::clone(&breaker);
                thread::spawn(move || breaker.admit(1_020).map(drop))
            };
            let ended = breaker.end(1_020, hung, result);
            let probe = (result.is_none())
                .then(|| breaker.admit(1_020).ok())
                .flatten()
                .filter(|grant| grant.role == Role::Probe);
            let admitted = other.join().unwrap().is_ok();
            let word = breaker.machine.word();
            match word.state() {
                State::Closed => assert!(admitted),
                // Its permit was free, and is taken by one of the two.
                State::HalfOpen => {
                    assert_eq!((word.in_flight(), word.failed()), (1, 0));
                    assert!(probe.is_some() != admitted);
                }
                _ => {
                    assert_eq!(ended, Edge::NotTaken);
                    assert!(probe.is_none() && !admitted);
                }
            }
        });
    }
}

/// A reader that sees the permit of a probe sees its time.
#[test]
fn no_rejection_gives_a_probe_up_before_its_time() {
    ::loom::model(|| {
        let breaker = breaker(1);
        assert_eq!(breaker.trip(0, 0), Edge::Taken);
        breaker.half_open(10, 1);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || {
                // The time that was stored before is over.
                breaker.admit(5_000).unwrap();
            })
        };
        let config = &breaker.rules.config;
        if let Err(rejected) = breaker.machine.peek(Tick(5_000), config) {
            assert_eq!(rejected.retry_after(), Some(Duration::from_nanos(1_000)));
        }
        other.join().unwrap();
    });
}
