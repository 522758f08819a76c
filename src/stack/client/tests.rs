use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::{ClientConfig, ClientService, ClientStack};
use crate::circuit_breaker;
use crate::circuit_breaker::{State, Trip, Window};
use crate::classify::{FailureKind, Outcome, Standard};
use crate::rejection::{Reason, Rejection, RejectionKind};
use crate::service::Native;
use crate::sync::Arc;
use crate::testing::{ms, secs};
use crate::{Backoff, Budget, CircuitBreaker, Mode, Quota, RateLimiter, Retry};

#[derive(Clone)]
struct Call(&'static str);

crate::resend!(Call);
crate::authority!(Call, |call| Some(call.0));

/// A request that must not be sent twice and has no authority.
#[derive(Clone)]
struct Post;

crate::resend!(Post, |_| false);
crate::authority!(Post);

fn failing() -> impl Service<Call, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|_: Call| async { Err::<u32, BoxError>("it failed".into()) })
}

/// The invalid fields of a configuration.
fn fields(config: ClientConfig) -> Vec<String> {
    let error = config.build().unwrap_err();
    let problems = error.problems().iter();
    problems.map(|problem| problem.field.clone()).collect()
}

// CX15, CB14
#[test]
fn cx15_the_defaults_are_as_documented() {
    let stack = ClientStack::new("defaults");
    assert_eq!(stack.total_timeout().limit(), secs(10));
    assert_eq!(stack.attempt_timeout().limit(), secs(3));
    let retry = stack.retry().snapshot();
    let own = Retry::new(Backoff::exponential(ms(50))).snapshot();
    assert_eq!(retry, own);
    assert_eq!((retry.max_attempts, retry.mode), (3, Mode::Enforce));
    let budget = stack.budgets().get("a").snapshot();
    assert_eq!((budget.ratio, budget.balance), (0.5, 10.0));
    assert_eq!(stack.hedge().mode(), Mode::Off);
    assert_eq!(stack.limiter().mode(), Mode::Off);
    assert_eq!(stack.bulkheads().capacity(), 10_000);
    assert_eq!(stack.breakers().capacity(), 10_000);
    for bulkhead in [
        stack.bulkheads().get("a"),
        stack.bulkheads().anonymous().clone(),
        stack.bulkheads().overflow().clone(),
    ] {
        let bulkhead = bulkhead.snapshot();
        assert_eq!((bulkhead.limit, bulkhead.queue), (100, Some(0)));
        assert_eq!(bulkhead.mode, Mode::Enforce);
    }
    let plain: Vec<_> = rules(&CircuitBreaker::new("plain"));
    for breaker in [
        stack.breakers().get("a"),
        stack.breakers().anonymous().clone(),
        stack.breakers().overflow().clone(),
    ] {
        assert_eq!(rules(&breaker), plain);
        assert_eq!(fair_time(&breaker), Some(ms(1_500)));
        assert_eq!(max_probe_time(&breaker), Some(secs(4)));
    }
}

fn rules(breaker: &CircuitBreaker) -> Vec<String> {
    let rules = breaker.snapshot().rules;
    rules.into_iter().map(|rule| rule.rule).collect()
}

fn fair_time(breaker: &CircuitBreaker) -> Option<Duration> {
    setting(breaker, circuit_breaker::Builder::least_fair_time)
}

fn max_probe_time(breaker: &CircuitBreaker) -> Option<Duration> {
    setting(breaker, circuit_breaker::Builder::longest_probe)
}

fn setting<T: Default>(breaker: &CircuitBreaker, of: fn(&circuit_breaker::Builder) -> T) -> T {
    let setting = std::cell::Cell::new(T::default());
    let look = breaker.change(|now| {
        setting.set(of(&now));
        now
    });
    look.unwrap();
    setting.take()
}

#[test]
fn cx18_every_part_is_named_after_the_stack() {
    let stack = ClientStack::new("pay");
    assert_eq!(&**stack.name(), "pay");
    assert_eq!(&**stack.total_timeout().name(), "pay.total_timeout");
    assert_eq!(&**stack.attempt_timeout().name(), "pay.attempt_timeout");
    assert_eq!(&**stack.retry().name(), "pay.retry");
    assert_eq!(&**stack.hedge().name(), "pay.hedge");
    assert_eq!(&**stack.budgets().name(), "pay.budget");
    assert_eq!(&**stack.budgets().get("a:1").name(), "pay.budget@a:1");
    assert_eq!(&**stack.limiter().name(), "pay.rate_limit");
    assert_eq!(&**stack.breakers().name(), "pay.breaker");
    assert_eq!(&**stack.breakers().get("a:1").name(), "pay.breaker@a:1");
    assert_eq!(&**stack.bulkheads().name(), "pay.bulkhead");
    assert_eq!(&**stack.bulkheads().get("a:1").name(), "pay.bulkhead@a:1");
}

