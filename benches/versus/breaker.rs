//! A breaker's core: a permit for a call, and its success.

use std::time::Duration;

use failsafe::{CircuitBreaker as _, FailurePolicy, StateMachine, backoff, failure_policy};
use recloser::Recloser;
use seawall::{Backoff, CircuitBreaker, Trip, Window};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};

use crate::floor::{COUNTER, counter};

const HOUR: Duration = Duration::from_secs(3_600);

/// A rate over the last 100 calls: it reads no clock and has no time window.
fn recloser(open: bool) -> Contender {
    let breaker = Recloser::custom().error_rate(0.5).open_wait(HOUR).build();
    if open {
        // It judges only a full ring.
        (0..200).for_each(|_| drop(breaker.call(|| Err::<(), ()>(()))));
    }
    Contender::shared(Kind::Peer, "recloser", move |n| {
        (0..n)
            .map(|_| u64::from(breaker.call(|| Ok::<_, ()>(())).is_err() == open))
            .sum()
    })
}

fn failsafe<P>(policy: P, open: bool) -> Contender
where
    P: FailurePolicy + Send + 'static,
{
    let breaker: StateMachine<P, ()> = StateMachine::new(policy, ());
    if open {
        (0..10).for_each(|_| drop(breaker.call(|| Err::<(), ()>(()))));
    }
    Contender::shared(Kind::Peer, "failsafe", move |n| {
        (0..n)
            .map(|_| u64::from(breaker.call(|| Ok::<_, ()>(())).is_err() == open))
            .sum()
    })
}

fn ours(name: &'static str, breaker: CircuitBreaker) -> Contender {
    Contender::shared(Kind::Ours, name, move |n| {
        let mut admitted = 0;
        for _ in 0..n {
            if let Ok(permit) = breaker.try_acquire() {
                permit.success();
                admitted += 1;
            }
        }
        admitted
    })
}

fn consecutive() -> Vec<Contender> {
    let peer = failure_policy::consecutive_failures(5, backoff::constant(HOUR));
    let rule = Trip::consecutive_failures(5);
    let breaker = CircuitBreaker::builder("consecutive").trip_on(rule);
    vec![
        failsafe(peer, false),
        ours("seawall", breaker.build().unwrap()),
    ]
}

/// Seawall and failsafe over 10 s.
fn over_time() -> Vec<Contender> {
    let secs = Duration::from_secs;
    let backoff = backoff::constant(HOUR);
    let peer = failure_policy::success_rate_over_time_window(0.5, 20, secs(10), backoff);
    let rule = Trip::failure_rate(0.5).over(Window::time(secs(10)));
    let breaker = CircuitBreaker::builder("over time").trip_on(rule.min_calls(20));
    vec![
        counter(),
        recloser(false),
        failsafe(peer, false),
        ours("seawall", breaker.build().unwrap()),
        // Consecutive failures beside the rate.
        ours("seawall, default rules", CircuitBreaker::new("default")),
    ]
}

fn open() -> Vec<Contender> {
    let peer = failure_policy::consecutive_failures(5, backoff::constant(HOUR));
    let breaker = CircuitBreaker::builder("open")
        .trip_on(Trip::consecutive_failures(1))
        .open_for(Backoff::constant(HOUR))
        .build()
        .unwrap();
    breaker.try_acquire().unwrap().failure();
    vec![
        recloser(true),
        failsafe(peer, true),
        // Like the others: only that it is rejected.
        Contender::shared(Kind::Ours, "seawall", {
            let breaker = breaker.clone();
            move |n| (0..n).map(|_| u64::from(breaker.allow().is_none())).sum()
        }),
        // With the rejection: the policy's name, and when to retry.
        Contender::shared(Kind::Ours, "seawall try_acquire", move |n| {
            (0..n)
                .map(|_| u64::from(breaker.try_acquire().is_err()))
                .sum()
        }),
    ]
}

pub(crate) fn run(report: &mut Report) {
    let goal = |limit| {
        vec![Goal {
            of: "seawall",
            limit,
        }]
    };
    let recloser = |times| goal(Limit::Times(times, &["recloser"]));
    let mut group = |name: &str, threads, admitted, contenders: fn() -> _, goals| {
        let name = format!("breaker {name}, {threads} thr");
        report.group(&name, || Group {
            threads,
            admitted,
            contenders: contenders(),
            goals,
            ..Group::new()
        });
    };
    group("consecutive", 1, true, consecutive, goal(Limit::Nanos(3.0)));
    group("consecutive", 2, true, consecutive, Vec::new());
    let close = Limit::OneOf(&[
        Limit::Times(0.95, &["recloser"]),
        Limit::Above(3.0, COUNTER),
    ]);
    group("rate over time", 1, true, over_time, goal(close));
    group("rate over time", 2, true, over_time, recloser(0.15));
    group("open", 1, false, open, recloser(0.4));
    group("open", 2, false, open, Vec::new());
}
