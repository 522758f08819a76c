//! CX, RN, CB14: the behaviours of every layer.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tower_layer::Layer;
use tower_service::Service;

use super::support::{Answer, Backend, Events, NEVER, answer, call, fail, ms};
use crate::event::{Ending, EventKind};
use crate::hedge::{HedgeService, ResponseFuture};
use crate::rejection::Error;
use crate::{Budget, Hedge, HedgeLayer, Mode, Timeout};

fn unlimited() -> Budget {
    Budget::builder().mode(Mode::Off).build().unwrap()
}

fn hedge(max_extra: u32) -> Hedge {
    let hedge = Hedge::builder().delay(ms(10)).max_extra(max_extra);
    hedge.budget(unlimited()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn cx3_every_attempt_uses_a_service_that_was_made_ready_for_it() {
    let mut backend = Backend::new(|n| match n % 4 {
        3 => (ms(5), answer(n)),
        1 => (ms(5), fail(n)),
        _ => (NEVER, answer(n)),
    });
    backend.unready = 3;
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(hedge(3)).layer(backend);
    for round in 0..5 {
        assert_eq!(call(&mut service, ()).await, answer(round * 4 + 3));
    }
    assert_eq!(log.calls(), 20);
    assert_eq!(log.in_flight(), 0);
}

// The request is copied only if it may be sent again.
#[tokio::test(start_paused = true)]
async fn cx13_a_call_that_is_not_hedged_clones_nothing() {
    use crate::sync::{AtomicU64, Ordering::Relaxed};
    static COPIES: AtomicU64 = AtomicU64::new(0);
    #[derive(PartialEq)]
    struct Request(bool);
    impl crate::attempts::Idempotent for Request {
        fn is_idempotent(&self) -> bool {
            self.0
        }
    }
    impl crate::attempts::Resend for Request {
        fn copy(&self) -> Option<Self> {
            COPIES.fetch_add(1, Relaxed);
            Some(Self(self.0))
        }
    }
    let backend = Backend::new(|n| (ms(5), answer(n)));
    let log = backend.log.clone();
    let hedge = hedge(1);
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    for _ in 0..10 {
        call(&mut service, Request(true)).await.unwrap();
    }
    assert_eq!((*log.clones.lock(), COPIES.load(Relaxed)), (1, 10));
    call(&mut service, Request(false)).await.unwrap();
    let short = Timeout::new(ms(8));
    short
        .run(|| call(&mut service, Request(true)))
        .await
        .unwrap();
    hedge.set_mode(Mode::RecordOnly);
    call(&mut service, Request(true)).await.unwrap();
    hedge.set_mode(Mode::Off);
    call(&mut service, Request(true)).await.unwrap();
    let unknown = Hedge::builder().build().unwrap();
    let mut service = HedgeLayer::new(&unknown).layer(service);
    call(&mut service, Request(true)).await.unwrap();
    assert_eq!(COPIES.load(Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn rt6_a_request_is_copied_as_often_as_it_may_be_sent_again() {
    #[derive(Debug)]
    struct Request(Rc<()>);
    impl crate::attempts::Idempotent for Request {
        fn is_idempotent(&self) -> bool {
            true
        }
    }
    impl crate::attempts::Resend for Request {
        fn copy(&self) -> Option<Self> {
            Some(Self(Rc::clone(&self.0)))
        }
    }
    let backend = Backend::new(|_| (NEVER, answer(0)));
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(hedge(2)).layer(backend);
    let request = Rc::new(());
    let call = call(&mut service, Request(Rc::clone(&request)));
    let _ = tokio::time::timeout(ms(15), call).await;
    assert_eq!(log.calls(), 2);
    assert_eq!(Rc::strong_count(&request), 1);
}

/// A backend whose call number `at` panics.
fn panicking(in_call: bool, at: u32) -> Backend {
    Backend::new(move |n| {
        assert!(!(in_call && n == at), "in call");
        (if n == at { ms(15) } else { NEVER }, answer(n))
    })
}

struct Panics<S>(S, u32);

impl<S: Clone> Clone for Panics<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

impl<S> Service<()> for Panics<S>
where
    S: Service<(), Response = Answer, Future: Send + 'static>,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let at = self.1;
        let call = self.0.call(());
        Box::pin(async move {
            let answer = call.await?;
            assert!(answer != Answer(at.into()), "in poll");
            Ok(answer)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn cx8_a_panic_in_any_attempt_releases_everything_and_ends_in_one_event() {
    for (in_call, at) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let hedge = hedge(2);
        let events = Events::of(&hedge);
        let backend = panicking(in_call, at);
        let log = backend.log.clone();
        let mut service = HedgeLayer::new(&hedge).layer(Panics(backend, at));
        std::future::poll_fn(|cx| service.poll_ready(cx))
            .await
            .unwrap();
        let made = catch_unwind(AssertUnwindSafe(|| service.call(())));
        let mut kept = None;
        if let Ok(future) = made {
            let future = kept.insert(Box::pin(future));
            let polled = std::future::poll_fn(|cx| {
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(|_| false),
                    Err(_) => Poll::Ready(true),
                }
            });
            assert!(polled.await, "it panics");
        }
        // The future has not been dropped.
        assert_eq!(log.in_flight(), 0, "{in_call} {at}");
        assert_eq!(events.endings(Ending::Panicked), 1);
        drop(kept);
        let endings = events
            .all()
            .iter()
            .filter(|text| !text.starts_with(['2', '3']))
            .count();
        assert_eq!(endings, 1, "{:?}", events.all());
        assert_eq!(
            (crate::attempt(), crate::Deadline::remaining()),
            (None, None)
        );
    }
}

#[test]
fn ob1_cx8_a_copier_that_panics_leaves_no_call_without_an_end() {
    let hedge = hedge(1);
    let copy = |(): &()| -> Option<()> { panic!("in the copier") };
    let layer = HedgeLayer::new(&hedge).resend(copy);
    let mut service = layer.layer(Backend::new(|n| (ms(1), answer(n))));
    let made = catch_unwind(AssertUnwindSafe(|| drop(service.call(()))));
    assert!(made.is_err());
    let totals = hedge.snapshot().totals;
    assert_eq!((totals.calls(), totals.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn ob1_cx8_an_attempt_that_panics_in_its_drop_leaves_no_call_without_an_end() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let hedge = hedge(1);
    let mut call = Box::pin(hedge.run(|_| async {
        let _held = Panics;
        std::future::pending::<Result<u8, std::io::Error>>().await
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_err());
    assert_eq!(hedge.snapshot().totals.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn cx9_polls_are_proportional_to_events() {
    let backend = Backend::new(|n| match n {
        2 => (ms(500), answer(n)),
        _ => (NEVER, answer(n)),
    });
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(hedge(2)).layer(backend);
    call(&mut service, ()).await.unwrap();
    // At the call and when the timer fires twice; from then on all three; and at the end.
    assert!(*log.polls.lock() <= 9, "{}", log.polls.lock());
}

// Where the failure of one attempt starts another.
#[tokio::test(start_paused = true)]
async fn cx9_a_new_attempt_does_not_poll_the_others_again() {
    let backend = Backend::new(|n| match n {
        2 => (ms(5), fail(n)),
        _ => (NEVER, answer(n)),
    });
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(hedge(3)).layer(backend);
    let _ = tokio::time::timeout(ms(27), call(&mut service, ())).await;
    assert_eq!(log.times(), [0, 10, 20, 25]);
    assert!(*log.polls.lock() <= 14, "{}", log.polls.lock());
}

#[test]
fn cx10_services_and_futures_are_what_their_parts_allow() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    fn is_clone<T: Clone>() {}
    fn is_unpin<T: Unpin>() {}
    is_send::<HedgeLayer>();
    is_sync::<HedgeLayer>();
    is_clone::<HedgeLayer>();
    is_send::<HedgeService<Backend>>();
    is_sync::<HedgeService<Backend>>();
    is_clone::<HedgeService<Backend>>();
    is_unpin::<HedgeService<Backend>>();
    // The response is not `Sync` and the error not `Clone`.
    is_send::<ResponseFuture<Backend, String, (), (), (), ()>>();
    is_send::<Hedge>();
    is_sync::<Hedge>();
    is_clone::<Hedge>();
}

#[tokio::test(start_paused = true)]
async fn cx10_a_borrowed_request_that_is_not_send_is_hedged() {
    struct Lent<'a>(&'a Rc<u32>);
    impl crate::attempts::Idempotent for Lent<'_> {
        fn is_idempotent(&self) -> bool {
            **self.0 == 7
        }
    }
    impl crate::attempts::Resend for Lent<'_> {
        fn copy(&self) -> Option<Self> {
            Some(Self(self.0))
        }
    }
    let seven = Rc::new(7);
    let backend = Backend::new(|n| (ms(15), answer(n)));
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(hedge(1)).layer(backend);
    call(&mut service, Lent(&seven)).await.unwrap();
    assert_eq!(log.calls(), 2);
}

#[test]
fn cx11_policies_layers_and_services_are_made_outside_a_runtime() {
    let backend = Backend::new(|n| (ms(0), answer(n)));
    let mut service = HedgeLayer::new(hedge(1)).layer(backend);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Service::<()>::poll_ready(&mut service, &mut cx).is_ready());
    let ready = pin!(service.call(())).poll(&mut cx);
    assert!(ready.is_ready(), "no timer is needed");
}

#[tokio::test(start_paused = true)]
async fn cx14_each_call_ends_in_one_event() {
    let hedge = hedge(1);
    let events = Events::of(&hedge);
    let backend = Backend::new(|n| match n {
        0 => (ms(5), answer(n)),
        1 | 2 => (ms(25), fail(n)),
        _ => (NEVER, answer(n)),
    });
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    call(&mut service, ()).await.unwrap();
    call(&mut service, ()).await.unwrap_err();
    let _ = tokio::time::timeout(ms(12), call(&mut service, ())).await;
    let events = events.all();
    let failure = "Failure(Error) 35";
    assert_eq!(events, ["Success 5", "2 10", failure, "2 10", "Dropped 12"]);
}

#[tokio::test(start_paused = true)]
async fn cx14_a_listener_sees_the_new_state_and_may_panic() {
    let hedge = hedge(1);
    let read = hedge.clone();
    hedge
        .on_event(move |event| {
            if let EventKind::Hedging { .. } = event.kind {
                assert_eq!(read.snapshot().made, 1);
                read.set_mode(Mode::Off);
                panic!("a listener's own");
            }
        })
        .forever();
    let mut service = HedgeLayer::new(&hedge).layer(Backend::new(|n| (ms(15), answer(n))));
    call(&mut service, ()).await.unwrap();
    assert_eq!(hedge.mode(), Mode::Off);
}

#[tokio::test(start_paused = true)]
async fn cx16_record_only_emits_and_makes_no_extra_attempt() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(1)
        .floor(0)
        .build()
        .unwrap();
    let hedge = Hedge::builder()
        .delay(ms(10))
        .budget(&budget)
        .mode(Mode::RecordOnly);
    let hedge = hedge.build().unwrap();
    let events = Events::of(&hedge);
    let backend = Backend::new(|n| match n {
        0 => (ms(15), answer(n)),
        _ => (ms(5), fail(n)),
    });
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    call(&mut service, ()).await.unwrap();
    call(&mut service, ()).await.unwrap_err();
    assert_eq!(log.calls(), 2);
    assert_eq!(
        events.all(),
        ["would 2 10", "Success 15", "would 2 5", "Failure(Error) 5"]
    );
    assert_eq!(
        (hedge.snapshot().would_hedge, hedge.snapshot().made),
        (2, 0)
    );
    assert_eq!(budget.snapshot().balance, 1.0);
}

#[tokio::test(start_paused = true)]
async fn cx19_it_is_changed_and_switched_off_while_calls_run() {
    let hedge = hedge(1);
    let events = Events::of(&hedge);
    let backend = Backend::new(|n| (ms(25), answer(n)));
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    std::future::poll_fn(|cx| Service::<()>::poll_ready(&mut service, cx))
        .await
        .unwrap();
    let running = service.call(());
    hedge.set_mode(Mode::Off);
    running.await.unwrap();
    assert_eq!(
        log.times(),
        [0, 10],
        "a running call keeps its configuration"
    );
    let emitted = events.all().len();
    call(&mut service, ()).await.unwrap();
    assert_eq!((log.calls(), events.all().len()), (3, emitted));
    // Off: no extra attempt, and no attempt number.
    assert_eq!(log.seen()[2].attempt, None);
    hedge.set_mode(Mode::Enforce);
    hedge.set_delay(ms(5));
    hedge.change(|now| now.max_extra(3)).unwrap();
    hedge.change(|now| now.max_extra(17)).unwrap_err();
    hedge.set_quantile(1.0).unwrap_err();
    call(&mut service, ()).await.unwrap();
    assert_eq!(log.times()[3..], [50, 55, 60, 65]);
    hedge.set_quantile(0.9).unwrap();
    assert_eq!(
        (hedge.delay(), hedge.snapshot().quantile),
        (None, Some(0.9))
    );
    call(&mut service, ()).await.unwrap();
    assert_eq!(log.calls(), 8);
}

// A caller with little time does not trip a breaker below, and does not make the service look
// faster. A loser does so only if it is late and the breaker is not set otherwise.
#[tokio::test(start_paused = true)]
async fn cb14_cb8_losers_and_callers_with_little_time_are_no_failures() {
    use crate::circuit_breaker::{CircuitBreakerLayer, OnDrop, State, Trip};
    let breaker = crate::CircuitBreaker::builder("below")
        .trips([Trip::consecutive_failures(1)])
        .fair_time(ms(100))
        .on_drop(OnDrop::ByDeadline)
        .build()
        .unwrap();
    let backend = Backend::new(|n| match n {
        1 => (ms(5), answer(n)),
        _ => (NEVER, answer(n)),
    });
    let log = backend.log.clone();
    let inner = CircuitBreakerLayer::new(&breaker).layer(backend);
    let mut service = HedgeLayer::new(hedge(1)).layer(inner);
    call(&mut service, ()).await.unwrap();
    assert_eq!(breaker.state(), State::Closed, "the loser");
    breaker.change(|now| now.on_drop(OnDrop::IfLate)).unwrap();
    let short = Timeout::new(ms(20));
    short.run(|| call(&mut service, ())).await.unwrap_err();
    assert_eq!(log.calls(), 4);
    assert_eq!(
        breaker.state(),
        State::Closed,
        "both were cut by an unfair deadline"
    );

    let hedge = Hedge::builder()
        .quantile(0.5)
        .min_samples(1)
        .build()
        .unwrap();
    let backend = Backend::new(|n| (ms(if n < 5 { 50 } else { 900 }), answer(n)));
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    for _ in 0..5 {
        call(&mut service, ()).await.unwrap();
    }
    for _ in 0..50 {
        let short = Timeout::new(ms(5));
        short.run(|| call(&mut service, ())).await.unwrap_err();
    }
    tokio::time::advance(ms(100)).await;
    assert!(hedge.delay().unwrap() >= ms(50));
    assert_eq!(
        (hedge.snapshot().samples, hedge.snapshot().cut_short),
        (5, 50)
    );
}

#[tokio::test(start_paused = true)]
async fn rn1_run_makes_the_attempts_of_a_closure() {
    let hedge = hedge(2);
    let calls = std::cell::RefCell::new(Vec::new());
    let answer = hedge
        .run(|attempt| {
            calls.borrow_mut().push((attempt, crate::attempt()));
            async move {
                assert_eq!(crate::attempt(), Some(attempt));
                match attempt {
                    3 => Ok(attempt),
                    2 => Err(std::io::Error::other("two")),
                    _ => std::future::pending().await,
                }
            }
        })
        .await;
    assert_eq!(answer.unwrap(), 3);
    assert_eq!(*calls.borrow(), [(1, Some(1)), (2, Some(2)), (3, Some(3))]);
    let answer: Result<(), Error<&str>> = hedge
        .run(|attempt| async move { Err(if attempt == 1 { "first" } else { "later" }) })
        .await;
    assert_eq!(answer, Err(Error::Service("first")));
}

#[tokio::test(start_paused = true)]
async fn rn2_an_error_of_the_closure_is_a_failure_and_a_drop_ends_everything() {
    let hedge = hedge(1);
    let events = Events::of(&hedge);
    async fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
        let n = text.parse()?;
        Ok(n)
    }
    let answer = hedge
        .run(|attempt| parse(if attempt == 1 { "x" } else { "7" }))
        .await;
    assert_eq!(answer.unwrap(), 7);
    let never = hedge.run(|_| std::future::pending::<Result<(), ()>>());
    let _ = tokio::time::timeout(ms(15), never).await;
    assert_eq!(events.all(), ["2 0", "Success 0", "2 10", "Dropped 15"]);
    let rejected = hedge.run_with(crate::classify::ErrorsOnly, |_| async {
        Err::<std::cell::Cell<u8>, _>(crate::Rejection::new(
            crate::RejectionKind::CircuitOpen,
            "below",
        ))
    });
    rejected.await.unwrap_err();
    // A rejection starts nothing.
    assert_eq!(events.all()[4..], ["Ignored 0"]);
}