#[test]
fn cx15_each_contradiction_is_reported_with_its_field() {
    let config = || ClientStack::builder("bad");
    let rejected = |config: ClientConfig, field: &str| assert_eq!(fields(config), [field]);
    rejected(config().total_timeout(secs(0)), "total_timeout");
    rejected(config().attempt_timeout(secs(0)), "attempt_timeout");
    rejected(
        config().attempt_timeout(secs(4)).total_timeout(ms(3_999)),
        "attempt_timeout",
    );
    rejected(
        config().retry(|retry| retry.backoff(Backoff::constant(secs(5)))),
        "retry.backoff",
    );
    rejected(
        config().retry(|retry| {
            retry
                .backoff(Backoff::linear(ms(1)).max(ms(5)))
                .max_attempts(u32::MAX)
        }),
        "retry.backoff",
    );
    let time = |length| Trip::failure_rate(0.5).over(Window::time(length));
    let trip = |trip| config().breaker(|breaker| breaker.trip_on(trip));
    rejected(trip(time(ms(2_999))), "breaker.window");
    let within = Trip::consecutive_failures(5).within(ms(2_999));
    rejected(trip(within), "breaker.within");
    rejected(trip(Trip::failures(5).within(ms(2_999))), "breaker.within");
    let slow = Trip::slow_rate(0.5, secs(3)).over(Window::count(10));
    rejected(trip(slow), "breaker.slow_rate");
    rejected(
        config().breaker(|breaker| breaker.max_probe_time(ms(2_999))),
        "breaker.max_probe_time",
    );
    rejected(
        config().breaker(|breaker| breaker.fair_time(ms(3_001))),
        "breaker.fair_time",
    );
    rejected(
        config().bulkhead(|bulkhead| bulkhead.queue(1).max_wait(ms(10_001))),
        "bulkhead.max_wait",
    );
    rejected(
        config().bulkhead(|bulkhead| bulkhead.unbounded_queue().max_wait(ms(10_001))),
        "bulkhead.max_wait",
    );
    rejected(config().hedge(|hedge| hedge.delay(secs(3))), "hedge.delay");
    rejected(
        config().hedge(|hedge| hedge.min_delay(secs(3))),
        "hedge.min_delay",
    );
    rejected(config().authorities(0), "authorities");
}

#[test]
fn cx15_values_at_their_limits_are_valid() {
    let config = || ClientStack::builder("good");
    let valid = |config: ClientConfig| drop(config.build().unwrap());
    valid(config().attempt_timeout(secs(4)).total_timeout(secs(4)));
    valid(config().retry(|retry| retry.backoff(Backoff::constant(ms(4_999)))));
    // There is no retry, so there is no backoff.
    valid(config().retry(|retry| {
        let backoff = Backoff::constant(secs(60));
        retry.backoff(backoff).max_attempts(1)
    }));
    valid(config().breaker(|breaker| {
        breaker
            .trip_on(Trip::failure_rate(0.5).over(Window::time(secs(3))))
            .trip_on(Trip::failure_rate(0.5).over(Window::count(10)))
            .trip_on(Trip::consecutive_failures(5))
            .trip_on(Trip::failures(5).within(secs(3)))
            .trip_on(Trip::slow_rate(0.5, ms(2_999)).over(Window::count(10)))
            .max_probe_time(secs(3))
            .fair_time(secs(3))
    }));
    valid(config().bulkhead(|bulkhead| bulkhead.queue(1).max_wait(secs(10))));
    // There is no queue.
    valid(config().bulkhead(|bulkhead| bulkhead.max_wait(secs(60))));
    valid(config().hedge(|hedge| hedge.delay(ms(2_999))));
    // The hedge is off.
    valid(config().hedge(|hedge| hedge.delay(secs(60))).no_hedge());
}

#[test]
fn cx15_all_problems_are_reported_at_once() {
    let config = ClientStack::builder("bad")
        .total_timeout(secs(1))
        .attempt_timeout(secs(2))
        .authorities(0)
        .rate_limit(Quota::new(1, secs(0)))
        .retry(|retry| retry.max_attempts(0).backoff(Backoff::constant(secs(0))))
        .hedge(|hedge| hedge.quantile(2.0).min_samples(0))
        .breaker(|breaker| breaker.probes(0).max_probe_time(secs(1)))
        .bulkhead(|bulkhead| bulkhead.limit(2_000_000).queue(1).max_wait(secs(2)));
    let error = config.clone().build().unwrap_err();
    assert_eq!(&**error.policy(), "bad");
    assert_eq!(
        fields(config),
        [
            "authorities",
            "rate_limit.period",
            "retry.backoff",
            "retry.max_attempts",
            "hedge.quantile",
            "hedge.min_samples",
            "breaker.probes",
            "bulkhead.limit",
            "attempt_timeout",
            "bulkhead.max_wait",
            "breaker.max_probe_time",
        ]
    );
    let text = error.to_string();
    let part = "invalid `attempt_timeout`: 2s (must be at most the total_timeout of 1s)";
    assert!(text.contains(part), "{text}");
}

