//! An extra attempt whose service is not ready yet.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::support::{Fail, ms};
use crate::deadline::Deadline;
use crate::rejection::Error;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::time::now;
use crate::{Budget, Hedge, HedgeLayer};

/// Ready itself; its clones are, once `ready` is set. Every call takes its time and fails.
struct Pool {
    template: bool,
    ready: Arc<AtomicBool>,
    calls: Arc<Mutex<u32>>,
    takes: Duration,
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self {
            template: true,
            ready: Arc::clone(&self.ready),
            calls: Arc::clone(&self.calls),
            takes: self.takes,
        }
    }
}

impl Service<u32> for Pool {
    type Response = u32;
    type Error = Error<Fail>;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Error<Fail>>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.template && !self.ready.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    #[allow(clippy::disallowed_methods)] // A test's own service may box.
    fn call(&mut self, _: u32) -> Self::Future {
        let takes = self.takes;
        let nth = {
            let mut calls = self.calls.lock();
            *calls += 1;
            *calls
        };
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            Err(Error::Service(Fail::Plain(nth)))
        })
    }
}

/// Hedges after 10 ms; its first call takes `takes`.
fn hedged(takes: Duration) -> (Hedge, Budget, Pool) {
    let budget = Budget::builder().ratio(0.0).burst(5).floor(0);
    let budget = budget.build().unwrap();
    let hedge = Hedge::builder().delay(ms(10)).budget(&budget);
    let pool = Pool {
        template: false,
        ready: Arc::default(),
        calls: Arc::default(),
        takes,
    };
    (hedge.build().unwrap(), budget, pool)
}

#[tokio::test(start_paused = true)]
async fn hg2_an_attempt_that_waits_for_readiness_withholds_no_failure() {
    // The extra attempt starts by its delay, or because the first one has failed.
    for takes in [ms(20), ms(5)] {
        let (hedge, budget, pool) = hedged(takes);
        let calls = Arc::clone(&pool.calls);
        let mut service = HedgeLayer::new(&hedge).layer(pool);
        let start = now();
        let answer = tokio::time::timeout(ms(1_000), service.call(1)).await;
        assert_eq!(
            answer.expect("withheld"),
            Err(Error::Service(Fail::Plain(1)))
        );
        assert_eq!(now().since(start), takes);
        assert_eq!((*calls.lock(), budget.snapshot().balance), (1, 5.0));
    }
}

#[tokio::test(start_paused = true)]
async fn to4_an_extra_attempt_that_is_ready_after_the_deadline_is_not_made() {
    let (hedge, budget, pool) = hedged(ms(1_000));
    let events = crate::testing::Recorder::new();
    let listener = |event: &crate::Event<'_>| format!("{:?}", event.kind);
    hedge.on_event(events.listener_with(listener)).forever();
    let (calls, ready) = (Arc::clone(&pool.calls), Arc::clone(&pool.ready));
    let mut service = HedgeLayer::new(&hedge).layer(pool);
    let mut call = pin!(Deadline::after(ms(50)).scope(service.call(1)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(ms(10)).await;
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(budget.snapshot().balance, 4.0);
    tokio::time::advance(ms(40)).await;
    ready.store(true, Ordering::Relaxed);
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!((*calls.lock(), budget.snapshot().balance), (1, 5.0));
    // CX14
    assert_eq!(
        events.all(),
        ["Suppressed { attempt: 2, reason: Deadline }"]
    );
}

#[tokio::test(start_paused = true)]
async fn to3_an_extra_attempt_that_is_ready_in_a_late_poll_of_another_caller_is_made_later() {
    let (hedge, _, pool) = hedged(ms(1_000));
    let (calls, ready) = (Arc::clone(&pool.calls), Arc::clone(&pool.ready));
    let mut service = HedgeLayer::new(&hedge).layer(pool);
    let mut call = pin!(service.call(1));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(ms(10)).await;
    {
        let timeout = crate::Timeout::new(ms(20));
        let mut within = pin!(timeout.run(|| call.as_mut()));
        assert!(within.as_mut().poll(&mut cx).is_pending());
        tokio::time::advance(ms(40)).await;
        ready.store(true, Ordering::Relaxed);
        assert!(within.as_mut().poll(&mut cx).is_ready());
    }
    assert_eq!(*calls.lock(), 1);
    tokio::time::advance(ms(2)).await;
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(*calls.lock(), 2);
}
