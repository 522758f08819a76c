use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use crate::backoff::{Backoff, Jitter};
use crate::budget::Budget;
use crate::classify::{FailureKind, Outcome};
use crate::config::Mode;
use crate::deadline::Deadline;
use crate::event::{Ending, EventKind};
use crate::rejection::{Error, Rejection, RejectionKind};
use crate::retry::{Builder, Retry};
use crate::sync::{Arc, Mutex};
use crate::testing::ms;
use crate::time::now;

/// Waits `delay` before each attempt, without a budget.
fn builder(delay: Duration) -> Builder {
    let backoff = Backoff::constant(delay).jitter(Jitter::None);
    Retry::builder().backoff(backoff).no_budget()
}

fn every(delay: Duration) -> Retry {
    builder(delay).build().unwrap()
}

pub(super) fn polled<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The events of a retry, as text.
pub(super) fn events(retry: &Retry) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&log);
    let listener = move |event: &crate::Event<'_>| {
        to.lock().push(match (event.kind, event.attempts) {
            (EventKind::Ended { ending, .. }, Some(n)) => format!("{ending:?} after {n}"),
            (EventKind::Retrying { attempt, delay, .. }, None) => format!("{attempt} in {delay:?}"),
            (EventKind::WouldRetry { attempt, .. }, None) => format!("would make {attempt}"),
            (EventKind::Suppressed { attempt, reason }, None) => {
                format!("no {attempt}: {reason:?}")
            }
            (EventKind::WouldSuppress { attempt, reason }, None) => {
                format!("would be no {attempt}: {reason:?}")
            }
            other => panic!("{other:?}"),
        });
    };
    retry.on_event(listener).forever();
    log
}

// No sleep after the last attempt.
#[tokio::test(start_paused = true)]
async fn rt5_max_attempts_counts_the_first() {
    for (most, passed) in [(1, 0), (2, 100), (4, 300)] {
        let retry = builder(ms(100)).max_attempts(most).build().unwrap();
        let start = now();
        let made = Cell::new(0);
        let answer = retry.run(|attempt| {
            made.set(attempt);
            async { Err::<(), _>("busy") }
        });
        assert_eq!(answer.await, Err(Error::Service("busy")));
        assert_eq!(made.get(), most);
        assert_eq!(now().since(start), ms(passed));
    }
}

#[tokio::test(start_paused = true)]
async fn rt5_no_attempt_starts_after_the_elapsed_limit() {
    let retry = builder(ms(100)).max_attempts(100).max_elapsed(ms(250));
    let retry = retry.build().unwrap();
    let (start, made) = (now(), Cell::new(0));
    let _ = retry
        .run(|attempt| {
            made.set(attempt);
            async { Err::<(), _>("busy") }
        })
        .await;
    assert_eq!((made.get(), now().since(start)), (3, ms(200)));
}

#[tokio::test(start_paused = true)]
async fn rt2_calls_of_one_retry_differ_and_a_seed_repeats_them() {
    let delays = |seed| async move {
        let retry = Retry::builder()
            .jitter_seed(seed)
            .max_attempts(2)
            .no_budget()
            .build()
            .unwrap();
        let mut delays = Vec::new();
        for _ in 0..1_000 {
            let start = now();
            let _ = retry.run(|_| async { Err::<(), _>("busy") }).await;
            delays.push(now().since(start));
        }
        delays
    };
    let (mut a, b, c) = (delays(7).await, delays(7).await, delays(8).await);
    assert_eq!(a, b);
    assert_ne!(a, c);
    a.sort_unstable();
    a.dedup();
    // Tokio's paused clock counts milliseconds: at most 50 different ones.
    assert!(a.len() > 45, "{}", a.len());
}

#[tokio::test(start_paused = true)]
async fn rt2_a_decorrelated_backoff_depends_on_the_delay_before() {
    let backoff = Backoff::decorrelated(ms(100)).max(ms(100_000));
    let retry = Retry::builder()
        .backoff(backoff)
        .max_attempts(9)
        .jitter_seed(7);
    let retry = retry.no_budget().build().unwrap();
    let times = RefCell::new(Vec::new());
    let run = retry.run(|_| {
        times.borrow_mut().push(now());
        async { Err::<(), _>("busy") }
    });
    let _ = run.await;
    let times = times.into_inner();
    let delays: Vec<_> = times.windows(2).map(|two| two[1].since(two[0])).collect();
    // A millisecond more: tokio's timers round up.
    assert!(
        delays.windows(2).all(|two| two[1] <= two[0] * 3 + ms(1)),
        "{delays:?}"
    );
    assert!(delays.iter().any(|delay| *delay > ms(900)), "{delays:?}");
}