// CX1
#[tokio::test]
async fn cx1_services_of_a_stack_and_of_its_clones_share_its_state() {
    let stack = ClientStack::new("shared");
    let mut one = stack.layer(failing());
    let two = stack.clone().layer(failing());
    stack.breakers().get("a").force_open();
    for service in [&mut one, &mut two.clone()] {
        let error = service.ready().await.unwrap().call(Call("a")).await;
        let error = error.unwrap_err();
        let reason = Reason::of(&*error).unwrap();
        assert_eq!(reason.kind(), RejectionKind::CircuitOpen);
        assert_eq!(&**reason.policy(), "shared.breaker@a");
        let error = service.ready().await.unwrap().call(Call("b")).await;
        assert_eq!(error.unwrap_err().to_string(), "it failed");
    }
}

// CX19
#[tokio::test(start_paused = true)]
async fn cx19_a_change_reaches_existing_and_new_authorities_and_running_services() {
    let stack = ClientStack::new("live");
    let hanging = service_fn(|_: Call| std::future::pending::<Result<u32, BoxError>>());
    let service = stack.layer(hanging);
    let existing = (
        stack.breakers().get("existing"),
        stack.bulkheads().get("existing"),
    );
    let change = stack.change(|now| {
        now.total_timeout(ms(900))
            .attempt_timeout(ms(400))
            .retry(|retry| retry.max_attempts(2).backoff(Backoff::constant(ms(1))))
            .hedge(|hedge| hedge.delay(ms(300)).max_extra(2))
            .breaker(|breaker| {
                breaker
                    .trips([Trip::consecutive_failures(2)])
                    .mode(Mode::RecordOnly)
            })
            .bulkhead(|bulkhead| bulkhead.limit(7).queue(3).max_wait(ms(50)).lifo())
            .rate_limit(Quota::per_second(9))
    });
    change.unwrap();
    let breakers = [
        existing.0,
        stack.breakers().get("new"),
        stack.breakers().anonymous().clone(),
        stack.breakers().overflow().clone(),
    ];
    for breaker in breakers {
        assert_eq!(rules(&breaker), ["2 consecutive failures"]);
        assert_eq!(fair_time(&breaker), Some(ms(200)));
        assert_eq!(breaker.mode(), Mode::RecordOnly);
    }
    let bulkheads = [
        existing.1,
        stack.bulkheads().get("new"),
        stack.bulkheads().anonymous().clone(),
        stack.bulkheads().overflow().clone(),
    ];
    for bulkhead in bulkheads {
        let bulkhead = bulkhead.snapshot();
        assert_eq!((bulkhead.limit, bulkhead.queue), (7, Some(3)));
        assert_eq!(bulkhead.max_wait, ms(50));
        assert_eq!(bulkhead.order, crate::bulkhead::Order::Lifo);
    }
    assert_eq!(stack.limiter().quota(), Quota::per_second(9));
    assert_eq!(stack.limiter().mode(), Mode::Enforce);
    let hedge = stack.hedge().snapshot();
    assert_eq!((hedge.delay, hedge.max_extra), (Some(ms(300)), 2));
    assert_eq!(hedge.mode, Mode::Enforce);
    assert_eq!(stack.retry().snapshot().max_attempts, 2);
    // The service was made before the change.
    let start = crate::time::now();
    let error = service.oneshot(Call("existing")).await.unwrap_err();
    let policy = Reason::of(&*error).unwrap().policy().to_string();
    let passed = crate::time::now().since(start);
    assert!(policy == "live.attempt_timeout" || policy == "live.total_timeout");
    assert!((ms(400)..=ms(900)).contains(&passed), "{passed:?}");
    // Off again.
    let change = stack.change(|now| now.no_hedge().rate_limit(None));
    change.unwrap();
    assert_eq!(stack.hedge().mode(), Mode::Off);
    assert_eq!(stack.limiter().mode(), Mode::Off);
}

