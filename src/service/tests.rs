//! TO3, TO4: a call that has waited, and whose service becomes ready after a deadline.

use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tower_layer::Layer;
use tower_service::Service;

use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::testing::{Recorder, ms};
use crate::{
    Bulkhead, BulkheadLayer, Deadline, Mode, Quota, RateLimitLayer, RateLimiter, Rejection,
    RejectionKind,
};

/// Ready once it is set so. Counts its calls.
#[derive(Clone, Default)]
struct Late {
    ready: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Service<()> for Late {
    type Response = ();
    type Error = Rejection;
    type Future = Ready<Result<(), Rejection>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        match self.ready.load(Ordering::Relaxed) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(()))
    }
}

/// A call with a deadline after 150 ms, which is admitted after 100 ms, and whose service is ready
/// after 160 ms. Returns its outcome and how many calls were made.
async fn late<S>(
    layer: impl Layer<Late, Service = S>,
    admit: impl FnOnce(),
    then: impl FnOnce(),
) -> (Result<(), Rejection>, u64)
where
    S: Service<(), Response = (), Error = Rejection>,
{
    let inner = Late::default();
    let mut service = layer.layer(inner.clone());
    let mut call = pin!(Deadline::after(ms(150)).scope(service.call(())));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(ms(100)).await;
    admit();
    assert!(call.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(ms(60)).await;
    inner.ready.store(true, Ordering::Relaxed);
    then();
    let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) else {
        panic!("its service is ready");
    };
    (outcome, inner.calls.load(Ordering::Relaxed))
}

fn expired(outcome: (Result<(), Rejection>, u64)) -> bool {
    let (Err(rejection), calls) = outcome else {
        return false;
    };
    rejection.kind() == RejectionKind::Expired && calls == 0
}

#[tokio::test(start_paused = true)]
async fn to4_a_queued_call_whose_service_is_ready_after_its_deadline_frees_its_permit() {
    let bulkhead = Bulkhead::builder(1).queue(2).max_wait(ms(5_000));
    let bulkhead = bulkhead.build().unwrap();
    let held = bulkhead.try_acquire_owned().unwrap();
    let log = Recorder::new();
    bulkhead.on_event(log.listener()).forever();
    let in_flight = || assert_eq!(bulkhead.snapshot().in_flight, 1);
    let call = late(
        BulkheadLayer::queued(&bulkhead),
        || held.release(),
        in_flight,
    );
    assert!(expired(call.await));
    assert_eq!(bulkhead.snapshot().in_flight, 0);
    // CX14: one terminal event, that of the call.
    assert_eq!(log.take(), ["Completed", "rejected"]);
}

#[tokio::test(start_paused = true)]
async fn to4_a_waiting_call_whose_service_is_ready_after_its_deadline_returns_its_token() {
    for mode in [Mode::Enforce, Mode::RecordOnly] {
        let quota = Quota::per_second(10).burst(1);
        let limiter = RateLimiter::builder(quota).max_wait(ms(5_000));
        let limiter = limiter.build().unwrap();
        assert!(limiter.allow());
        let log = Recorder::new();
        limiter.on_event(log.listener()).forever();
        let set_mode = || limiter.set_mode(mode);
        let call = late(RateLimitLayer::waiting(&limiter), || (), set_mode).await;
        match mode {
            Mode::Enforce => {
                assert!(expired(call));
                assert_eq!(
                    (limiter.available(), &*log.take()),
                    (1, &["rejected".to_owned()][..])
                );
            }
            // CX16: rejects nothing.
            _ => {
                assert_eq!(call, (Ok(()), 1));
                assert_eq!(log.take(), ["Admitted"]);
            }
        }
    }
}

// The deadline is that of a caller that polls the call by reference.
#[tokio::test(start_paused = true)]
async fn to3_a_queued_call_whose_service_is_ready_in_a_late_poll_of_another_caller_is_made_later() {
    let bulkhead = Bulkhead::builder(1).queue(2).max_wait(ms(5_000));
    let bulkhead = bulkhead.build().unwrap();
    let held = bulkhead.try_acquire_owned().unwrap();
    let inner = Late::default();
    let mut service = BulkheadLayer::queued(&bulkhead).layer(inner.clone());
    let mut call = pin!(service.call(()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    {
        let timeout = crate::Timeout::new(ms(50));
        let mut within = pin!(timeout.run(|| call.as_mut()));
        assert!(within.as_mut().poll(&mut cx).is_pending());
        held.release();
        assert!(within.as_mut().poll(&mut cx).is_pending());
        tokio::time::advance(ms(60)).await;
        inner.ready.store(true, Ordering::Relaxed);
        let cut = within.as_mut().poll(&mut cx);
        let Poll::Ready(Err(crate::Error::Rejected(cut))) = cut else {
            panic!("{cut:?}");
        };
        assert!(matches!(cut.kind(), RejectionKind::TimedOut { .. }));
    }
    assert_eq!(inner.calls.load(Ordering::Relaxed), 0);
    assert_eq!(call.await, Ok(()));
    assert_eq!(inner.calls.load(Ordering::Relaxed), 1);
}
