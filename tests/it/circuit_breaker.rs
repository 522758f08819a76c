//! The breaker's layer, `run` and gate, beyond the contract of every layer. The state machine is tested
//! beside its code.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use seawall::circuit_breaker::{State, Trip};
use seawall::classify::{Classify, Outcome};
use seawall::event::EventKind;
use seawall::{Backoff, CircuitBreaker, CircuitBreakerLayer, Error, Jitter, RejectionKind};
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::support::{Do, Mock, Recorder, Task, catching, locked, poll_ready, reason, secs};

fn after(failures: u32) -> CircuitBreaker {
    let wait = Backoff::constant(secs(30)).jitter(Jitter::None);
    let builder = CircuitBreaker::builder("breaker").open_for(wait);
    let builder = builder.trip_on(Trip::consecutive_failures(failures));
    builder.probes(1).build().unwrap()
}

fn failures_in_a_row(breaker: &CircuitBreaker) -> u32 {
    breaker.snapshot().rules[0].counts.consecutive
}

#[test]
fn cx1_failures_at_one_service_open_the_breaker_for_all() {
    let mock = Mock::new();
    let breaker = after(3);
    let layer = CircuitBreakerLayer::new(&breaker);
    let services = [layer.layer(mock.clone()), layer.layer(mock.clone())];
    let other_layer = CircuitBreakerLayer::new(&breaker).layer(mock.clone());
    for mut service in [
        services[0].clone(),
        services[1].clone(),
        other_layer.clone(),
    ] {
        assert_eq!(breaker.state(), State::Closed);
        assert!(Task::new(service.call(Do::Fail)).run().is_ready());
    }
    assert_eq!(breaker.state(), State::Open);
    for mut service in services.into_iter().chain([other_layer]) {
        let Poll::Ready(Err(error)) = Task::new(service.call(Do::Answer)).run() else {
            panic!("it is open");
        };
        assert_eq!(reason(&error).kind(), RejectionKind::CircuitOpen);
    }
    assert_eq!(mock.calls(), 3);
}

/// Its error cannot be judged.
#[derive(Clone)]
struct Broken;

impl Classify<u32, BoxError> for Broken {
    fn classify(&self, _: Result<&u32, &BoxError>) -> Outcome {
        panic!("as it should")
    }
}

// CX8: a classifier that panics judges nothing, and its permit is free at once, also if the panic is
// caught and the future kept.
#[test]
fn cx8_a_classifier_that_panics_frees_the_permit() {
    let (breaker, recorder) = (after(100), Recorder::new());
    breaker.on_event(recorder.listener()).forever();
    let layer = CircuitBreakerLayer::new(&breaker).classify(Broken);
    let mut task = Task::new(layer.layer(Mock::new()).call(Do::Answer));
    assert!(catching(|| task.run()).is_err());
    assert_eq!(recorder.take(), ["Dropped"]);
    drop(task);
    assert_eq!(recorder.take(), [""; 0]);
    assert_eq!(failures_in_a_row(&breaker), 0);
}

// CX8: in the inner `call` and in a poll.
#[test]
fn cx8_a_panic_is_a_failure_also_under_catch_unwind() {
    let breaker = after(100);
    let mut service = CircuitBreakerLayer::new(&breaker).layer(Mock::new());
    for (n, what) in [(1, Do::PanicInCall), (2, Do::PanicInPoll)] {
        assert!(catching(|| Task::new(service.call(what)).run()).is_err());
        assert_eq!(failures_in_a_row(&breaker), n);
    }
    // The drop by another panic is none.
    let hanging = catching(|| {
        let mut task = Task::new(service.call(Do::Hang));
        assert!(task.run().is_pending());
        panic!("elsewhere");
    });
    assert!(hanging.is_err());
    assert_eq!(failures_in_a_row(&breaker), 2);
    // A panic while another one unwinds is one.
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let outer = catching(|| {
        let _calls = OnDrop(|| {
            let _ = catching(|| Task::new(service.call(Do::PanicInPoll)).run());
            let answer = Task::new(service.call(Do::Answer)).run();
            assert!(matches!(answer, Poll::Ready(Ok(7))));
        });
        panic!("elsewhere");
    });
    assert!(outer.is_err());
    assert_eq!(failures_in_a_row(&breaker), 0, "the answer ended the run");
}