#[tokio::test(start_paused = true)]
async fn cx19_a_change_sets_the_samples_and_the_minimum_delay_of_the_hedge() {
    let stack = ClientStack::builder("hedged").hedge(|hedge| hedge);
    let stack = stack.build().unwrap();
    let call = stack.layer(service_fn(|_: Call| async { Ok::<u32, BoxError>(7) }));
    call.clone().oneshot(Call("a")).await.unwrap();
    tokio::time::advance(ms(200)).await;
    assert_eq!(stack.hedge().delay(), None);
    let change = stack.change(|now| now.hedge(|hedge| hedge.min_samples(1).min_delay(ms(77))));
    change.unwrap();
    assert_eq!(stack.hedge().delay(), Some(ms(77)));
}

#[test]
fn cx19_parts_that_a_change_does_not_set_keep_what_their_handles_set() {
    let stack = ClientStack::builder("own")
        .rate_limit(Quota::per_second(5))
        .hedge(|hedge| hedge)
        .build()
        .unwrap();
    let (breaker, bulkhead) = (stack.breakers().get("a"), stack.bulkheads().get("a"));
    breaker.change(|b| b.trips([Trip::failures(7)])).unwrap();
    breaker.set_mode(Mode::RecordOnly);
    bulkhead.set_limit(3).unwrap();
    bulkhead.set_mode(Mode::Off);
    stack.retry().set_mode(Mode::Off);
    stack.hedge().set_mode(Mode::RecordOnly);
    stack.limiter().set_mode(Mode::RecordOnly);
    stack.limiter().set_quota(Quota::per_second(6)).unwrap();
    stack.change(|now| now.total_timeout(secs(9))).unwrap();
    // The breaker gets a new fair time and keeps its rules.
    stack.change(|now| now.attempt_timeout(secs(2))).unwrap();
    assert_eq!(fair_time(&breaker), Some(secs(1)));
    assert_eq!(max_probe_time(&breaker), Some(secs(3)));
    assert_eq!(rules(&breaker), ["7 failures"]);
    assert_eq!(breaker.mode(), Mode::RecordOnly);
    assert_eq!((bulkhead.limit(), bulkhead.mode()), (3, Mode::Off));
    assert_eq!(stack.limiter().quota(), Quota::per_second(6));
    // Each part is replaced as a whole, except for its mode.
    let change = stack.change(|now| {
        now.breaker(|breaker| breaker.probes(2))
            .bulkhead(|bulkhead| bulkhead.queue(1))
            .retry(|retry| retry.max_attempts(2))
            .hedge(|hedge| hedge.quantile(0.9))
            .rate_limit(Quota::per_second(7))
    });
    change.unwrap();
    assert_eq!(rules(&breaker), rules(&CircuitBreaker::new("plain")));
    assert_eq!(breaker.mode(), Mode::RecordOnly);
    assert_eq!((bulkhead.limit(), bulkhead.mode()), (100, Mode::Off));
    let retry = stack.retry().snapshot();
    assert_eq!((retry.max_attempts, retry.mode), (2, Mode::Off));
    assert_eq!(stack.hedge().mode(), Mode::RecordOnly);
    assert_eq!(stack.hedge().snapshot().quantile, Some(0.9));
    assert_eq!(stack.limiter().mode(), Mode::RecordOnly);
    assert_eq!(stack.limiter().quota(), Quota::per_second(7));
}

#[test]
fn cx19_the_mode_of_all_authorities_stays_for_new_ones_too() {
    let stack = ClientStack::new("modes");
    let modes = |host| {
        let (breaker, bulkhead) = (stack.breakers().get(host), stack.bulkheads().get(host));
        let budget = stack.budgets().get(host);
        (breaker.mode(), bulkhead.mode(), budget.mode())
    };
    stack.breakers().set_mode(Mode::RecordOnly);
    stack.bulkheads().set_mode(Mode::Off);
    stack.budgets().set_mode(Mode::RecordOnly);
    let set = (Mode::RecordOnly, Mode::Off, Mode::RecordOnly);
    assert_eq!(modes("a"), set);
    // The breakers get a new fair time.
    stack.change(|now| now.attempt_timeout(secs(2))).unwrap();
    assert_eq!((modes("a"), modes("b")), (set, set));
    let change = stack.change(|now| {
        now.breaker(|breaker| breaker.probes(2))
            .bulkhead(|bulkhead| bulkhead.queue(1))
            .budgets(|budget| budget.ratio(0.2))
    });
    change.unwrap();
    assert_eq!((modes("a"), modes("c")), (set, set));
    let change = stack.change(|now| {
        now.breaker(|breaker| breaker.mode(Mode::Off))
            .bulkhead(|bulkhead| bulkhead.mode(Mode::RecordOnly))
            .budgets(|budget| budget.mode(Mode::Off))
    });
    change.unwrap();
    let changed = (Mode::Off, Mode::RecordOnly, Mode::Off);
    assert_eq!((modes("a"), modes("d")), (changed, changed));
}

