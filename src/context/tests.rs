use std::panic::{AssertUnwindSafe, catch_unwind};

use super::reading::address;
use super::{Attempt, CallContext, ClockReading, attempt};
use crate::budget::Budget;
use crate::time::Tick;

#[test]
fn rt11_a_call_below_an_extra_attempt_is_extra() {
    let (outer, inner) = (Budget::percent(10), Budget::percent(10));
    let here = || (attempt(), CallContext::extra(), CallContext::budget());
    let of = |budget: &Budget| Some(budget.id());
    let enter = |number, budget| Attempt::new(number, budget).enter();
    assert_eq!(here(), (None, false, None));
    {
        let _entered = enter(2, of(&outer));
        assert_eq!(here(), (Some(2), true, of(&outer)));
        {
            let _entered = enter(1, of(&inner));
            assert_eq!(here(), (Some(1), true, of(&inner)));
            let _entered = enter(3, None);
            assert_eq!(here(), (Some(3), true, None));
        }
        assert_eq!(here(), (Some(2), true, of(&outer)));
    }
    assert_eq!(here(), (None, false, None));
    let _entered = enter(1, None);
    assert_eq!(here(), (Some(1), false, None));
}

fn taken<S>(service: &S) -> Option<Tick> {
    ClockReading::of(service).0
}

fn known(at: u64) -> ClockReading {
    ClockReading(Some(Tick(at)))
}

#[test]
fn the_called_service_takes_a_reading_once() {
    let mut service = 7_u64;
    let taken = known(5).call(&mut service, |service| (taken(service), taken(service)));
    assert_eq!(taken, (Some(Tick(5)), None));
    assert_eq!(
        ClockReading::none().call(&mut service, |service| super::ClockReading::of(service).0),
        None
    );
}

#[test]
fn a_reading_passes_from_each_service_to_the_next() {
    let mut services = (1_u64, (2_u8, 3_u16));
    let seen = known(5).call(&mut services, |outer| {
        let reading = ClockReading::of(outer);
        reading.call(&mut outer.1, |inner| {
            let reading = ClockReading::of(inner);
            reading.call(&mut inner.1, |innermost| taken(innermost))
        })
    });
    assert_eq!(seen, Some(Tick(5)));
}

// A foreign service above may have taken any time.
#[test]
fn to1_a_service_below_a_foreign_one_reads_the_clock_again() {
    #[repr(transparent)]
    struct Foreign<S>(S);
    let mut service = Foreign(7_u64);
    known(5).call(&mut service, |service| {
        assert_eq!(address(service), address(&service.0));
        assert_eq!(taken(&service.0), None);
    });

    // At another address.
    let mut service = (1_u64, 2_u64);
    known(5).call(&mut service.0, |_| assert_eq!(taken(&service.1), None));
}

#[test]
fn a_reading_that_was_not_taken_is_withdrawn() {
    let mut service = 7_u64;
    known(5).call(&mut service, |_| ());
    assert_eq!(taken(&service), None);

    let panics = AssertUnwindSafe(|| known(5).call(&mut service, |_| panic!("inside")));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(taken(&service), None);
}

#[test]
fn the_clock_is_read_once_for_a_call() {
    let mut reading = ClockReading::none();
    let now = reading.now();
    assert_eq!(reading.now(), now);
    assert!(ClockReading::none().now() >= now);
}

#[cfg(all(feature = "tower", feature = "test-util"))]
mod layers {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tower_layer::Layer;
    use tower_service::Service;

    use super::{known, taken};
    use crate::sync::{Arc, AtomicU64, Ordering};
    use crate::time::{self, Tick};
    use crate::{
        Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Error, Hedge,
        HedgeLayer, Quota, RateLimitLayer, RateLimiter, Retry, RetryLayer, TimeoutLayer,
    };

    /// Keeps the last reading that it got; zero for none.
    #[derive(Clone, Default)]
    struct Probe(Arc<AtomicU64>);

    impl Service<u32> for Probe {
        type Response = u32;
        type Error = Error<Infallible>;
        type Future = Ready<Result<u32, Error<Infallible>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: u32) -> Self::Future {
            let taken = taken(self).map_or(0, |tick| tick.0);
            self.0.store(taken, Ordering::Relaxed);
            ready(Ok(request))
        }
    }

    fn passed_on_by<S: Service<u32>>(layer: impl Layer<Probe, Service = S>) -> u64 {
        let probe = Probe::default();
        let mut service = layer.layer(probe.clone());
        let future = known(5).call(&mut service, |service| service.call(1));
        drop(future);
        probe.0.load(Ordering::Relaxed)
    }

    #[test]
    fn every_layer_passes_its_reading_to_the_next() {
        let bulkhead = Bulkhead::builder(8).queue(8).build().unwrap();
        let limiter = RateLimiter::per_second(8);
        let retry = Retry::new(Backoff::constant(Duration::from_secs(1)));
        let hedge = Hedge::builder().quantile(0.9).build().unwrap();
        let passed = [
            passed_on_by(TimeoutLayer::new(Duration::from_secs(1))),
            passed_on_by(RetryLayer::new(retry)),
            passed_on_by(HedgeLayer::new(&hedge)),
            passed_on_by(CircuitBreakerLayer::new(CircuitBreaker::new("breaker"))),
            passed_on_by(BulkheadLayer::new(&bulkhead)),
            passed_on_by(BulkheadLayer::queued(&bulkhead)),
            passed_on_by(RateLimitLayer::new(&limiter)),
            passed_on_by(RateLimitLayer::waiting(&limiter)),
        ];
        assert_eq!(passed, [5; 8]);
    }

    // A reading serves a charge and not the lease of a stripe, which is charged for a time at which
    // the thread owns the stripe.
    #[tokio::test(start_paused = true)]
    async fn rl1_a_lease_is_not_charged_for_an_earlier_reading() {
        let limiter = || {
            let quota = Quota::per_minute(1).burst(100_000);
            let limiter = RateLimiter::builder(quota).striped(true).build();
            limiter.unwrap()
        };
        let (layered, direct) = (limiter(), limiter());
        let mut service = RateLimitLayer::new(&layered).layer(Probe::default());
        let before = time::now();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(time::now() > Tick(before.0 + 3_599_000_000_000));
        let future = known(before.0).call(&mut service, |service| service.call(1));
        drop(future);
        assert!(direct.allow());
        assert_eq!(layered.available(), direct.available());
    }
}
