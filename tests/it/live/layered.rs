//! Policies as layers: attempts, timeouts, hedges, queues, and all patterns in one stack.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use seawall::budget::Refill;
use seawall::bulkhead::Order;
use seawall::circuit_breaker::State;
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Hedge,
    HedgeLayer, Mode, Quota, RateLimitLayer, RateLimiter, Reason, RejectionKind, Retry, RetryLayer,
    Timeout, TimeoutLayer, Trip, Window,
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::record::Changing;
use super::{add, below, count, done, storm};
use crate::support::{Do, Handle, Mock, Random, full_budget, ms, secs};

/// The rejection in an error.
fn kind(error: &BoxError) -> Option<RejectionKind> {
    let error: &(dyn std::error::Error + 'static) = &**error;
    Reason::of(error).map(Reason::kind)
}

type Outcome = Result<u32, BoxError>;

/// The story of a policy with one value: each call ends by a value that was in force at its start,
/// as `fits` judges by the outcome and the number of attempts. No value stands for a policy that
/// was not enforced.
fn story<P: Handle, V: Copy + Debug + Send + Sync + 'static, L>(
    changing: &Changing<P, V>,
    layer: impl Fn(&P) -> L + Sync,
    does: impl Fn() -> Do + Sync,
    fits: impl Fn(&Outcome, usize, Option<V>) -> bool + Sync,
    change: impl Fn(&mut Random),
) where
    L: Layer<Mock, Service: Service<Do, Response = u32, Error = BoxError>>,
{
    let record = &changing.record;
    let call = async |_: &mut Random| {
        let mock = Mock::new();
        let layer = changing.observed(layer(&changing.policy));
        let mut service = layer.layer(mock.clone());
        // First, so that what `does` reads is in the span of the call.
        let from = record.before();
        let does = does();
        service.ready().await.unwrap();
        let call = service.call(does);
        let met = record.during(record.since(from));
        let (outcome, attempts) = (call.await, mock.calls());
        // The mode and the value are read one after the other.
        let holds = met.iter().any(|(mode, _)| {
            let enforced = |value| (*mode == Mode::Enforce).then_some(value);
            let mut values = met.iter().map(|(_, value)| enforced(*value));
            values.any(|value| fits(&outcome, attempts, value))
        });
        assert!(holds, "{outcome:?}, {attempts} attempts: {met:?}");
        tokio::task::yield_now().await;
    };
    storm(call, |random, _| {
        change(random);
        changing.change_mode(random);
    });
}

#[test]
fn cx19_rt5_a_failing_call_makes_the_attempts_that_were_allowed_at_its_start() {
    let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
    let retry = Changing::new(retry.no_budget().build().unwrap(), 3);
    let fits = |outcome: &Outcome, attempts, most: Option<u32>| {
        outcome.is_err() && most.unwrap_or(1) as usize == attempts
    };
    let layer = |retry: &Retry| RetryLayer::new(retry);
    story(
        &retry,
        layer,
        || Do::Fail,
        fits,
        |random| {
            let most = 1 + below(random, 4);
            let set = |retry: &Retry| done(retry.change(|now| now.max_attempts(most)));
            retry.set(most, set);
        },
    );
    retry.finish(|_| {});
}

#[test]
fn cx19_to5_a_call_ends_by_the_timeout_that_was_in_force_at_its_start() {
    let timeout = Changing::new(Timeout::new(ms(2)), ms(2));
    // The service answers early only if there may be no timeout.
    let does = || {
        let record = &timeout.record;
        let enforced = record.enforced(record.since(record.before()));
        Do::Sleep(if enforced.is_some() { secs(2) } else { ms(8) })
    };
    let fits = |outcome: &Outcome, _, limit: Option<_>| match outcome.as_ref().map_err(kind) {
        Ok(_) => limit.is_none(),
        Err(Some(RejectionKind::TimedOut { limit: by, .. })) => limit == Some(by),
        Err(_) => false,
    };
    let layer = |timeout: &Timeout| TimeoutLayer::new(timeout);
    story(&timeout, layer, does, fits, |random| {
        let limit = ms(1 + random.below(5));
        timeout.set(limit, |timeout| done(timeout.set_limit(limit)));
    });
    timeout.finish(|_| {});
}