/// All settings of a stack.
fn settings<L: fmt::Debug>(stack: &ClientStack<Native, Standard, L>) -> String {
    let breaker = stack.breakers().get("a");
    let bulkhead = stack.bulkheads().get("a").snapshot();
    let fair_time = fair_time(&breaker);
    let rules = rules(&breaker);
    let retry = stack.retry().snapshot();
    let hedge = stack.hedge().snapshot();
    format!("{stack:?} {rules:?} {fair_time:?} {bulkhead:?} {retry:?} {hedge:?}")
}

#[test]
fn cx19_a_bad_change_changes_nothing() {
    let stack = ClientStack::builder("firm")
        .hedge(|hedge| hedge)
        .build()
        .unwrap();
    let before = settings(&stack);
    let rejected = |change: fn(ClientConfig) -> ClientConfig, field: &str| {
        let good = |now: ClientConfig| {
            now.total_timeout(secs(8))
                .bulkhead(|bulkhead| bulkhead.limit(1))
                .breaker(|breaker| breaker.trips([Trip::failures(2)]))
                .rate_limit(Quota::per_second(1))
                .retry(|retry| retry.max_attempts(1))
        };
        let error = stack.change(|now| change(good(now))).unwrap_err();
        let [problem] = error.problems() else {
            panic!("{error}");
        };
        assert_eq!(problem.field, field);
        assert_eq!(settings(&stack), before);
    };
    rejected(|now| now.attempt_timeout(secs(9)), "attempt_timeout");
    rejected(
        |now| now.breaker(|breaker| breaker.probes(0)),
        "breaker.probes",
    );
    rejected(|now| now.authorities(9), "authorities");
    rejected(|now| now.budget(Budget::percent(9)), "budget");
    rejected(
        |now| now.hedge(|hedge| hedge.window(secs(9))),
        "hedge.window",
    );
    let limited = ClientStack::new("limited").rate_limit(RateLimiter::per_second(9));
    let before = settings(&limited);
    let error = limited.change(|now| now.rate_limit(Quota::per_second(1)));
    assert_eq!(error.unwrap_err().problems()[0].field, "rate_limit");
    assert_eq!(settings(&limited), before);
    limited.change(|now| now.total_timeout(secs(8))).unwrap();
}

#[test]
fn cx19_two_concurrent_changes_of_different_parts_both_hold() {
    let stack = ClientStack::new("both");
    let first = AtomicBool::new(true);
    let change = stack.change(|outer| {
        if first.swap(false, Ordering::Relaxed) {
            stack.change(|inner| inner.total_timeout(secs(9))).unwrap();
        }
        outer.attempt_timeout(secs(2))
    });
    change.unwrap();
    assert_eq!(stack.total_timeout().limit(), secs(9));
    assert_eq!(stack.attempt_timeout().limit(), secs(2));
    // The next change sees both.
    let error = stack.change(|now| now.attempt_timeout(ms(9_001)));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("at most the total_timeout of 9s"), "{text}");
}