// CX14: a listener is called after a transition, and may cause another.
#[test]
fn cx14_a_listener_sees_the_new_state_and_transitions_come_in_order() {
    let breaker = after(1);
    let events = Arc::new(Mutex::new(Vec::new()));
    let (list, handle) = (Arc::clone(&events), breaker.clone());
    let _on = breaker.on_event(move |event| {
        if let EventKind::Transition(moved) = event.kind {
            locked(&list).push((moved.from, moved.to, handle.state()));
            if moved.to == State::Open {
                // Emitted after this event, though it happens within it.
                handle.force_open();
                assert_eq!(handle.state(), State::ForcedOpen);
            }
        }
    });
    breaker.try_acquire().unwrap().failure();
    breaker.release();
    let expected = [
        (State::Closed, State::Open, State::Open),
        (State::Open, State::ForcedOpen, State::ForcedOpen),
        (State::ForcedOpen, State::Closed, State::Closed),
    ];
    assert_eq!(*locked(&events), expected);
}

// CB12: the gate's purpose.
#[tokio::test]
async fn cb12_a_balancer_skips_a_shut_service() {
    use tower::balance::p2c::Balance;
    use tower::discover::ServiceList;
    use tower::load::Constant;

    let breakers = [after(1), after(1)];
    let mocks = [Mock::new(), Mock::new()];
    let services = breakers.iter().zip(&mocks).map(|(breaker, mock)| {
        let service = CircuitBreakerLayer::gated(breaker).layer(mock.clone());
        Constant::new(service, 1)
    });
    let services = ServiceList::new::<Do>(services.collect::<Vec<_>>());
    let mut balance = Balance::new(services);
    breakers[0].force_open();
    for _ in 0..20 {
        balance
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap();
    }
    assert_eq!((mocks[0].calls(), mocks[1].calls()), (0, 20));
    // And uses it again once it is released.
    breakers[0].release();
    breakers[1].force_open();
    for _ in 0..20 {
        balance
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap();
    }
    assert_eq!((mocks[0].calls(), mocks[1].calls()), (20, 20));
}

// CB12, CX14: the last waker of a task drops the task, which may itself wait at the gate.
#[test]
fn cb12_a_waker_dropped_by_the_gate_may_drop_a_waiting_service() {
    struct Keeps(#[allow(dead_code)] Mutex<Box<dyn std::any::Any + Send>>);
    impl std::task::Wake for Keeps {
        fn wake(self: Arc<Self>) {}
    }
    let (done, is_done) = std::sync::mpsc::channel();
    let gate = move || {
        let breaker = after(1);
        breaker.force_open();
        let layer = CircuitBreakerLayer::gated(&breaker);
        for polled_again in [true, false] {
            let (mut one, mut other) = (layer.layer(Mock::new()), layer.layer(Mock::new()));
            assert!(poll_ready::<Do, _>(&mut other).is_pending());
            let task = Keeps(Mutex::new(Box::new(other)));
            let waker = std::task::Waker::from(Arc::new(task));
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(one.poll_ready(&mut cx).is_pending());
            drop(waker);
            if polled_again {
                assert!(poll_ready::<Do, _>(&mut one).is_pending());
            }
        }
        done.send(()).unwrap();
    };
    std::thread::spawn(gate);
    assert!(is_done.recv_timeout(secs(30)).is_ok(), "it hangs");
}

// CB12: a transition wakes a waiter, or the waiter sees the transition.
#[test]
fn cb12_a_service_that_starts_to_wait_misses_no_transition() {
    let breaker = after(1);
    let mut service = CircuitBreakerLayer::gated(&breaker).layer(Mock::new());
    let rounds = 10_000;
    let mut lost = 0;
    let start = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for _ in 0..rounds {
                start.wait();
                breaker.release();
                start.wait();
            }
        });
        for round in 0..rounds {
            breaker.force_open();
            let mut ready = Task::new(ServiceExt::<Do>::ready(&mut service));
            start.wait();
            // Not always at the same point of the transition.
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            let seen = ready.poll().is_ready();
            start.wait();
            lost += u32::from(!seen && ready.wakes() == 0);
        }
        mover.join().unwrap();
    });
    assert_eq!(lost, 0);
}

