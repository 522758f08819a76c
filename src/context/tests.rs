use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Attempt, CallContext, ClockReading, address, attempt};
use crate::budget::Budget;
use crate::time::Tick;

// RT11: an extra attempt waits for nothing, and so do the calls that it makes.
#[test]
fn rt11_a_call_below_an_extra_attempt_is_extra() {
    let (outer, inner) = (Budget::percent(10), Budget::percent(10));
    let here = || (attempt(), CallContext::extra(), CallContext::budget());
    let of = |budget: &Budget| Some(budget.id());
    let enter = |number, budget| Attempt { number, budget }.enter();
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
fn the_service_that_is_called_takes_it_once() {
    let mut service = 7_u64;
    let taken = known(5).call(&mut service, |service| (taken(service), taken(service)));
    assert_eq!(taken, (Some(Tick(5)), None));
    assert_eq!(
        ClockReading::none().call(&mut service, |service| super::ClockReading::of(service).0),
        None
    );
}

#[test]
fn it_is_handed_on_from_each_to_the_next() {
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

// TO1: what runs above a service of ours may have taken its time.
#[test]
fn below_another_service_the_clock_is_read_anew() {
    #[repr(transparent)]
    struct Foreign<S>(S);
    let mut service = Foreign(7_u64);
    known(5).call(&mut service, |service| {
        assert_eq!(address(service), address(&service.0));
        assert_eq!(taken(&service.0), None);
    });

    // At another place.
    let mut service = (1_u64, 2_u64);
    known(5).call(&mut service.0, |_| assert_eq!(taken(&service.1), None));
}

#[test]
fn what_was_not_taken_is_withdrawn() {
    let mut service = 7_u64;
    known(5).call(&mut service, |_| ());
    assert_eq!(taken(&service), None);

    let panics = AssertUnwindSafe(|| known(5).call(&mut service, |_| panic!("as it should")));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(taken(&service), None);
}

#[test]
fn it_is_read_once() {
    let mut reading = ClockReading::none();
    let now = reading.now();
    assert_eq!((reading.now(), reading.recent()), (now, now));
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

    /// What was handed to it last; zero for nothing.
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

    fn hands_on<S: Service<u32>>(layer: impl Layer<Probe, Service = S>) -> u64 {
        let probe = Probe::default();
        let mut service = layer.layer(probe.clone());
        let future = known(5).call(&mut service, |service| service.call(1));
        drop(future);
        probe.0.load(Ordering::Relaxed)
    }

    #[test]
    fn every_layer_hands_on_what_it_was_handed() {
        let bulkhead = Bulkhead::builder(8).queue(8).build().unwrap();
        let limiter = RateLimiter::per_second(8);
        let retry = Retry::new(Backoff::constant(Duration::from_secs(1)));
        let hedge = Hedge::builder().quantile(0.9).build().unwrap();
        let handed = [
            hands_on(TimeoutLayer::new(Duration::from_secs(1))),
            hands_on(RetryLayer::new(retry)),
            hands_on(HedgeLayer::new(&hedge)),
            hands_on(CircuitBreakerLayer::new(CircuitBreaker::new("breaker"))),
            hands_on(BulkheadLayer::new(&bulkhead)),
            hands_on(BulkheadLayer::queued(&bulkhead)),
            hands_on(RateLimitLayer::new(&limiter)),
            hands_on(RateLimitLayer::waiting(&limiter)),
        ];
        assert_eq!(handed, [5; 8]);
    }

    // RL1: what is handed serves a charge, but not the lease of a stripe, which is charged for a
    // time at which the stripe is owned.
    #[tokio::test(start_paused = true)]
    async fn rl1_a_lease_is_not_charged_for_the_time_that_was_handed() {
        let limiter = || {
            let quota = Quota::per_minute(1).burst(100_000);
            let limiter = RateLimiter::builder(quota).striped(true).build();
            limiter.unwrap()
        };
        let (handed, asked) = (limiter(), limiter());
        let mut service = RateLimitLayer::new(&handed).layer(Probe::default());
        let before = time::now();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(time::now() > Tick(before.0 + 3_599_000_000_000));
        let future = known(before.0).call(&mut service, |service| service.call(1));
        drop(future);
        assert!(asked.allow());
        assert_eq!(handed.available(), asked.available());
    }
}