// CX19: a policy may be constructed from the old configuration and inserted after the change has
// visited all entries.
#[test]
fn cx19_a_change_reaches_authorities_that_are_inserted_at_the_same_time() {
    let stack = ClientStack::new("race");
    let stop = AtomicBool::new(false);
    let made = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (stack, stop, made) = (&stack, &stop, &made);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) && n < 4_000 {
                    n += 1;
                    let _ = stack.bulkheads().get(&format!("{thread}-{n}"));
                    stack.breakers().get(&format!("{thread}-{n}"));
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut limit = 0;
        while made.load(Ordering::Relaxed) < 4_000 {
            limit = limit % 50 + 1;
            let attempt = ms(1_000 + u64::from(limit) * 10);
            let change = stack.change(|now| {
                now.attempt_timeout(attempt)
                    .bulkhead(|bulkhead| bulkhead.limit(limit))
            });
            change.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let fair = stack.attempt_timeout().limit() / 2;
    let limit = stack.bulkheads().anonymous().limit();
    for (authority, bulkhead) in stack.bulkheads().entries() {
        assert_eq!(bulkhead.limit(), limit, "{authority}");
    }
    for (authority, breaker) in stack.breakers().entries() {
        assert_eq!(fair_time(&breaker), Some(fair), "{authority}");
    }
}

#[test]
fn a_listener_of_the_configuration_receives_the_events_of_every_authority() {
    let seen = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&seen);
    let stack = ClientStack::builder("seen").breaker(|breaker| {
        breaker.on_event(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
    });
    let stack = stack.build().unwrap();
    let one = stack.breakers().get("one");
    let alone = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&alone);
    let _on = one.on_event(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    one.force_open();
    stack.breakers().get("two").force_open();
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    // A listener of one policy receives the events of that policy only.
    assert_eq!(alone.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn rt4_retry_and_hedge_share_the_budget_of_the_stack() {
    let budget = Budget::builder().ratio(0.0).burst(3).floor(0);
    let budget = budget.build().unwrap();
    let stack = ClientStack::builder("budget").budget(&budget);
    let stack = stack
        .retry(|retry| retry.backoff(Backoff::constant(ms(1))))
        .hedge(|hedge| hedge.delay(ms(0)))
        .build()
        .unwrap();
    assert_eq!(stack.budget().unwrap().name(), budget.name());
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let service = stack.layer(service_fn(move |_: Call| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Err::<u32, BoxError>("it failed".into()) }
    }));
    for _ in 0..5 {
        service.clone().oneshot(Call("a")).await.unwrap_err();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 5 + 3);
    assert_eq!(budget.snapshot().made, 3);
    // A retry without a budget.
    let stack = ClientStack::builder("none").budget(&budget);
    let stack = stack.retry(|retry| retry.no_budget().backoff(Backoff::constant(ms(1))));
    let stack = stack.build().unwrap();
    let before = stack.retry().snapshot().retried;
    let service = stack.layer(failing());
    service.oneshot(Call("a")).await.unwrap_err();
    assert_eq!(stack.retry().snapshot().retried - before, 2);
}

// RT4, D9: by the defaults. a has 40 % errors at 20 calls a second, b 60 single failures among 240
// calls. With one budget for both, a spends what b needs.
#[tokio::test(start_paused = true)]
async fn rt4_ky2_a_flaky_host_does_not_spend_the_retries_of_the_others() {
    let run = async |config: ClientConfig| {
        let stack = config.build().unwrap();
        let made = Arc::new(AtomicU32::new(0));
        let first = Arc::new(AtomicBool::new(false));
        let (count, is_first) = (Arc::clone(&made), Arc::clone(&first));
        let service = stack.layer(service_fn(move |Call(host): Call| {
            let fails = match host {
                "a" => count.fetch_add(1, Ordering::Relaxed) % 5 < 2,
                _ => is_first.swap(false, Ordering::Relaxed),
            };
            async move {
                (!fails)
                    .then_some(7)
                    .ok_or_else(|| BoxError::from("it failed"))
            }
        }));
        let mut mended = 0;
        for _ in 0..60 {
            let calls = (0..20).map(|_| service.clone().oneshot(Call("a")));
            let calls = futures::future::join_all(calls);
            for _ in 0..3 {
                service.clone().oneshot(Call("b")).await.unwrap();
            }
            first.store(true, Ordering::Relaxed);
            mended += u32::from(service.clone().oneshot(Call("b")).await.is_ok());
            calls.await;
            tokio::time::sleep(secs(1)).await;
        }
        mended
    };
    let config = || {
        let config = ClientStack::builder("hosts");
        config.retry(|retry| retry.backoff(Backoff::constant(ms(1))))
    };
    assert_eq!(run(config()).await, 60);
    let one = Budget::builder().ratio(0.1).build().unwrap();
    let mended = run(config().budget(&one)).await;
    assert!(mended < 40, "{mended} of 60 by one budget for both");
}

#[tokio::test]
async fn cx19_budgets_change_for_existing_and_new_authorities() {
    let stack = ClientStack::new("live");
    let existing = stack.budgets().get("a");
    let change = |now: ClientConfig| now.budgets(|budget| budget.ratio(0.2).burst(3));
    stack.change(change).unwrap();
    for budget in [existing, stack.budgets().get("b")] {
        assert_eq!(budget.snapshot().ratio, 0.2);
    }
    assert_eq!(stack.budgets().get("b").snapshot().balance, 3.0);
    let bad = |now: ClientConfig| now.budgets(|budget| budget.ratio(2.0));
    assert_eq!(
        stack.change(bad).unwrap_err().problems()[0].field,
        "budgets.ratio"
    );
    let given = ClientStack::builder("given").budget(Budget::percent(5));
    let given = given.build().unwrap();
    assert_eq!(
        given.change(change).unwrap_err().problems()[0].field,
        "budgets"
    );
    assert_eq!(given.budget().unwrap().snapshot().ratio, 0.05);
}

#[tokio::test]
async fn one_responder_answers_the_rejections_of_every_part() {
    let stack = ClientStack::new("answered").respond(|rejection: Rejection| {
        Err::<u32, BoxError>(format!("rejected by {}", rejection.policy()).into())
    });
    let ready = service_fn(|_: Call| async { Ok::<u32, BoxError>(7) });
    let service = stack.layer(ready);
    stack.breakers().get("a").force_open();
    stack.bulkheads().get("b").set_limit(0).unwrap();
    let limit = RateLimiter::per_second(0);
    let limited = stack.clone().rate_limit(&limit).layer(ready);
    let text = |error: Result<u32, BoxError>| error.unwrap_err().to_string();
    let a = service.clone().oneshot(Call("a")).await;
    assert_eq!(text(a), "rejected by answered.breaker@a");
    let b = service.clone().oneshot(Call("b")).await;
    assert_eq!(text(b), "rejected by answered.bulkhead@b");
    let c = limited.oneshot(Call("c")).await;
    assert_eq!(text(c), format!("rejected by {}", limit.name()));
    assert_eq!(service.oneshot(Call("c")).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn one_classifier_serves_breaker_retry_and_hedge() {
    let seen = |outcome: Result<&u32, &BoxError>| match outcome {
        Ok(_) => Outcome::Failure {
            kind: FailureKind::Response,
            retry_after: None,
        },
        Err(_) => Outcome::Success,
    };
    let stack = ClientStack::builder("judged")
        .breaker(|breaker| breaker.trip_on(Trip::consecutive_failures(3)));
    let stack = stack.build().unwrap().classify(seen);
    let answering = service_fn(|_: Call| async { Ok::<u32, BoxError>(7) });
    // The response is a failure for this classifier, so it is retried, and the third opens the
    // breaker.
    let answer = stack.layer(answering).oneshot(Call("a")).await;
    assert_eq!(answer.unwrap(), 7);
    assert_eq!(stack.retry().snapshot().retried, 2);
    assert_eq!(stack.breakers().get("a").state(), State::Open);
    stack.layer(failing()).oneshot(Call("b")).await.unwrap_err();
    assert_eq!(stack.retry().snapshot().retried, 2);
}

#[tokio::test(start_paused = true)]
async fn rt7_hg6_the_request_or_a_closure_permits_extra_attempts() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let service = service_fn(move |_: Post| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Err::<u32, BoxError>("it failed".into()) }
    });
    let config = ClientStack::builder("again").retry(|retry| retry.no_budget());
    let stack = config.build().unwrap();
    let made = || calls.swap(0, Ordering::Relaxed);
    let call = stack.layer(service.clone());
    call.oneshot(Post).await.unwrap_err();
    assert_eq!(made(), 1);
    let only = stack.clone().only(|_: &Post| true).layer(service.clone());
    only.oneshot(Post).await.unwrap_err();
    assert_eq!(made(), 3);
    let copied = stack.clone().resend(|_: &Post| Some(Post));
    copied
        .layer(service.clone())
        .oneshot(Post)
        .await
        .unwrap_err();
    assert_eq!(made(), 1);
    let none = stack.clone().resend(|_: &Post| None);
    none.layer(service.clone()).oneshot(Post).await.unwrap_err();
    assert_eq!(made(), 1);
    for (may, calls) in [(false, 1), (true, 3)] {
        let both = stack.clone().resend(|_: &Post| Some(Post));
        let both = both.only(move |_: &Post| may).layer(service.clone());
        both.oneshot(Post).await.unwrap_err();
        assert_eq!(made(), calls);
    }
    // The same for the hedge.
    let config = ClientStack::builder("hedged").retry(|retry| retry.max_attempts(1));
    let config = config.hedge(|hedge| hedge.delay(ms(0)));
    let stack = config.build().unwrap();
    stack
        .layer(service.clone())
        .oneshot(Post)
        .await
        .unwrap_err();
    assert_eq!(made(), 1);
    let only = stack.clone().only(|_: &Post| true);
    only.layer(service.clone()).oneshot(Post).await.unwrap_err();
    assert_eq!(made(), 2);
    let copied = stack.clone().resend(|_: &Post| Some(Post));
    copied
        .layer(service.clone())
        .oneshot(Post)
        .await
        .unwrap_err();
    assert_eq!(made(), 1);
    let none = stack.only(|_: &Post| true).resend(|_: &Post| None);
    none.layer(service).oneshot(Post).await.unwrap_err();
    assert_eq!(made(), 1);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn rt7_hg6_a_copier_of_bodies_does_not_permit_a_second_post() {
    use http::{Method, Request, Response};

    // Not `Clone`, like the body of a server's request.
    struct Body;
    fn copy(request: &Request<Body>) -> Option<Request<Body>> {
        let mut copy = Request::new(Body);
        *copy.method_mut() = request.method().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(copy)
    }
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let service = service_fn(move |_: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(ms(5)).await;
            Ok::<_, BoxError>(Response::builder().status(500).body(()).unwrap())
        }
    });
    let config = ClientStack::builder("copied").retry(|retry| retry.no_budget());
    let retried = config.build().unwrap().resend(copy).layer(service.clone());
    let config = ClientStack::builder("hedged").retry(|retry| retry.max_attempts(1));
    let config = config.hedge(|hedge| hedge.delay(ms(1)));
    let hedged = config.build().unwrap().resend(copy).layer(service);
    for (method, key, attempts) in [
        (Method::POST, false, (1, 1)),
        (Method::POST, true, (3, 2)),
        (Method::GET, false, (3, 2)),
    ] {
        let request = || {
            let request = Request::builder().method(&method);
            let request = match key {
                true => request.header("idempotency-key", "7"),
                false => request,
            };
            request.body(Body).unwrap()
        };
        let made = || calls.swap(0, Ordering::Relaxed);
        let response = retried.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), 500);
        let retries = made();
        hedged.clone().oneshot(request()).await.unwrap();
        assert_eq!((retries, made()), attempts, "{method} {key}");
    }
}