// CB9
#[test]
fn cb9_open_rejects_without_touching_the_inner_service() {
    let mock = Mock::new();
    let breaker = after(1);
    let mut service = CircuitBreakerLayer::new(&breaker).layer(mock.clone());
    assert!(Task::new(service.call(Do::Fail)).run().is_ready());
    let (calls, polls) = (mock.calls(), mock.polls());
    for _ in 0..100 {
        let Poll::Ready(Err(error)) = Task::new(service.call(Do::Answer)).run() else {
            panic!("it is open");
        };
        let wait = reason(&error).retry_after().unwrap();
        assert!(wait <= secs(30) && wait > secs(20), "{wait:?}");
    }
    assert_eq!(
        (mock.calls(), mock.polls(), mock.ready_polls()),
        (calls, polls, 0)
    );
}

#[tokio::test]
async fn rn1_run_returns_the_error_of_the_call_or_a_rejection() {
    let breaker = after(1);
    let answer: Result<u32, Error<io::Error>> = breaker.run(async || Ok(7)).await;
    assert_eq!(answer.unwrap(), 7);
    let failed = breaker
        .run(async || Err::<u32, _>(io::Error::other("no")))
        .await;
    assert_eq!(
        failed.unwrap_err().into_service().unwrap().to_string(),
        "no"
    );
    let made = std::cell::Cell::new(false);
    let rejected = breaker.run(async || {
        made.set(true);
        Ok::<u32, io::Error>(7)
    });
    let rejection = rejected.await.unwrap_err().into_service().unwrap_err();
    assert_eq!(
        (rejection.kind(), made.get()),
        (RejectionKind::CircuitOpen, false)
    );
}

#[tokio::test]
async fn rn2_an_error_and_a_panic_are_failures_and_a_drop_is_none() {
    let recorder = Recorder::new();
    let breaker = after(100);
    let _on = breaker.on_event(recorder.listener());
    let outcome = breaker.run(async || {
        "x".parse::<u32>()?;
        Ok::<(), BoxError>(())
    });
    outcome.await.unwrap_err();
    assert_eq!(recorder.endings(), ["Failure(Error)"]);
    let mut task = Task::new(breaker.run(std::future::pending::<Result<(), io::Error>>));
    assert!(task.run().is_pending());
    task.cancel();
    assert_eq!(recorder.endings(), ["Dropped"]);
    for panics_at_once in [true, false] {
        let mut task = Task::new(breaker.run(|| {
            assert!(!panics_at_once, "in the closure");
            async move {
                assert!(panics_at_once, "in the future");
                Ok::<(), io::Error>(())
            }
        }));
        assert!(catching(|| task.run()).is_err());
        drop(task);
        assert_eq!(recorder.endings(), ["Panicked"]);
    }
    assert_eq!(failures_in_a_row(&breaker), 3);
}

#[test]
fn rn3_a_blocking_run_needs_no_runtime() {
    let recorder = Recorder::new();
    let breaker = after(100);
    let _on = breaker.on_event(recorder.listener());
    assert_eq!(breaker.run_blocking(|| Ok::<_, io::Error>(7)).unwrap(), 7);
    let failed = breaker.run_blocking(|| Err::<(), _>(io::Error::other("no")));
    assert!(failed.unwrap_err().into_service().is_ok());
    let panicked = catching(|| breaker.run_blocking(|| -> Result<(), io::Error> { panic!("no") }));
    assert!(panicked.is_err());
    assert_eq!(
        recorder.endings(),
        ["Success", "Failure(Error)", "Panicked"]
    );
    breaker.force_open();
    let rejected = breaker.run_blocking(|| -> Result<(), io::Error> { unreachable!() });
    assert!(rejected.unwrap_err().rejection().is_some());
}