async fn delay_after(retry: &Retry, outcome: Outcome) -> Option<Duration> {
    let (start, made) = (now(), Cell::new(0));
    let classifier = move |result: Result<&u32, &()>| match result {
        Ok(_) => outcome,
        Err(()) => Outcome::Ignore,
    };
    let _ = retry
        .run_with(classifier, |attempt| {
            made.set(attempt);
            async move { if attempt == 1 { Ok(1) } else { Err(()) } }
        })
        .await;
    (made.get() > 1).then(|| now().since(start))
}

#[tokio::test(start_paused = true)]
async fn rt3_retry_after_is_a_floor_with_jitter_on_top() {
    let after = |wait| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: Some(wait),
    };
    let retry = Retry::builder().backoff(Backoff::constant(ms(1_000)));
    let retry = retry.no_budget().build().unwrap();
    let mut delays = Vec::new();
    for _ in 0..100 {
        delays.push(delay_after(&retry, after(ms(3_000))).await.unwrap());
    }
    assert!(delays.iter().all(|d| (ms(3_000)..=ms(4_001)).contains(d)));
    delays.sort_unstable();
    assert!(*delays.last().unwrap() - delays[0] > ms(500));

    let exact = every(ms(50));
    assert_eq!(delay_after(&exact, after(ms(70))).await, Some(ms(70)));
    assert_eq!(delay_after(&exact, after(ms(30))).await, Some(ms(50)));
    // Above the cap of 30 s, or after the deadline: the failure is returned at once.
    assert_eq!(
        delay_after(&exact, after(ms(30_000))).await,
        Some(ms(30_000))
    );
    assert_eq!(delay_after(&exact, after(ms(30_001))).await, None);
    let start = now();
    let scoped = Deadline::after(ms(500)).scope(delay_after(&exact, after(ms(500))));
    assert_eq!(scoped.await, None);
    assert_eq!(now(), start);
}

