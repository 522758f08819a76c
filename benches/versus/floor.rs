//! Lower bounds.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use seawall_benches::{Contender, Group, Kind, Report};

fn each(name: &'static str, mut run: impl FnMut() + 'static) -> Contender {
    Contender::alone(Kind::Floor, name, move |n| {
        for _ in 0..n {
            run();
        }
        n
    })
}

pub(crate) const COUNTER: &str = "a counter reading";
pub(crate) const COUNTER_AND_LOAD: &str = "counter and load";
pub(crate) const COUNTER_AND_EXCHANGE: &str = "counter and compare_exchange";

/// The lower bound of a policy that reads the time.
pub(crate) fn counter() -> Contender {
    let clock = quanta::Clock::new();
    Contender::shared(Kind::Floor, COUNTER, move |n| {
        for _ in 0..n {
            black_box(clock.raw());
        }
        n
    })
}

/// The lower bound of a bucket that rejects: it reads the time and its state.
pub(crate) fn counter_and_load() -> Contender {
    let clock = quanta::Clock::new();
    let state = AtomicU64::new(0);
    Contender::shared(Kind::Floor, COUNTER_AND_LOAD, move |n| {
        for _ in 0..n {
            black_box(clock.raw());
            black_box(state.load(Ordering::Relaxed));
        }
        n
    })
}

/// The lower bound of an exact bucket that admits: it also changes its state.
pub(crate) fn counter_and_exchange() -> Contender {
    let clock = quanta::Clock::new();
    let state = AtomicU64::new(0);
    Contender::shared(Kind::Floor, COUNTER_AND_EXCHANGE, move |n| {
        for _ in 0..n {
            black_box(clock.raw());
            let order = Ordering::Relaxed;
            let next = |was: u64| Some(was.wrapping_add(1));
            let _ = black_box(state.fetch_update(order, order, next));
        }
        n
    })
}

pub(crate) fn run(report: &mut Report) {
    report.group("floor", || {
        let (a, b, c) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let clock = quanta::Clock::new();
        let arc = Arc::new(7);
        Group {
            contenders: vec![
                each("atomic load", move || {
                    black_box(a.load(Ordering::Relaxed));
                }),
                each("fetch_add", move || {
                    black_box(b.fetch_add(1, Ordering::Relaxed));
                }),
                each("load and compare_exchange", move || {
                    let was = c.load(Ordering::Relaxed);
                    let order = Ordering::Relaxed;
                    let _ = black_box(c.compare_exchange(was, was + 1, order, order));
                }),
                each("raw counter", move || {
                    black_box(clock.raw());
                }),
                each("Instant::now", || {
                    black_box(Instant::now());
                }),
                each("Arc, clone and drop", move || drop(black_box(arc.clone()))),
            ],
            ..Group::new()
        }
    });
}
