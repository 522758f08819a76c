use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::circuit_breaker::Trip;
use crate::sync::{Arc, Mutex};
use crate::testing::traced;
#[cfg(feature = "tokio")]
use crate::testing::{Text, secs};
#[cfg(feature = "tokio")]
use crate::{Budget, Retry, Timeout};
use crate::{Bulkhead, CircuitBreaker, Mode, Quota, RateLimiter};

/// Keeps the level, the message and the fields of each event.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>, Level);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {field}={value}").unwrap();
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.1
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Fields(&mut line));
        self.0.lock().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What `calls` report to `tracing`, each with its level, message and fields.
pub(crate) fn lines_of(calls: impl FnOnce()) -> Vec<String> {
    lines_up_to(Level::TRACE, calls)
}

fn lines_up_to(level: Level, calls: impl FnOnce()) -> Vec<String> {
    let log = Log(Arc::default(), level);
    traced(log.clone(), calls);
    let lines = log.0.lock();
    lines.clone()
}

#[test]
fn a_line_is_kept_though_a_thread_without_a_subscriber_reports_it_first() {
    let report = || tracing::info!("reported");
    let lines = lines_of(|| {
        std::thread::spawn(report).join().unwrap();
        report();
    });
    assert_eq!(lines, ["INFO message=reported"]);
}

#[cfg(all(feature = "tokio", feature = "test-util"))]
#[test]
fn ob2_rejections_are_summarised_at_once_and_then_every_ten_seconds_at_most() {
    let breaker = CircuitBreaker::builder("orders").build().unwrap();
    let reject = |calls: u32| (0..calls).for_each(|_| drop(breaker.try_acquire().unwrap_err()));
    breaker.force_open();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let mut runtime = { runtime }.enable_time().start_paused(true).build();
    let lines = lines_up_to(Level::WARN, || {
        runtime.as_mut().unwrap().block_on(async {
            reject(470);
            tokio::time::advance(secs(9)).await;
            reject(9);
            tokio::time::advance(secs(1)).await;
            reject(1);
            reject(20);
            tokio::time::advance(secs(100)).await;
            reject(1);
        });
    });
    let summary = |calls, seconds| {
        let since = seconds;
        format!(
            "WARN message=calls rejected resilience.policy=orders resilience.calls={calls}{since} \
             resilience.reasons=circuit_open {calls}"
        )
    };
    assert_eq!(
        lines,
        [
            summary(1, ""),
            summary(479, " resilience.seconds=10"),
            summary(21, " resilience.seconds=100")
        ]
    );
}

#[test]
fn ob2_a_rejection_by_a_keyed_limiter_with_other_limits_is_one_line() {
    let in_all = RateLimiter::builder(Quota::per_day(2)).name("in all");
    let per_client = RateLimiter::builder(Quota::per_day(1)).name("per client");
    let per_client = per_client.per_key::<str>(10).unwrap();
    let both = per_client.with_limits([in_all.build().unwrap()]).unwrap();
    let policies = |level, key: &str| {
        let lines = lines_up_to(level, || drop(both.try_acquire(key)));
        let policy = |line: &String| {
            let (_, policy) = line.split_once("resilience.policy=").unwrap();
            policy.split(" resilience").next().unwrap().to_owned()
        };
        lines.iter().map(policy).collect::<Vec<_>>()
    };
    assert!(both.allow("ann"));
    assert_eq!(policies(Level::DEBUG, "ann"), ["per client"]);
    assert_eq!(policies(Level::WARN, "ann"), ["per client"]);
    assert!(both.allow("joe"));
    assert_eq!(policies(Level::DEBUG, "eve"), ["in all"]);
    assert_eq!(policies(Level::WARN, "eve"), ["in all"]);
}

#[test]
fn a_breaker_reports_its_transitions_and_rejections() {
    let breaker = CircuitBreaker::new("payments");
    let lines = lines_of(|| {
        breaker.try_acquire().unwrap().success();
        breaker.force_open();
        breaker.try_acquire().unwrap_err();
        breaker.release();
    });
    assert_eq!(
        lines,
        [
            "WARN message=circuit breaker opened resilience.policy=payments \
             resilience.from=closed resilience.to=forced_open resilience.cause=forced open",
            "DEBUG message=call rejected resilience.policy=payments \
             resilience.rejection=circuit_open resilience.reason=circuit breaker is open",
            "INFO message=circuit breaker changed state resilience.policy=payments \
             resilience.from=forced_open resilience.to=closed resilience.cause=released",
        ]
    );
}