#[tokio::test(start_paused = true)]
async fn rt3_a_failure_that_forbids_another_call_is_not_retried_whatever_the_cap() {
    let builder = Retry::builder().backoff(Backoff::constant(ms(50)));
    let uncapped = builder.no_budget().retry_after_cap(Duration::MAX);
    let uncapped = uncapped.build().unwrap();
    for retry in [every(ms(50)), uncapped] {
        let stop = Outcome::Failure {
            kind: FailureKind::Response,
            retry_after: Some(Duration::MAX),
        };
        assert_eq!(delay_after(&retry, stop).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn rt3_a_throttled_call_waits_from_a_longer_base() {
    let backoff = Backoff::exponential(ms(50)).jitter(Jitter::None);
    let retry = Retry::builder().backoff(backoff).no_budget();
    let retry = retry.build().unwrap();
    let after = |kind| Outcome::Failure {
        kind,
        retry_after: None,
    };
    assert_eq!(
        delay_after(&retry, after(FailureKind::Response)).await,
        Some(ms(50))
    );
    assert_eq!(
        delay_after(&retry, after(FailureKind::Throttled)).await,
        Some(ms(1_000))
    );
    let capped = Retry::new(
        Backoff::exponential(ms(50))
            .max(ms(300))
            .jitter(Jitter::None),
    );
    assert_eq!(
        delay_after(&capped, after(FailureKind::Throttled)).await,
        Some(ms(300))
    );
    assert_eq!(
        delay_after(&every(ms(50)), after(FailureKind::Throttled)).await,
        Some(ms(1_000))
    );
}

#[tokio::test(start_paused = true)]
async fn rt7_rn1_only_transient_failures_are_retried() {
    let retry = every(ms(1));
    for (outcome, retried) in [
        (Outcome::Success, false),
        (Outcome::Ignore, false),
        (
            Outcome::Failure {
                kind: FailureKind::Permanent,
                retry_after: None,
            },
            false,
        ),
        (
            Outcome::Failure {
                kind: FailureKind::Slow,
                retry_after: None,
            },
            false,
        ),
        (
            Outcome::Failure {
                kind: FailureKind::Timeout,
                retry_after: None,
            },
            true,
        ),
        (
            Outcome::Failure {
                kind: FailureKind::Error,
                retry_after: None,
            },
            true,
        ),
    ] {
        assert_eq!(
            delay_after(&retry, outcome).await.is_some(),
            retried,
            "{outcome:?}"
        );
    }
    // The crate's own rejections; a timed-out attempt is a failure, not a rejection.
    let timed_out = RejectionKind::TimedOut {
        limit: ms(1),
        elapsed: ms(1),
    };
    for (kind, made) in [
        (RejectionKind::RateLimited, 1),
        (RejectionKind::CircuitOpen, 1),
        (RejectionKind::Expired, 1),
        (timed_out, 3),
    ] {
        let attempts = Cell::new(0);
        let answer = retry.run(|attempt| {
            attempts.set(attempt);
            async move { Err::<(), _>(Rejection::new(kind, "below")) }
        });
        assert!(answer.await.is_err());
        assert_eq!(attempts.get(), made, "{kind:?}");
    }
}

// A rejected attempt does not hide the failure before it. It was not made, and the budget has it
// back.
#[tokio::test(start_paused = true)]
async fn rt8_rt11_the_failure_and_not_the_rejection_is_returned() {
    let budget = Budget::builder().ratio(0.0).burst(3).floor(0);
    let budget = budget.build().unwrap();
    let retry = builder(ms(1)).budget(&budget).build().unwrap();
    let log = events(&retry);
    let answer: Result<(), _> = retry
        .run(|attempt| async move {
            match attempt {
                1 => Err(Error::Service("busy")),
                _ => Err(Rejection::new(RejectionKind::RateLimited, "below").into()),
            }
        })
        .await;
    assert_eq!(answer, Err(Error::Service(Error::Service("busy"))));
    assert_eq!(*log.lock(), ["2 in 1ms", "Failure(Error) after 1"]);
    let kept = budget.snapshot();
    assert_eq!((kept.balance, kept.made), (3.0, 0));
    assert_eq!(retry.snapshot().retried, 0);
}

#[tokio::test(start_paused = true)]
async fn to4_a_backoff_past_the_deadline_does_not_start() {
    let retry = builder(ms(100)).max_attempts(10).build().unwrap();
    for (deadline, made) in [(100, 1), (101, 2), (250, 3)] {
        let (start, attempts) = (now(), Cell::new(0));
        let run = retry.run(|attempt| {
            attempts.set(attempt);
            async { Err::<(), _>("busy") }
        });
        let answer = Deadline::after(ms(deadline)).scope(run).await;
        assert_eq!(answer, Err(Error::Service("busy")));
        assert_eq!(attempts.get(), made);
        assert_eq!(now().since(start), ms(100) * (made - 1));
    }
}

#[tokio::test(start_paused = true)]
async fn to3_a_run_is_held_to_the_deadline_that_it_started_under() {
    for passed in [ms(60), ms(110)] {
        let retry = builder(ms(100)).build().unwrap();
        let made = Cell::new(0);
        let mut run = pin!(retry.run(|attempt| {
            made.set(attempt);
            async {
                tokio::time::sleep(ms(10)).await;
                Err::<(), _>("busy")
            }
        }));
        assert!(polled(run.as_mut()).is_pending());
        {
            let timeout = crate::Timeout::new(ms(50));
            let mut within = pin!(timeout.run(|| run.as_mut()));
            assert!(polled(within.as_mut()).is_pending());
            tokio::time::advance(ms(11)).await;
            assert!(polled(within.as_mut()).is_pending());
            tokio::time::advance(passed).await;
            let cut = polled(within.as_mut());
            assert!(
                matches!(cut, Poll::Ready(Err(Error::Rejected(_)))),
                "{cut:?}"
            );
        }
        assert_eq!((run.await, made.get()), (Err(Error::Service("busy")), 3));
    }
}

// The backoff ends at 100 ms, and is polled at 200 ms.
#[tokio::test(start_paused = true)]
async fn to4_a_backoff_that_ends_in_a_poll_after_the_deadline_makes_no_call() {
    let budget = Budget::builder().ratio(0.0).burst(3).floor(0);
    let budget = budget.build().unwrap();
    let busy = |_: Result<&u32, &&str>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    for responds in [false, true] {
        let retry = builder(ms(100)).budget(&budget).build().unwrap();
        let (log, made) = (events(&retry), Cell::new(0));
        let run = retry.run_with(busy, |attempt| {
            made.set(attempt);
            async move { if responds { Ok(1) } else { Err("busy") } }
        });
        let mut run = pin!(Deadline::after(ms(150)).scope(run));
        assert!(polled(run.as_mut()).is_pending());
        tokio::time::advance(ms(200)).await;
        let Poll::Ready(answer) = polled(run.as_mut()) else {
            panic!("still waiting");
        };
        match answer.unwrap_err() {
            Error::Rejected(expired) => {
                assert!(responds, "the failed response was dropped");
                assert_eq!(expired.kind(), RejectionKind::Expired);
                assert_eq!(expired.policy(), retry.name());
            }
            error => assert_eq!(error, Error::Service("busy")),
        }
        assert_eq!((made.get(), budget.snapshot().balance), (1, 3.0));
        assert_eq!(
            *log.lock(),
            ["2 in 100ms", "no 2: Deadline", "Failure(Response) after 1"]
        );
    }
}

// CX14: each failure that could have been retried and was not says why.
#[tokio::test(start_paused = true)]
async fn cx14_a_retry_that_is_not_made_has_its_event_with_the_reason() {
    let failure = |kind, retry_after| Outcome::Failure { kind, retry_after };
    let error = failure(FailureKind::Error, None);
    let long = failure(FailureKind::Throttled, Some(ms(31_000)));
    let permanent = failure(FailureKind::Permanent, None);
    let limited = builder(ms(10)).max_elapsed(ms(5)).build().unwrap();
    for (retry, outcome, reason) in [
        (&limited, error, Some("Elapsed")),
        (&every(ms(100)), error, Some("Deadline")),
        (&every(ms(1)), long, Some("RetryAfter")),
        (&every(ms(1)), permanent, None),
        (
            &builder(ms(1)).max_attempts(1).build().unwrap(),
            error,
            None,
        ),
    ] {
        let log = events(retry);
        let _ = Deadline::after(ms(50))
            .scope(delay_after(retry, outcome))
            .await;
        let log = log.lock();
        let expected = reason.map(|reason| format!("no 2: {reason}"));
        assert_eq!(log[..log.len() - 1], expected.as_slice()[..], "{outcome:?}");
        assert!(log.last().unwrap().ends_with(" after 1"), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rt4_a_spent_budget_returns_the_failure_at_once() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(1)
        .floor(0)
        .build()
        .unwrap();
    let retry = builder(ms(10)).budget(&budget).build().unwrap();
    let log = events(&retry);
    let start = now();
    let answer = retry.run(|attempt| async move { Err::<(), _>(attempt.to_string()) });
    assert_eq!(answer.await, Err(Error::Service("2".to_owned())));
    assert_eq!(now().since(start), ms(10));
    // CX14: with the reason.
    assert_eq!(
        *log.lock(),
        ["2 in 10ms", "no 3: Budget", "Failure(Error) after 2"]
    );
    assert_eq!(
        (retry.snapshot().retried, retry.snapshot().suppressed),
        (1, 1)
    );
}

// CX14, CX16
#[tokio::test(start_paused = true)]
async fn cx14_a_spent_budget_has_its_event_also_where_only_recorded() {
    let budget = Budget::builder().ratio(0.0).burst(0).build().unwrap();
    let retry = builder(ms(10)).max_attempts(2).budget(&budget);
    let retry = retry.build().unwrap();
    let log = events(&retry);
    for (modes, expected) in [
        (
            (Mode::RecordOnly, Mode::Enforce),
            vec!["no 2: Budget", "Failure(Error) after 1"],
        ),
        (
            (Mode::Enforce, Mode::RecordOnly),
            vec![
                "would be no 2: Budget",
                "2 in 10ms",
                "Failure(Error) after 2",
            ],
        ),
        (
            (Mode::RecordOnly, Mode::RecordOnly),
            vec![
                "would be no 2: Budget",
                "would make 2",
                "Failure(Error) after 1",
            ],
        ),
        (
            (Mode::Enforce, Mode::Off),
            vec!["2 in 10ms", "Failure(Error) after 2"],
        ),
    ] {
        retry.set_mode(modes.0);
        budget.set_mode(modes.1);
        let _ = retry.run(|_| async { Err::<(), _>("busy") }).await;
        assert_eq!(std::mem::take(&mut *log.lock()), expected);
    }
    assert_eq!(budget.snapshot().suppressed, 3);
}

/// On its own runtime with a paused clock.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

/// Calls that always fail, from 8 threads, by a retry over a retry. Returns the attempts made.
fn storm(outer: &Retry, inner: &Retry) -> u64 {
    let made = |_| {
        let (outer, inner) = (outer.clone(), inner.clone());
        std::thread::spawn(move || {
            let made = Cell::new(0u64);
            block_on(async {
                for _ in 0..1_250 {
                    let call = |_| {
                        inner.run(|_| {
                            made.set(made.get() + 1);
                            async { Err::<(), _>("busy") }
                        })
                    };
                    let _ = outer.run(call).await;
                }
            });
            made.get()
        })
    };
    let threads: Vec<_> = (0..8).map(made).collect();
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum()
}

// Ratio x calls + burst; the end of an epoch may take a few thousandths. Inside the first attempts
// the inner retry uses the same budget and adds nothing to it.
#[test]
fn rt4_always_failing_calls_from_8_threads_stay_within_the_budget() {
    let budget = || {
        Budget::builder()
            .ratio(0.2)
            .burst(10)
            .refill(crate::budget::Refill::Calls)
            .build()
            .unwrap()
    };
    let at_once = || {
        let backoff = Backoff::constant(Duration::from_nanos(1)).jitter(Jitter::None);
        Retry::builder().backoff(backoff)
    };
    let own = at_once().build().unwrap();
    let once = at_once().max_attempts(1).build().unwrap();
    let unlimited = at_once().no_budget().build().unwrap();
    let budgeted = |budget: &Budget| at_once().budget(budget).build().unwrap();
    let bound = 12_000..=12_010;
    assert!(bound.contains(&storm(&budgeted(&budget()), &once)));
    let shared = budget();
    let (outer, inner) = (budgeted(&shared), budgeted(&shared));
    assert!(bound.contains(&storm(&outer, &inner)));
    assert!(bound.contains(&storm(&budgeted(&budget()), &own)));
    assert_eq!(storm(&unlimited, &once), 30_000);
}

#[tokio::test]
async fn rt4_an_attempt_passes_its_budget_down() {
    let budget = Budget::percent(50);
    let below =
        || Budget::find(crate::context::CallContext::budget()?).map(|budget| budget.name().clone());
    let call =
        |_| async move { Ok::<_, ()>(below().map(|name| name.to_string()).unwrap_or_default()) };
    let retry = builder(ms(1)).budget(&budget).build().unwrap();
    assert_eq!(retry.run(call).await.unwrap(), budget.name().to_string());
    let outer = builder(ms(1)).budget(&budget).build().unwrap();
    let inner = Retry::new(Backoff::constant(ms(1)));
    assert_eq!(
        outer.run(|_| inner.run(call)).await.unwrap(),
        budget.name().to_string()
    );
    assert_ne!(inner.run(call).await.unwrap(), budget.name().to_string());
    assert_eq!(below(), None);
}

#[tokio::test(start_paused = true)]
async fn rt10_retries_do_not_nest() {
    let attempts = |inner: Retry| async move {
        let outer = every(ms(1));
        let made = RefCell::new(Vec::new());
        let call = |n| {
            let (made, inner) = (&made, &inner);
            async move {
                let call = |m| {
                    made.borrow_mut().push((n, m));
                    async { Err::<(), _>("busy") }
                };
                inner.run(call).await
            }
        };
        let _ = outer.run(call).await;
        made.into_inner()
    };
    assert_eq!(
        attempts(every(ms(1))).await,
        [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]
    );
    let nested = every(ms(1));
    nested.change(|now| now.nested(true)).unwrap();
    assert_eq!(attempts(nested).await.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn rt8_the_attempt_number_is_set_in_the_call_and_in_its_polls() {
    let seen = RefCell::new(Vec::new());
    let _ = every(ms(1))
        .run(|n| {
            assert_eq!(crate::attempt(), Some(n));
            let seen = &seen;
            async move {
                tokio::time::sleep(ms(5)).await;
                seen.borrow_mut().push(crate::attempt());
                Err::<(), _>("busy")
            }
        })
        .await;
    assert_eq!(*seen.borrow(), [Some(1), Some(2), Some(3)]);
    assert_eq!(crate::attempt(), None);
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods)] // A test may have a task.
async fn cx14_cx8_rn2_every_call_ends_in_one_event() {
    let retry = every(ms(10));
    let log = events(&retry);
    let _ = retry.run(|_| async { Ok::<_, ()>(1) }).await;
    let _ = retry
        .run(|n| async move { if n == 1 { Err(()) } else { Ok(1) } })
        .await;
    let _ = retry
        .run(|_| async { Err::<u32, _>(Rejection::new(RejectionKind::Expired, "below")) })
        .await;
    let dropped = retry.run(|_| async { Err::<(), _>(()) });
    assert!(tokio::time::timeout(ms(15), dropped).await.is_err());
    let panics = retry.clone();
    let joined = tokio::spawn(async move {
        panics
            .run(|n| async move {
                if n == 1 {
                    Err::<(), _>("busy")
                } else {
                    panic!("twice")
                }
            })
            .await
    });
    assert!(joined.await.is_err());
    let seen: Vec<_> = std::mem::take(&mut *log.lock());
    assert_eq!(
        seen,
        [
            "Success after 1",
            "2 in 10ms",
            "Success after 2",
            "Ignored after 1",
            "2 in 10ms",
            "3 in 10ms",
            "Dropped after 2",
            "2 in 10ms",
            "Panicked after 2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn rt12_an_async_closure_borrows_mutably() {
    let retry = every(ms(1));
    let mut tries = Vec::new();
    let sent = retry.run_mut(async |n| {
        tries.push(n);
        tokio::task::yield_now().await;
        tries.push(n);
        if n < 3 { Err("busy") } else { Ok(n) }
    });
    assert_eq!(sent.await, Ok(3));
    assert_eq!(tries, [1, 1, 2, 2, 3, 3]);
    assert_eq!(retry.snapshot().retried, 2);
}

// RT12: the future of `run` stays `Send`, whatever its closure borrows.
#[tokio::test(start_paused = true)]
async fn rn1_question_mark_turns_nested_runs_into_one_error() {
    type Failed = Error<std::io::Error>;
    async fn get(url: &str) -> Result<usize, std::io::Error> {
        Ok(url.len())
    }
    async fn send(open: bool) -> Result<usize, Failed> {
        let breaker = crate::CircuitBreaker::new("one level");
        if open {
            breaker.force_open();
        }
        let (retry, url) = (every(ms(1)), "/orders".to_owned());
        let answer = retry.run(|_| breaker.run(|| get(&url))).await?;
        Ok(answer)
    }
    fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    assert_eq!(is_send(send(false)).await.unwrap(), 7);
    let rejected = is_send(send(true)).await.unwrap_err();
    let kind = rejected.rejection().unwrap().kind();
    assert_eq!(kind, RejectionKind::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn rn1_a_policy_keeps_its_classifier() {
    // A type of another crate.
    struct Row(u32);
    #[derive(Clone, Copy)]
    struct ByRow;
    impl crate::Classify<Row, &'static str> for ByRow {
        fn classify(&self, outcome: Result<&Row, &&'static str>) -> Outcome {
            match outcome {
                Ok(Row(1)) | Err(_) => Outcome::Failure {
                    kind: FailureKind::Error,
                    retry_after: None,
                },
                Ok(_) => Outcome::Success,
            }
        }
    }
    let retry = every(ms(1)).classify(ByRow);
    let row = retry.run(|n| async move { Ok::<_, &str>(Row(n)) }).await;
    assert_eq!(row.unwrap().0, 2);
    let hedge = crate::Hedge::fixed(ms(5)).classify(ByRow);
    let row = hedge.run(|n| async move { Ok::<_, &str>(Row(n)) }).await;
    assert_eq!(row.unwrap().0, 2);
    let breaker =
        crate::CircuitBreaker::builder("rows").trip_on(crate::Trip::consecutive_failures(1));
    let breaker = breaker.build().unwrap().classify(ByRow);
    let _ = breaker.run(|| async { Ok::<_, &str>(Row(1)) }).await;
    assert_eq!(breaker.state(), crate::circuit_breaker::State::Open);
    assert_eq!((hedge.snapshot().made, retry.snapshot().retried), (1, 1));
    // RN3, RT12: the other forms as well. For `Direct` all of these are successes.
    breaker.reset();
    let _ = breaker.run_blocking(|| Ok::<_, &str>(Row(1)));
    assert_eq!(breaker.state(), crate::circuit_breaker::State::Open);
    let row = retry.run_mut(async |n| Ok::<_, &str>(Row(n))).await;
    assert_eq!(row.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn cx14_a_panicking_listener_harms_no_call() {
    let retry = every(ms(1));
    retry.on_event(|_| panic!("the listener")).forever();
    let answer = retry
        .run(|n| async move { if n == 1 { Err(()) } else { Ok(n) } })
        .await;
    assert_eq!(answer.unwrap(), 2);
}

// The failure is returned, and the budget is unchanged.
#[tokio::test(start_paused = true)]
async fn cx16_record_only_makes_one_attempt_and_emits_the_next() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(3)
        .floor(0)
        .build()
        .unwrap();
    let retry = builder(ms(10)).budget(&budget).build().unwrap();
    retry.set_mode(Mode::RecordOnly);
    let log = events(&retry);
    let start = now();
    let answer = retry
        .run(|n| async move { Err::<(), _>(n.to_string()) })
        .await
        .unwrap_err();
    assert_eq!((answer, now()), (Error::Service("1".to_owned()), start));
    assert_eq!(*log.lock(), ["would make 2", "Failure(Error) after 1"]);
    assert_eq!(
        (retry.snapshot().would_retry, retry.snapshot().retried),
        (1, 0)
    );
    assert_eq!(budget.snapshot().balance, 3.0);

    // Off: one attempt, and no event.
    retry.set_mode(Mode::Off);
    assert_eq!(
        retry
            .run(|n| async move { Err::<(), _>(n.to_string()) })
            .await,
        Err(Error::Service("1".to_owned()))
    );
    assert_eq!(
        retry
            .run(|_| async { Ok::<_, ()>(crate::attempt()).map(|n| n.unwrap_or(0)) })
            .await,
        Ok(0)
    );
    assert_eq!(log.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn cx19_a_running_call_keeps_what_it_started_with() {
    let retry = builder(ms(10)).max_attempts(5).build().unwrap();
    let made = Cell::new(0);
    let running = retry.run(|n| {
        made.set(n);
        if n == 2 {
            retry
                .change(|now| now.max_attempts(1).backoff(Backoff::constant(ms(500))))
                .unwrap();
            retry.set_mode(Mode::Off);
        }
        async { Err::<(), _>("busy") }
    });
    let start = now();
    let _ = running.await;
    assert_eq!((made.get(), now().since(start)), (5, ms(40)));
    assert_eq!(retry.snapshot().max_attempts, 1);

    let before = retry.snapshot();
    let problems = retry
        .change(|now| {
            now.max_attempts(0)
                .max_elapsed(Duration::ZERO)
                .backoff(Backoff::constant(Duration::ZERO))
        })
        .unwrap_err();
    assert_eq!(problems.problems().len(), 3);
    assert_eq!(retry.snapshot(), before);
    retry.set_mode(Mode::Enforce);
    let _ = retry
        .run(|n| {
            made.set(n);
            async { Err::<(), _>("busy") }
        })
        .await;
    assert_eq!(made.get(), 1);
}

#[test]
fn cx18_cx15_a_retry_is_named_after_its_call_site_and_lists_all_problems() {
    let retry = Retry::new(Backoff::constant(ms(1)));
    let site = concat!("retry@", file!(), ":");
    assert!(retry.name().starts_with(site), "{retry:?}");
    let named = Retry::builder().name("search").build().unwrap();
    assert_eq!(&**named.name(), "search");
    let error = Retry::builder()
        .max_attempts(0)
        .backoff(Backoff::linear(Duration::ZERO))
        .build();
    let fields: Vec<_> = error
        .unwrap_err()
        .problems()
        .iter()
        .map(|p| p.field.clone())
        .collect();
    assert_eq!(fields, ["backoff", "max_attempts"]);
}

#[test]
fn cx1_clones_share_everything() {
    let retry = Retry::new(Backoff::constant(ms(1)));
    let clone = retry.clone();
    clone.change(|now| now.max_attempts(7)).unwrap();
    assert_eq!(retry.snapshot(), clone.snapshot());
}

#[tokio::test(start_paused = true)]
async fn rn2_cx7_dropping_the_future_gives_back_what_was_not_used() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(2)
        .floor(0)
        .build()
        .unwrap();
    let retry = builder(ms(10)).budget(&budget).build().unwrap();
    for (patience, left) in [(5, 2.0), (15, 1.0), (18, 0.0)] {
        let run = retry.run(|n| async move {
            if n == 1 {
                return Err::<(), _>("busy");
            }
            std::future::pending().await
        });
        let _ = tokio::time::timeout(ms(patience), run).await;
        assert_eq!(budget.snapshot().balance, left, "after {patience} ms");
    }
}

proptest! {
    #![proptest_config(crate::fuzzing::cases(200))]
    #[test]
    fn rt3_rt5_to4_attempts_and_their_times_are_those_of_a_naive_loop(
        waits in proptest::collection::vec(proptest::option::of(0u64..400), 0..8),
        most in 1u32..8, cap in 0u64..400, deadline in 1u64..2_000, elapsed in 1u64..2_000,
    ) {
        let mut at = 0;
        let mut expected = vec![0];
        for wait in waits.iter().take(most as usize - 1) {
            let next = at + 50.max(wait.unwrap_or(0));
            if wait.is_some_and(|wait| wait > cap) || next >= deadline || next > elapsed {
                break;
            }
            at = next;
            expected.push(at);
        }
        let seen = block_on(async {
            let retry = builder(ms(50)).max_attempts(most).max_elapsed(ms(elapsed));
            let retry = retry.retry_after_cap(ms(cap)).build().unwrap();
            let (start, seen) = (now(), RefCell::new(Vec::new()));
            let classify = |outcome: Result<&u32, &()>| match waits.get(*outcome.unwrap() as usize) {
                Some(wait) => Outcome::Failure { kind: FailureKind::Error, retry_after: wait.map(ms) },
                None => Outcome::Success,
            };
            let run = retry.run_with(classify, |n| {
                seen.borrow_mut().push(now().since(start).as_millis() as u64);
                async move { Ok(n - 1) }
            });
            let _ = Deadline::after(ms(deadline)).scope(run).await;
            seen.into_inner()
        });
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn cx14_a_failed_response_ends_in_a_failure() {
    let retry = builder(ms(1)).max_attempts(1).build().unwrap();
    let log = events(&retry);
    let classify = |_: Result<&u32, &()>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    let _ = block_on(retry.run_with(classify, |_| async { Ok(1) }));
    assert_eq!(
        *log.lock(),
        [format!(
            "{:?} after 1",
            Ending::Failure(FailureKind::Response)
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn to8_rt4_shielded_work_neither_uses_the_callers_budget_nor_adds_to_it() {
    let none = Budget::builder().ratio(0.5).burst(0).floor(0);
    let theirs = none.build().unwrap();
    let outer = builder(ms(1)).budget(&theirs).build().unwrap();
    let inner = Retry::new(Backoff::constant(Duration::from_millis(1)));
    let work = || async { Err::<(), _>(std::io::Error::other("no")) };
    let done = outer.run(|_| async {
        let failed = Deadline::shield(Duration::from_secs(1), inner.run(|_| work())).await;
        assert!(failed?.is_err());
        Ok::<_, Rejection>(())
    });
    done.await.unwrap();
    assert_eq!(theirs.snapshot().balance, 0.5);
    assert_eq!(inner.snapshot().retried, 2, "from its own budget");
}

#[test]
fn cx19_a_change_of_settings_does_not_undo_a_change_of_mode() {
    let retry = Retry::new(Backoff::constant(Duration::from_millis(1)));
    let operator = retry.clone();
    retry
        .change(|now| {
            operator.set_mode(Mode::Off);
            now.max_attempts(7)
        })
        .unwrap();
    assert_eq!(retry.mode(), Mode::Off);
    assert_eq!(retry.snapshot().max_attempts, 7);
}

// A field that both set has the value of the later one.
#[test]
fn cx19_two_changes_at_once_both_stay() {
    let retry = Retry::new(Backoff::constant(ms(1)));
    let other = retry.clone();
    let (first, shared) = (Budget::percent(1), Budget::percent(2));
    let changed = Cell::new(false);
    retry
        .change(|now| {
            let change = |now: Builder| {
                let now = now.max_attempts(7).retry_after_cap(ms(70)).budget(&shared);
                now.nested(true).throttled_base(ms(7)).max_elapsed(ms(700))
            };
            if !changed.replace(true) {
                other.change(change).unwrap();
            }
            now.backoff(Backoff::constant(ms(9))).max_elapsed(ms(900))
        })
        .unwrap();
    let settings = retry.config().settings.clone();
    assert_eq!(settings.backoff, Backoff::constant(ms(9)));
    assert_eq!(settings.max_elapsed, Some(ms(900)));
    assert_eq!(settings.max_attempts, 7);
    assert_eq!(settings.retry_after_cap, ms(70));
    assert_eq!(settings.throttled_base, ms(7));
    assert!(settings.nested);
    let name = |retry: &Retry| {
        let config = retry.config();
        config.plan.funding.budget().map(Budget::id)
    };
    assert_eq!(name(&retry), Some(shared.id()));

    // The other way round.
    retry
        .change(|now| {
            if changed.replace(false) {
                other.change(|now| now.max_attempts(3)).unwrap();
            }
            now.budget(&first).mode(Mode::RecordOnly)
        })
        .unwrap();
    assert_eq!(name(&retry), Some(first.id()));
    assert_eq!(
        (retry.mode(), retry.snapshot().max_attempts),
        (Mode::RecordOnly, 3)
    );
}

// An inherited budget is looked up for each extra attempt.
#[tokio::test(start_paused = true)]
async fn rt4_without_the_inherited_budget_the_own_one_is_used() {
    for gone in [false, true] {
        let outer = Budget::builder().burst(5).floor(0).build().unwrap();
        let id = outer.id();
        let attempt = crate::context::Attempt::new(1, Some(id));
        let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
        let retry = retry.max_attempts(2).build().unwrap();
        let call = retry.run(|_| async {
            tokio::task::yield_now().await;
            Err::<(), _>("busy")
        });
        let mut call = std::pin::pin!(call);
        let mut kept = Some(outer);
        let _ = std::future::poll_fn(|cx| {
            let polled = {
                let _entered = attempt.enter();
                call.as_mut().poll(cx)
            };
            if gone {
                kept = None;
            }
            polled
        })
        .await;
        let config = retry.config();
        let own = config.plan.funding.budget().unwrap().snapshot().made;
        let given = kept.map_or(0, |budget| budget.snapshot().made);
        assert_eq!((given, own), if gone { (0, 1) } else { (1, 0) });
        assert!(Budget::find(id).is_none());
    }
}
