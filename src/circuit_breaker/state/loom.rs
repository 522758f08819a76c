use std::time::Duration;

use ::loom::thread;

use super::*;
use crate::backoff::Jitter;
use crate::circuit_breaker::trip::Trip;
use crate::sync::Arc;

fn config(probes: u32) -> Config {
    Config {
        trips: vec![Trip::consecutive_failures(1)],
        open_for: crate::backoff::Backoff::constant(Duration::from_nanos(100)).jitter(Jitter::None),
        half_open_for: Duration::from_nanos(1_000),
        probes,
        ..Config::default()
    }
}

fn machine() -> Machine {
    Machine::new(Tick(0), Mode::Enforce, Flags::default())
}

fn go(machine: &Machine, config: &Config, now: u64, from: Option<u32>, to: State) -> bool {
    let timing = Timing {
        config,
        fraction: 0.0,
        retry_after: None,
        before: |due| Count(due.0),
    };
    let step = Step {
        from,
        to,
        cause: Cause::Reset,
        timing,
    };
    machine.enter(&mut machine.control.lock(), Tick(now), step, |_| {})
}

#[test]
fn a_refusal_tells_the_time_of_its_own_era() {
    ::loom::model(|| {
        let machine = Arc::new(machine());
        let config = Arc::new(config(1));
        let mover = {
            let (machine, config) = (Arc::clone(&machine), Arc::clone(&config));
            thread::spawn(move || {
                // Open until 110, half-open until 1,200, open until 400.
                assert!(go(&machine, &config, 10, None, State::Open));
                assert!(go(&machine, &config, 200, None, State::HalfOpen));
                assert!(go(&machine, &config, 300, None, State::Open));
            })
        };
        let (word, since, due) = machine.timed_word();
        let expected = match word.generation() {
            0 => (State::Closed, 0, u64::MAX),
            1 => (State::Open, 10, 110),
            2 => (State::HalfOpen, 200, 1_200),
            _ => (State::Open, 300, 400),
        };
        assert_eq!((word.state(), since.0, due.0), expected);
        mover.join().unwrap();
    });
}

#[test]
fn a_count_is_compared_with_the_time_of_its_own_era() {
    ::loom::model(|| {
        let machine = Arc::new(machine());
        let config = Arc::new(config(1));
        assert!(go(&machine, &config, 10, None, State::Open));
        let mover = {
            let (machine, config) = (Arc::clone(&machine), Arc::clone(&config));
            thread::spawn(move || {
                // Open until 110, half-open until 1,200, open until 400.
                assert!(go(&machine, &config, 200, None, State::HalfOpen));
                assert!(go(&machine, &config, 300, None, State::Open));
            })
        };
        if machine.is_open_at(Count(350)) {
            assert_eq!(machine.word().generation(), 3);
        }
        mover.join().unwrap();
        assert!(machine.is_open_at(Count(399)));
        assert!(!machine.is_open_at(Count(400)));
    });
}

#[test]
fn one_generation_is_left_once() {
    ::loom::model(|| {
        let machine = Arc::new(machine());
        let config = Arc::new(config(1));
        let leave = |to| {
            let (machine, config) = (Arc::clone(&machine), Arc::clone(&config));
            move || go(&machine, &config, 5, Some(0), to)
        };
        let other = thread::spawn(leave(State::Open));
        let mine = leave(State::ForcedOpen)();
        // Slots and modes are changed meanwhile, without the state coming loose.
        machine.set(&mut machine.control.lock(), Some(Mode::RecordOnly), None);
        let theirs = other.join().unwrap();
        assert!(mine != theirs, "{mine} {theirs}");
        let word = machine.word();
        assert_eq!((word.generation(), word.mode()), (1, Mode::RecordOnly));
        assert_eq!(machine.control.lock().untold.len(), 1);
    });
}

#[test]
fn probes_never_exceed_their_number() {
    // Of two, one is given back beside the other.
    for probes in [1, 2] {
        ::loom::model(move || {
            let machine = Arc::new(machine());
            let config = Arc::new(config(probes));
            assert!(go(&machine, &config, 10, None, State::HalfOpen));
            let out = Arc::new(AtomicU64::new(0));
            let probe = || {
                let (machine, config) = (Arc::clone(&machine), Arc::clone(&config));
                let out = Arc::clone(&out);
                move || {
                    let Answer::Admitted(ticket) = machine.admit(Tick(20), &config, || 0.0) else {
                        return;
                    };
                    assert!(out.fetch_add(1, Ordering::Relaxed) < u64::from(probes));
                    out.fetch_sub(1, Ordering::Relaxed);
                    assert_eq!(machine.end_probe(ticket, None, &config), None);
                }
            };
            let others = [thread::spawn(probe()), thread::spawn(probe())];
            probe()();
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(machine.word().in_flight(), 0);
        });
    }
}

#[test]
fn a_late_outcome_changes_nothing() {
    ::loom::model(|| {
        let machine = Arc::new(machine());
        let config = Arc::new(config(2));
        assert!(go(&machine, &config, 10, None, State::HalfOpen));
        let Answer::Admitted(ticket) = machine.admit(Tick(20), &config, || 0.0) else {
            unreachable!()
        };
        let mover = {
            let (machine, config) = (Arc::clone(&machine), Arc::clone(&config));
            thread::spawn(move || {
                // Half-open once more, with a probe of its own.
                assert!(go(&machine, &config, 3_000, None, State::HalfOpen));
                let answer = machine.admit(Tick(3_001), &config, || 0.0);
                assert!(matches!(answer, Answer::Admitted(_)), "{answer:?}");
            })
        };
        assert_eq!(machine.end_probe(ticket, Some(Ok(())), &config), None);
        mover.join().unwrap();
        let word = machine.word();
        let probes = (word.in_flight(), word.succeeded(), word.failed());
        assert_eq!((word.generation(), probes), (2, (1, 0, 0)));
    });
}

#[test]
fn a_change_of_the_mode_loses_no_slot() {
    ::loom::model(|| {
        let machine = Arc::new(machine());
        let config = Arc::new(config(2));
        assert!(go(&machine, &config, 10, None, State::HalfOpen));
        let changer = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || {
                machine.set(&mut machine.control.lock(), Some(Mode::RecordOnly), None);
            })
        };
        let answer = machine.admit(Tick(20), &config, || 0.0);
        assert!(matches!(answer, Answer::Admitted(_)), "{answer:?}");
        changer.join().unwrap();
        let word = machine.word();
        assert_eq!((word.in_flight(), word.mode()), (1, Mode::RecordOnly));
    });
}