#[cfg(feature = "http")]
mod addressed {
    use std::borrow::Cow;

    use http::Request;

    use crate::stack::Addressed;

    fn of(uri: &str, host: Option<&str>) -> Option<(String, bool)> {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(()).unwrap();
        let authority = request.authority();
        authority.map(|authority| {
            let borrowed = matches!(authority, Cow::Borrowed(_));
            (authority.into_owned(), borrowed)
        })
    }

    #[test]
    fn ky6_an_authority_is_host_and_port_without_case_user_default_port_and_final_dot() {
        let plain = |text: &str| Some((text.to_owned(), true));
        assert_eq!(of("http://a.example/x", None), plain("a.example"));
        assert_eq!(of("http://a.example:80/x", None), plain("a.example"));
        // KY6: the final dot is not part of the name.
        assert_eq!(of("http://a.example./x", None), plain("a.example"));
        assert_eq!(of("http://a.example.:80/x", None), plain("a.example"));
        assert_eq!(of("/x", Some("a.example.")), plain("a.example"));
        assert_eq!(of("http://a.example:/x", None), plain("a.example"));
        assert_eq!(of("https://a.example:443/", None), plain("a.example"));
        assert_eq!(of("http://a.example:443/", None), plain("a.example:443"));
        assert_eq!(of("http://a.example:8080/", None), plain("a.example:8080"));
        assert_eq!(of("http://u:p@a.example:81/", None), plain("a.example:81"));
        assert_eq!(of("http://[::1]:81/", None), plain("[::1]:81"));
        assert_eq!(of("http://[::80]/", None), plain("[::80]"));
        assert_eq!(of("http://[::1]:80/", None), plain("[::1]"));
        assert_eq!(of("http://.:80/", None), None);
        let lower = Some(("a.example:81".to_owned(), false));
        assert_eq!(of("http://a.example.:81/", None), lower);
        assert_eq!(of("http://u@A.Example.:81/", None), lower);
        assert_eq!(of("http://A.Example:81/", None), lower);
        assert_eq!(of("/x", Some("b.example:82")), plain("b.example:82"));
        assert_eq!(
            of("http://a.example/", Some("b.example")),
            plain("a.example")
        );
        assert_eq!(of("/x", None), None);
        assert_eq!(of("/x", Some("")), None);
    }

    #[cfg(feature = "reqwest")]
    #[test]
    fn an_authority_of_reqwest_is_the_same() {
        let of = |url: &str| {
            let request = reqwest::Request::new(http::Method::GET, url.parse().unwrap());
            request.authority().map(Cow::into_owned)
        };
        assert_eq!(of("http://A.example/x").as_deref(), Some("a.example"));
        assert_eq!(of("https://a.example:443/").as_deref(), Some("a.example"));
        assert_eq!(
            of("http://u:p@a.example:81/").as_deref(),
            Some("a.example:81")
        );
        assert_eq!(of("data:text/plain,x"), None);
    }
}

#[test]
fn cx10_a_stack_and_its_service_can_be_named_and_sent() {
    #[derive(Clone, Debug)]
    struct Held<S> {
        _stack: ClientStack,
        _service: ClientService<S>,
    }
    fn is<T: Clone + Send + Sync + fmt::Debug + 'static>(_: &T) {}
    type Answer = std::future::Ready<Result<u32, Infallible>>;
    let service: fn(Call) -> Answer = |_| std::future::ready(Ok(7));
    let stack = ClientStack::new("held");
    let held = Held {
        _service: stack.layer(service_fn(service)),
        _stack: stack,
    };
    is(&held);
}