#[cfg(feature = "test-util")]
mod paused {
    use super::*;

    use std::task::Context;

    use seawall::circuit_breaker::{GatedService, Gates};
    use seawall::classify::FailureKind;
    use seawall::{Deadline, Hedge, HedgeLayer, Timeout, TimeoutLayer};
    use tower::ServiceBuilder;
    use tower::balance::p2c::Balance;
    use tower::buffer::Buffer;
    use tower::discover::ServiceList;
    use tower::load::Constant;
    use tower::load_shed::{LoadShed, error::Overloaded};

    use crate::support::ms;

    // CB8: the timeout above drops the calls to a hung backend.
    #[tokio::test(start_paused = true)]
    async fn cb8_a_hundred_outer_timeouts_against_a_hung_backend_open_it() {
        let mock = Mock::new();
        let breaker = after(100);
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(secs(1)))
            .layer(CircuitBreakerLayer::new(&breaker))
            .service(mock.clone());
        let calls = (0..100).map(|_| service.clone().oneshot(Do::Hang));
        for outcome in futures::future::join_all(calls).await {
            assert!(matches!(
                reason(&outcome.unwrap_err()).kind(),
                RejectionKind::TimedOut { .. }
            ));
        }
        assert_eq!(breaker.state(), State::Open);
        // Behind a buffer too, where the call is made outside of the deadline.
        let breaker = after(3);
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(secs(1)))
            .buffer(4)
            .layer(CircuitBreakerLayer::new(&breaker))
            .service(mock.clone());
        for _ in 0..3 {
            service.clone().oneshot(Do::Hang).await.unwrap_err();
        }
        assert_eq!(breaker.state(), State::Open);
        // Callers that leave earlier count nothing.
        let breaker = after(1);
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(secs(1)))
            .layer(CircuitBreakerLayer::new(&breaker))
            .service(mock);
        let mut task = Task::new(service.oneshot(Do::Hang));
        assert!(task.run().is_pending());
        tokio::time::advance(ms(999)).await;
        task.cancel();
        assert_eq!(breaker.state(), State::Closed);
    }

    // TO3, CB8: a caller that polls the call by reference gives it no deadline.
    #[tokio::test(start_paused = true)]
    async fn to3_a_call_polled_by_reference_under_a_shorter_timeout_is_not_late() {
        let breaker = after(1);
        let mut service = CircuitBreakerLayer::new(&breaker).layer(Mock::new());
        let mut call = Box::pin(service.call(Do::Hang));
        Timeout::new(ms(100)).run(|| &mut call).await.unwrap_err();
        assert_eq!(breaker.state(), State::Closed);
        tokio::time::advance(ms(100)).await;
        drop(call);
        assert_eq!(breaker.state(), State::Closed);
        // A deadline that only the poll shows, and that no timer enforces, is the call's own.
        let mut call = Task::new(Deadline::after(ms(100)).scope(service.call(Do::Hang)));
        assert!(call.run().is_pending());
        tokio::time::advance(ms(100)).await;
        call.cancel();
        assert_eq!(breaker.state(), State::Open);
    }

    // CB12
    #[tokio::test(start_paused = true)]
    async fn cb12_the_gate_is_pending_while_open_and_wakes_for_the_next_call() {
        let breaker = after(1);
        let mut service = CircuitBreakerLayer::gated(&breaker).layer(Mock::new());
        assert!(poll_ready(&mut service).is_ready());
        service.call(Do::Fail).await.unwrap_err();
        let start = tokio::time::Instant::now();

        // A probe is due.
        let mut ready = Task::new(service.ready());
        assert!(ready.run().is_pending());
        tokio::time::advance(secs(30)).await;
        assert_eq!(ready.wakes(), 1);
        assert!(ready.run().is_ready());
        drop(ready);
        assert_eq!(start.elapsed(), secs(30));

        // The only probe is in flight; its permit frees.
        let mut probe = Task::new(service.call(Do::Hang));
        assert!(probe.run().is_pending());
        let mut ready = Task::new(service.ready());
        assert!(ready.run().is_pending());
        // Or a change adds a permit.
        let wakes = ready.wakes();
        breaker.change(|rules| rules.probes(2)).unwrap();
        assert!(ready.wakes() > wakes);
        breaker.change(|rules| rules.probes(1)).unwrap();
        assert!(ready.run().is_pending());
        let wakes = ready.wakes();
        probe.cancel();
        assert!(ready.wakes() > wakes);
        assert!(ready.run().is_ready());
        drop(ready);

        // A probe was due, and is not any more.
        breaker.reset();
        assert!(poll_ready(&mut service).is_ready());
        service.call(Do::Fail).await.unwrap_err();
        let mut ready = Task::new(service.ready());
        assert!(ready.run().is_pending());
        breaker.force_open();
        assert!(ready.run().is_pending());
        let wakes = ready.wakes();
        tokio::time::advance(secs(60)).await;
        assert_eq!((ready.wakes(), ready.run().is_pending()), (wakes, true));
        drop(ready);

        // Forced closed.
        let mut ready = Task::new(service.ready());
        assert!(ready.run().is_pending());
        breaker.release();
        assert!(ready.wakes() >= 1);
        assert!(ready.run().is_ready());
    }

    type Endpoint = GatedService<Backend>;
    type Set = Balance<ServiceList<Vec<Constant<Endpoint, u32>>>, Do>;

    fn balance(breakers: &[CircuitBreaker], backends: &[Backend]) -> Set {
        balance_in(&Gates::at_most(1.0).unwrap(), breakers, backends)
    }

    fn balance_in(gates: &Gates, breakers: &[CircuitBreaker], backends: &[Backend]) -> Set {
        let services = breakers.iter().zip(backends).map(|(breaker, backend)| {
            let layer = CircuitBreakerLayer::gated(breaker).in_set(gates);
            Constant::new(layer.layer(backend.clone()), 1)
        });
        Balance::new(ServiceList::new::<Do>(services.collect::<Vec<_>>()))
    }

    /// Answers after 10 ms, after 200 ms in one of `slow_every` calls, or never.
    #[derive(Clone)]
    struct Backend {
        mock: Mock,
        slow_every: usize,
        answers: bool,
    }

    impl Backend {
        fn new(answers: bool) -> Self {
            let mock = Mock::new();
            Self {
                mock,
                slow_every: usize::MAX,
                answers,
            }
        }
    }

    impl Service<Do> for Backend {
        type Response = u32;
        type Error = BoxError;
        type Future = futures::future::BoxFuture<'static, Result<u32, BoxError>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.mock.poll_ready(cx)
        }

        fn call(&mut self, what: Do) -> Self::Future {
            let call = self.mock.call(if self.answers { what } else { Do::Hang });
            let slow = self.mock.calls() % self.slow_every == 0;
            Box::pin(async move {
                tokio::time::sleep(ms(if slow { 200 } else { 10 })).await;
                call.await
            })
        }
    }

    // CB8, HG1: case 16.
    #[tokio::test(start_paused = true)]
    async fn cb8_an_endpoint_that_never_answers_behind_hedges_opens_its_breaker() {
        let breakers = ["a", "b", "c"].map(CircuitBreaker::new);
        let backends = [true, true, false].map(Backend::new);
        let hedge = Hedge::builder().delay(ms(30)).build().unwrap();
        let set = Buffer::new(balance(&breakers, &backends), 16);
        let service = HedgeLayer::new(&hedge).layer(set);
        for _ in 0..300 {
            let call = tokio::spawn(service.clone().oneshot(Do::Answer));
            tokio::time::sleep(ms(20)).await;
            drop(call);
        }
        assert_ne!(breakers[2].state(), State::Closed);
        let tripped = breakers[2].snapshot().last_trip.unwrap().tripped;
        assert_eq!(tripped.kind, FailureKind::Slow);
        assert!(
            backends[2].mock.calls() < 60,
            "{}",
            backends[2].mock.calls()
        );
        for breaker in &breakers[..2] {
            assert!(breaker.snapshot().last_trip.is_none());
        }
    }

    // CB8: one of twenty calls is slow and hedged, which is no reason to open.
    #[tokio::test(start_paused = true)]
    async fn cb8_a_healthy_service_of_which_five_percent_are_hedged_never_opens() {
        for every in [1, 10, 200] {
            let breaker = CircuitBreaker::new("healthy");
            let mut backend = Backend::new(true);
            backend.slow_every = 20;
            let layer = CircuitBreakerLayer::new(&breaker);
            let hedge = Hedge::builder().delay(ms(30)).build().unwrap();
            let service = HedgeLayer::new(&hedge).layer(layer.layer(backend.clone()));
            for _ in 0..4_000 {
                let call = tokio::spawn(service.clone().oneshot(Do::Answer));
                tokio::time::sleep(ms(every)).await;
                drop(call);
            }
            assert!(backend.mock.calls() > 4_100, "{}", backend.mock.calls());
            assert!(breaker.snapshot().last_trip.is_none(), "every {every} ms");
        }
    }

    // CB12, CB16: case 11.
    #[tokio::test(start_paused = true)]
    async fn cb12_on_a_ramp_the_share_applies_to_readiness_and_no_call_is_rejected() {
        let breakers = ["a", "b", "c"].map(|name| {
            let wait = Backoff::constant(secs(1)).jitter(Jitter::None);
            let builder = CircuitBreaker::builder(name)
                .open_for(wait)
                .ramp(secs(10), 0.9);
            builder
                .trip_on(Trip::consecutive_failures(1))
                .build()
                .unwrap()
        });
        let backends = [true; 3].map(Backend::new);
        let mut set = balance(&breakers, &backends);
        breakers[0].try_acquire().unwrap().failure();
        tokio::time::advance(secs(1)).await;
        breakers[0].try_acquire().unwrap().success();
        assert_eq!(breakers[0].state(), State::Recovering);
        let mut calls = Vec::new();
        for second in 0..10 {
            let before = backends[0].mock.calls();
            for _ in 0..100 {
                let call = set.ready().await.unwrap().call(Do::Answer);
                assert_eq!(
                    tokio::spawn(call).await.unwrap().unwrap(),
                    7,
                    "in second {second}"
                );
            }
            calls.push(backends[0].mock.calls() - before);
        }
        // A third of the calls, times a share of 0.1 to 0.28, and of 0.82 to 1.
        let sum = |seconds: &[usize]| seconds.iter().sum::<usize>();
        assert!((1..=35).contains(&sum(&calls[..2])), "{calls:?}");
        assert!(sum(&calls[8..]) >= 40, "{calls:?}");
    }

    // CB12, TO2: case 46.
    #[tokio::test(start_paused = true)]
    async fn cb12_a_set_of_which_all_gates_are_shut_ends_with_the_deadline_or_is_shed() {
        let breakers = ["a", "b", "c"].map(CircuitBreaker::new);
        let backends = [true; 3].map(Backend::new);
        for breaker in &breakers {
            breaker.force_open();
        }
        let mut set = balance(&breakers, &backends);
        let start = tokio::time::Instant::now();
        let ready = Timeout::new(secs(1)).run(|| set.ready()).await.map(drop);
        assert!(ready.unwrap_err().rejection().is_some());
        assert_eq!(start.elapsed(), secs(1));
        let mut shed = LoadShed::new(set);
        let start = tokio::time::Instant::now();
        let error = shed
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap_err();
        assert!(error.is::<Overloaded>());
        assert_eq!(start.elapsed(), ms(0));
        // It is used again once one is released.
        breakers[1].release();
        let answer = shed.ready().await.unwrap().call(Do::Answer).await;
        assert_eq!((answer.unwrap(), backends[1].mock.calls()), (7, 1));
    }

    /// Breakers of which the first `open` are open for an hour.
    fn endpoints<const N: usize>(open: usize) -> [CircuitBreaker; N] {
        let breakers = std::array::from_fn(|n| {
            CircuitBreaker::builder(format!("endpoint {n}"))
                .trip_on(Trip::consecutive_failures(1))
                .open_for(Backoff::constant(secs(3_600)).jitter(Jitter::None))
                .build()
                .unwrap()
        });
        for breaker in &breakers[..open] {
            breaker.try_acquire().unwrap().failure();
        }
        breakers
    }

    /// How many of `calls` calls each backend gets; none is rejected.
    async fn shares(set: &mut Set, backends: &[Backend], calls: usize) -> Vec<usize> {
        let before: Vec<_> = backends.iter().map(|b| b.mock.calls()).collect();
        for _ in 0..calls {
            let call = set.ready().await.unwrap().call(Do::Answer);
            assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), 7);
        }
        let counts = backends.iter().zip(before);
        counts.map(|(b, before)| b.mock.calls() - before).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn cb12_at_most_half_of_a_set_is_shut_and_the_others_stay_in_use() {
        let breakers = endpoints::<4>(3);
        let backends = [true; 4].map(Backend::new);
        let mut set = balance_in(&Gates::new(), &breakers, &backends);
        let calls = shares(&mut set, &backends, 400).await;
        // Two are shut. The third, open too, and the well one share the calls.
        let used: Vec<_> = calls.iter().filter(|calls| **calls > 0).collect();
        assert_eq!(used.len(), 2, "{calls:?}");
        assert!(used.iter().all(|calls| **calls > 100), "{calls:?}");
        assert!(calls[3] > 0, "{calls:?}");
        // Its calls are as in record-only mode: its breaker stays as it is.
        let exempt = (0..3).find(|n| calls[*n] > 0).unwrap();
        assert_eq!(breakers[exempt].state(), State::Open);
        let would_reject = breakers[exempt].snapshot().would_reject;
        assert_eq!(would_reject, calls[exempt] as u64);
        // Once it is shut alone, it is not used.
        for (n, breaker) in breakers.iter().enumerate() {
            if n != exempt {
                breaker.reset();
            }
        }
        let calls = shares(&mut set, &backends, 300).await;
        assert_eq!(calls[exempt], 0, "{calls:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn cb12_a_share_of_one_shuts_all_and_of_none_shuts_none() {
        for (share, used) in [(1.0, 1), (0.67, 1), (0.5, 2), (0.0, 3)] {
            let (breakers, backends) = (endpoints::<3>(2), [true; 3].map(Backend::new));
            let gates = Gates::at_most(share).unwrap();
            let mut set = balance_in(&gates, &breakers, &backends);
            let calls = shares(&mut set, &backends, 200).await;
            let of = calls.iter().filter(|calls| **calls > 0).count();
            assert_eq!(of, used, "{share}: {calls:?}");
        }
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = Gates::at_most(wrong).unwrap_err().to_string();
            assert!(error.contains("`at_most`"), "{error}");
        }
    }

    // A member that is removed may leave too many shut, for ever where they have no timer.
    #[tokio::test(start_paused = true)]
    async fn cb12_a_gate_opens_when_the_rest_of_its_set_is_dropped() {
        let breakers = endpoints::<4>(2);
        let gates = Gates::new();
        let mut services = breakers.each_ref().map(|b| {
            Some(
                CircuitBreakerLayer::gated(b)
                    .in_set(&gates)
                    .layer(Mock::new()),
            )
        });
        let [a, b, c, d] = &mut services;
        let mut first = Task::new(a.as_mut().unwrap().ready());
        let mut second = Task::new(b.as_mut().unwrap().ready());
        assert!(first.run().is_pending() && second.run().is_pending());
        *c = None;
        // One of three.
        assert!(first.wakes() + second.wakes() >= 2);
        assert!(first.run().is_ready() && second.run().is_pending());
        let wakes = second.wakes();
        *d = None;
        drop(first);
        assert!(second.wakes() == wakes);
        // One of two, until the other one is gone as well.
        assert!(second.run().is_pending());
        *a = None;
        assert!(second.wakes() > wakes);
        assert!(second.run().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn cb12_clones_are_one_member_and_a_dropped_waiter_is_not_shut() {
        let breakers = endpoints::<2>(2);
        let gates = Gates::new();
        let [mut a, mut b] = breakers.each_ref().map(|b| {
            CircuitBreakerLayer::gated(b)
                .in_set(&gates)
                .layer(Mock::new())
        });
        let mut clones: Vec<_> = (0..5).map(|_| a.clone()).collect();
        assert!(poll_ready::<Do, _>(&mut a).is_pending());
        for clone in &mut clones {
            assert!(poll_ready::<Do, _>(clone).is_pending());
            assert!(poll_ready::<Do, _>(clone).is_pending());
        }
        assert!(poll_ready::<Do, _>(&mut b).is_ready());
        drop(a);
        assert!(poll_ready::<Do, _>(&mut b).is_ready());
        clones.truncate(1);
        assert!(poll_ready::<Do, _>(&mut b).is_ready());
        // Now it is a set of one, with none shut.
        let mut last = clones.pop().unwrap();
        drop(b);
        assert!(poll_ready::<Do, _>(&mut last).is_ready());
        assert_eq!(last.call(Do::Answer).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn cb12_a_breaker_forced_open_is_shut_whatever_its_set() {
        let breakers = endpoints::<2>(1);
        let gates = Gates::new();
        let [mut a, mut b] = breakers.each_ref().map(|b| {
            CircuitBreakerLayer::gated(b)
                .in_set(&gates)
                .layer(Mock::new())
        });
        let mut waits = Task::new(a.ready());
        assert!(waits.run().is_pending());
        breakers[1].force_open();
        assert!(poll_ready::<Do, _>(&mut b).is_pending());
        // It takes the only share, so the other one opens.
        assert!(waits.wakes() > 0);
        assert!(waits.run().is_ready());
        drop(waits);
        breakers[0].force_open();
        let error = a.call(Do::Answer).await.unwrap_err();
        assert_eq!(reason(&error).kind(), RejectionKind::CircuitOpen);
        assert!(poll_ready::<Do, _>(&mut a).is_pending());
        breakers[1].reset();
        assert!(poll_ready::<Do, _>(&mut b).is_ready());
    }

    // An exempt endpoint still recovers by its probes.
    #[tokio::test(start_paused = true)]
    async fn cb12_an_exempt_endpoint_closes_by_a_probe_once_its_wait_is_over() {
        let breakers = endpoints::<2>(2);
        let backends = [true; 2].map(Backend::new);
        let mut set = balance_in(&Gates::new(), &breakers, &backends);
        shares(&mut set, &backends, 100).await;
        assert!(breakers.iter().all(|b| b.state() == State::Open));
        tokio::time::advance(secs(3_600)).await;
        shares(&mut set, &backends, 100).await;
        assert!(breakers.iter().all(|b| b.state() == State::Closed));
    }

    // CX17
    #[tokio::test(start_paused = true)]
    async fn cx17_a_breaker_follows_advance() {
        let breaker = after(1);
        breaker.try_acquire().unwrap().failure();
        tokio::time::advance(secs(29)).await;
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(breaker.snapshot().next_probe, Some(secs(1)));
        tokio::time::advance(secs(1)).await;
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.try_acquire().unwrap().success();
        assert_eq!(breaker.state(), State::Closed);
    }
}