#[test]
fn cx19_hg1_a_slow_call_is_hedged_as_was_allowed_at_its_start() {
    let hedge = Hedge::builder().delay(ms(0)).budget(full_budget());
    // The delay in milliseconds, and the number of extra attempts.
    let hedge = Changing::new(hedge.build().unwrap(), (0, 1));
    let fits = |outcome: &Outcome, attempts, setting: Option<(u64, u32)>| {
        let (delay, extra) = setting.unwrap_or((0, 0));
        let most = 1 + extra as usize;
        let least = if delay == 0 { most } else { 1 };
        outcome.is_ok() && (least..=most).contains(&attempts)
    };
    let layer = |hedge: &Hedge| HedgeLayer::new(hedge);
    story(
        &hedge,
        layer,
        || Do::Sleep(ms(3)),
        fits,
        |random| {
            let (delay, extra) = (random.below(2), 1 + below(random, 4));
            hedge.set((delay, extra), |hedge| {
                done(hedge.change(|now| now.delay(ms(delay)).max_extra(extra)));
            });
        },
    );
    hedge.finish(|_| {});
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// All permits of an idle bulkhead are available, and no others.
fn has_all_permits(bulkhead: &Bulkhead) {
    bulkhead.set_mode(Mode::Enforce);
    bulkhead.set_limit(5).unwrap();
    let now = bulkhead.snapshot();
    let permits: Vec<_> = (0..9).filter_map(|_| bulkhead.try_acquire().ok()).collect();
    assert_eq!((now.in_flight, now.queued, permits.len()), (0, 0, 5));
}

#[test]
fn cx19_bh5_not_more_are_in_flight_than_the_limits_in_force() {
    let bulkhead = Bulkhead::builder(2).queue(6).max_wait(ms(5));
    let bulkhead = Changing::new(bulkhead.build().unwrap(), 2);
    let Changing { policy, record } = &bulkhead;
    let in_flight = AtomicUsize::new(0);
    // Counts a call that was admitted after `from`, if there was a limit all the time.
    let enter = |from| {
        record.enforced(record.since(from))?;
        let together = in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let guard = InFlight(&in_flight);
        let limits = record.during(record.since(from)).into_iter();
        let most = limits.map(|(_, limit)| limit).max().unwrap();
        assert!(together <= most as usize, "{together} of {most}");
        Some(guard)
    };
    let call = async |random: &mut Random| {
        let (n, from) = (random.below(10), Cell::new(record.before()));
        if n < 5 {
            let call = async || {
                let permit = match n {
                    0 | 1 => policy.try_acquire_owned(),
                    _ => policy.acquire().await,
                };
                if let Ok(permit) = permit {
                    let in_flight = enter(from.get());
                    tokio::time::sleep(ms(1)).await;
                    drop((in_flight, permit));
                }
            };
            record.follow(&from, record.observe(from.get(), call)).await;
        } else {
            let service = service_fn(|()| {
                let in_flight = enter(from.get());
                async move {
                    tokio::time::sleep(ms(1)).await;
                    drop(in_flight);
                    Ok::<_, BoxError>(())
                }
            });
            let layer = bulkhead.observed(BulkheadLayer::queued(policy));
            let service = layer.layer(service);
            // A few give up.
            let patience = if n == 5 { ms(2) } else { secs(600) };
            let call = record.follow(&from, service.oneshot(()));
            let _ = tokio::time::timeout(patience, call).await;
        }
        tokio::task::yield_now().await;
    };
    storm(call, |random, _| {
        let limit = below(random, 5);
        bulkhead.set(limit, |bulkhead| done(bulkhead.set_limit(limit)));
        let max_wait = ms(1 + random.below(5));
        let order = [Order::Fifo, Order::Lifo][below(random, 2) as usize];
        done(policy.change(|now| now.max_wait(max_wait).queue(1 + limit).order(order)));
        bulkhead.change_mode(random);
    });
    bulkhead.finish(has_all_permits);
}

#[test]
fn cx19_rt4_a_shared_budget_bounds_the_extra_attempts_of_retry_and_hedge() {
    const BURST: u32 = 20;
    /// In thousandths.
    const RATIO: u32 = 200;
    const FLOOR: u32 = 20;
    let budget = Budget::builder().refill(Refill::Calls).burst(20);
    let budget = budget.build().unwrap();
    let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
    let retry = retry.budget(&budget).build().unwrap();
    let hedge = Hedge::builder().delay(ms(0)).budget(&budget);
    let hedge = Changing::new(hedge.build().unwrap(), ());
    let [calls, attempts] = [0; 2].map(AtomicUsize::new);
    let start = Instant::now();
    let call = async |_: &mut Random| {
        let mock = Mock::new();
        let hedged = hedge.observed(HedgeLayer::new(&hedge.policy));
        let service = RetryLayer::new(&retry).layer(hedged.layer(mock.clone()));
        service.oneshot(Do::Fail).await.unwrap_err();
        add(&calls, 1);
        add(&attempts, mock.calls());
        tokio::time::sleep(ms(1)).await;
    };
    storm(call, |random, _| {
        let mut up_to = |most: u32| below(random, 1 + u64::from(most));
        let (burst, floor, attempts) = (up_to(BURST), up_to(FLOOR), 1 + up_to(3));
        let (ratio, extra) = (f64::from(up_to(RATIO)) / 1_000.0, 1 + up_to(2));
        done(budget.change(|now| now.ratio(ratio).burst(burst).floor(floor)));
        done(retry.change(|now| now.max_attempts(attempts)));
        done(hedge.policy.change(|now| now.max_extra(extra)));
        hedge.change_mode(random);
    });
    let spent = budget.snapshot();
    let calls = count(&calls);
    let extra = count(&attempts) - calls;
    assert_eq!(spent.made, extra as u64);
    assert!(extra > 100 && spent.suppressed > 0, "{spent:?}");
    // RT4 with the largest ratio, burst and floor.
    let earned = f64::from(BURST) + f64::from(RATIO) / 1_000.0 * calls as f64;
    let most = earned + f64::from(FLOOR) * start.elapsed().as_secs_f64();
    assert!(extra as f64 <= most, "{extra} in {calls}, not {most}");
    hedge.finish(|_| {});
}

/// An idle breaker that becomes half-open has all probe permits, also after changes in between.
fn has_all_probe_permits(breaker: &CircuitBreaker) {
    let probes = breaker.snapshot().probes;
    assert_eq!(probes.map_or(0, |probes| probes.in_flight), 0);
    breaker.set_mode(Mode::Enforce);
    done(breaker.change(|now| {
        let now = now.trips([Trip::consecutive_failures(1)]).probes(3);
        now.close_after(3).open_for(Backoff::constant(ms(1)))
    }));
    breaker.reset();
    breaker.try_acquire().unwrap().failure();
    while breaker.state() != State::HalfOpen {
        std::thread::yield_now();
    }
    let more = || (0..9).filter_map(|_| breaker.try_acquire().ok());
    let first: Vec<_> = more().take(2).collect();
    breaker.change(|now| now.probes(4).close_after(2)).unwrap();
    breaker.set_mode(Mode::RecordOnly);
    breaker.set_mode(Mode::Enforce);
    assert_eq!(first.len() + more().collect::<Vec<_>>().len(), 4);
}

#[test]
fn cx19_cx14_a_stack_of_all_patterns_answers_each_call_and_keeps_every_permit() {
    let budget = Budget::percent(10);
    let retry = Retry::builder().budget(&budget);
    let hedge = Hedge::builder().budget(&budget).delay(ms(1));
    let bulkhead = Bulkhead::builder(8).queue(8).max_wait(ms(4));
    let limiter = RateLimiter::builder(Quota::per_second(1_000)).max_wait(ms(4));
    let total = Changing::new(Timeout::new(ms(50)), ());
    let retry = Changing::new(retry.build().unwrap(), ());
    let hedge = Changing::new(hedge.build().unwrap(), ());
    let breaker = Changing::new(CircuitBreaker::new("breaker"), ());
    let bulkhead = Changing::new(bulkhead.build().unwrap(), ());
    let limiter = Changing::new(limiter.build().unwrap(), ());
    let [answered, rejected, failed] = [0; 3].map(AtomicUsize::new);
    let call = async |random: &mut Random| {
        let mock = Mock::new();
        let service = ServiceBuilder::new()
            .layer(total.observed(TimeoutLayer::new(&total.policy)))
            .layer(retry.observed(RetryLayer::new(&retry.policy)))
            .layer(hedge.observed(HedgeLayer::new(&hedge.policy)))
            .layer(breaker.observed(CircuitBreakerLayer::new(&breaker.policy)))
            .layer(bulkhead.observed(BulkheadLayer::queued(&bulkhead.policy)))
            .layer(limiter.observed(RateLimitLayer::waiting(&limiter.policy)))
            .service(mock.clone());
        let does = match random.below(20) {
            0 => Do::Hang,
            1..4 => Do::Fail,
            4..12 => Do::Sleep(ms(random.below(5))),
            _ => Do::Answer,
        };
        let patience = match (random.below(10), does) {
            // The total timeout may be off.
            (_, Do::Hang) => ms(60),
            (0, _) => ms(1 + random.below(3)),
            _ => secs(600),
        };
        match tokio::time::timeout(patience, service.oneshot(does)).await {
            Err(_) => {}
            Ok(Ok(_)) => {
                assert!(mock.calls() > 0);
                add(&answered, 1);
            }
            Ok(Err(error)) if kind(&error).is_some() => add(&rejected, 1),
            Ok(Err(_)) => add(&failed, 1),
        }
        assert_eq!(mock.in_flight(), 0);
        tokio::task::yield_now().await;
    };
    storm(call, |random, round| {
        let n = random.below(8);
        let (few, wait) = (u32::try_from(n).unwrap(), Backoff::constant(ms(1 + n)));
        done(total.policy.set_limit(ms(5 + 5 * n)));
        done(retry.policy.change(|now| {
            let now = now.max_attempts(1 + few).backoff(wait);
            now.max_elapsed((n % 2 == 0).then_some(ms(20)))
        }));
        done(hedge.policy.change(|now| {
            let now = match n {
                0 => now.quantile(0.5),
                n => now.delay(ms(n / 2)),
            };
            let now = now.max_extra(1 + few / 3).min_samples(5 + few);
            now.min_delay(ms(n / 4))
        }));
        done(breaker.policy.change(|now| {
            let rate = Trip::failure_rate(0.6).over(Window::count(40));
            let now = now.trips([Trip::consecutive_failures(5 + few), rate]);
            now.open_for(wait).probes(1 + few)
        }));
        done(bulkhead.policy.change(|now| now.limit(4 + few).queue(few)));
        let quota = Quota::per_second(500 + 100 * few).burst(10 + few);
        done(limiter.policy.set_quota(quota));
        done(limiter.policy.change(|now| {
            let wait = ms(1 + n);
            now.max_wait(wait).max_pause(wait)
        }));
        done(budget.set_ratio(0.05 * n as f64));
        if round % 64 == 0 {
            limiter.policy.pause_for(ms(3));
        }
        total.change_mode(random);
        retry.change_mode(random);
        hedge.change_mode(random);
        breaker.change_mode(random);
        bulkhead.change_mode(random);
        limiter.change_mode(random);
    });
    let outcomes = [answered, rejected, failed].map(AtomicUsize::into_inner);
    assert!(!outcomes.contains(&0), "{outcomes:?}");
    total.finish(|_| {});
    retry.finish(|_| {});
    hedge.finish(|_| {});
    breaker.finish(has_all_probe_permits);
    bulkhead.finish(has_all_permits);
    limiter.finish(|_| {});
}