#[test]
fn admitted_calls_report_nothing_and_rejected_ones_once() {
    let limiter = RateLimiter::per_day(1);
    let bulkhead = Bulkhead::new(1);
    let lines = lines_of(|| {
        limiter.try_acquire().unwrap();
        limiter.try_acquire().unwrap_err();
        assert!(!limiter.allow());
        let permit = bulkhead.try_acquire().unwrap();
        bulkhead.try_acquire().unwrap_err();
        bulkhead.set_mode(Mode::RecordOnly);
        bulkhead.try_acquire().unwrap().release();
        permit.release();
    });
    let said: Vec<_> = lines
        .iter()
        .map(|line| line.split(" resilience.policy").next().unwrap())
        .collect();
    let rejected = "DEBUG message=call rejected";
    let would_be = "DEBUG message=call would be rejected";
    let expected = [rejected, rejected, rejected, would_be];
    assert_eq!(said, expected, "{lines:?}");
}

#[test]
fn cb11_the_log_of_an_opened_breaker_says_in_words_what_tripped_it() {
    let rule = Trip::consecutive_failures(2);
    let breaker = CircuitBreaker::builder("payments").trips([rule]);
    let breaker = breaker.build().unwrap();
    let call = || breaker.run_blocking(|| Err::<(), _>(std::io::Error::other("down")));
    let because = || crate::Error::Service(std::io::Error::other("down"));
    let lines = lines_of(|| {
        (0..2).for_each(|_| drop(call()));
        breaker.reset();
        (0..2).for_each(|_| drop(breaker.run_blocking(|| Err::<(), _>(because()))));
        breaker.reset();
        (0..2).for_each(|_| breaker.try_acquire().unwrap().failure());
    });
    let causes: Vec<_> = lines
        .iter()
        .map(|line| line.split_once("resilience.cause=").unwrap().1)
        .map(|line| line.split(" resilience.open_for").next().unwrap())
        .collect();
    assert_eq!(
        causes,
        [
            "2 consecutive failures; last failure: down",
            "reset",
            "2 consecutive failures; last failure: call failed: down",
            "reset",
            "2 consecutive failures; last failure: an error",
        ]
    );
}

/// The same of async calls, with the time paused.
#[cfg(feature = "tokio")]
fn lines_of_async(calls: impl Future<Output = ()>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let mut runtime = { runtime }.enable_time().start_paused(true).build();
    lines_of(|| runtime.as_mut().unwrap().block_on(calls))
}

#[cfg(feature = "tokio")]
#[test]
fn cx14_a_call_that_times_out_is_not_logged_as_rejected() {
    let timeout = Timeout::builder(secs(1)).name("total").build().unwrap();
    let call = async || {
        let never = std::future::pending::<Result<(), Text>>;
        drop(timeout.run(never).await);
    };
    let lines = lines_of_async(async {
        call().await;
        crate::Deadline::after(std::time::Duration::ZERO)
            .scope(call())
            .await;
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with(
            "DEBUG message=call timed out resilience.policy=total \
             resilience.rejection=timed_out resilience.reason=timed out after"
        ),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("DEBUG message=call rejected resilience.policy=total"),
        "{lines:?}"
    );
}

#[cfg(feature = "tokio")]
#[test]
fn cx14_a_retry_that_is_not_made_is_logged_with_its_reason() {
    let budget = Budget::builder().burst(0).name("spent").build().unwrap();
    let retry = Retry::builder().name("reads").budget(&budget);
    let retry = retry.build().unwrap();
    let fail = |_| async { Err::<(), _>(Text("down")) };
    let lines = lines_of_async(async { drop(retry.run(fail).await) });
    assert_eq!(
        lines,
        [
            "DEBUG message=attempt not made resilience.policy=reads resilience.attempt=2 \
          resilience.suppression=budget resilience.reason=the budget is spent"
        ]
    );
}
