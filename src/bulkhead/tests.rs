#[cfg(feature = "test-util")]
use std::task::Poll;
use std::task::Waker;
use std::thread;
use std::time::Duration;

#[cfg(feature = "test-util")]
use super::Acquire;
use super::Bulkhead;
use crate::bulkhead::state::Order;
use crate::config::Mode;
use crate::context::CallContext;
use crate::deadline::Deadline;
use crate::event::{Ending, Event, EventKind};
use crate::rejection::{Error, RejectionKind};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::testing::{Recorder, poll_once};
#[cfg(feature = "test-util")]
use crate::testing::{Task, ms};
use crate::time;

/// An event in short.
fn short(event: &Event<'_>) -> String {
    match event.kind {
        EventKind::Ended { ending, .. } => format!("{ending:?}"),
        EventKind::Rejected(rejection) => format!("rejected: {rejection}"),
        EventKind::WouldReject(rejection) => format!("would reject: {rejection}"),
        _ => "another event".to_owned(),
    }
}

fn balance(bulkhead: &Bulkhead) -> (u32, u32) {
    let snapshot = bulkhead.snapshot();
    (snapshot.in_flight, snapshot.queued)
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A bulkhead of one permit, whose queue outlasts a test.
fn one(queue: u32) -> Bulkhead {
    let builder = Bulkhead::builder(1).name("one").queue(queue);
    builder.max_wait(HOUR).build().unwrap()
}

fn until(holds: impl Fn() -> bool) {
    let start = time::now();
    while !holds() {
        assert!(
            time::now().since(start) < Duration::from_secs(60),
            "it did not happen in a minute"
        );
        thread::yield_now();
    }
}

#[test]
fn cx1_cx18_the_default_name_is_the_call_site() {
    let bulkhead = Bulkhead::new(0);
    let name = bulkhead.name();
    assert!(name.starts_with("bulkhead@"), "{name}");
    assert!(name.contains("bulkhead/tests.rs:"), "{name}");
    assert_eq!(bulkhead.clone().try_acquire().unwrap_err().policy(), name);
    assert!(
        Bulkhead::builder(1)
            .build()
            .unwrap()
            .name()
            .contains("bulkhead/tests.rs:")
    );
    assert_eq!(one(0).name().as_str(), "one");
    let text = format!("{:?}", one(0));
    assert!(
        text.contains("\"one\"") && text.contains("0/1 in flight"),
        "{text}"
    );
}

#[test]
fn bh1_calls_in_flight_never_exceed_the_limit() {
    const LIMIT: u32 = 3;
    let bulkhead = Bulkhead::builder(LIMIT)
        .queue(100)
        .max_wait(HOUR)
        .build()
        .unwrap();
    let inside = Arc::new(AtomicU64::new(0));
    let peak = Arc::new(AtomicU64::new(0));
    let admitted = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..8)
        .map(|which| {
            let bulkhead = bulkhead.clone();
            let (inside, peak) = (Arc::clone(&inside), Arc::clone(&peak));
            let admitted = Arc::clone(&admitted);
            thread::spawn(move || {
                let call = || -> Result<(), ()> {
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    peak.fetch_max(now, Ordering::SeqCst);
                    admitted.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                for _ in 0..500 {
                    if which % 2 == 0 {
                        let permit = bulkhead.acquire_blocking().unwrap();
                        call().unwrap();
                        permit.release();
                    } else {
                        let _ = bulkhead.run_blocking(call);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(peak.load(Ordering::SeqCst), u64::from(LIMIT));
    assert!(
        admitted.load(Ordering::SeqCst) >= 4 * 500,
        "a waiter was lost"
    );
    assert_eq!(balance(&bulkhead), (0, 0));
}

// BH3
#[test]
fn bh2_a_call_waits_only_if_both_the_bulkhead_and_the_caller_say_so() {
    // A caller that would wait, without a queue.
    let bulkhead = Bulkhead::new(1);
    let _held = bulkhead.try_acquire().unwrap();
    let full = |queued| RejectionKind::BulkheadFull {
        limit: 1,
        in_flight: 1,
        queued,
    };
    let rejection = bulkhead.acquire_blocking().unwrap_err();
    assert_eq!((rejection.kind(), rejection.retry_after()), (full(0), None));
    assert_eq!(bulkhead.peek().unwrap_err().kind(), full(0));
    let text = rejection.to_string();
    assert!(text.ends_with("; the layer or call may wait, and it has no queue"));
    // Without a queue on either side there is nothing to say.
    assert_eq!(bulkhead.try_acquire().unwrap_err().hint(), None);

    // A queue, and a caller that does not wait.
    bulkhead.change(|now| now.queue(1)).unwrap();
    assert_eq!(bulkhead.try_acquire().unwrap_err().kind(), full(0));
    assert_eq!(bulkhead.try_acquire_owned().unwrap_err().kind(), full(0));
    let outcome = poll_once(bulkhead.run(|| async { Ok::<_, ()>(7) })).unwrap();
    let Err(Error::Rejected(rejection)) = outcome else {
        panic!("{outcome:?}");
    };
    let unused = "its queue is not used by a layer or call that does not wait";
    assert_eq!(rejection.hint(), Some(unused));
    assert_eq!(bulkhead.peek().unwrap_err().hint(), Some(unused));
    // With one on both sides neither.
    bulkhead.change(|now| now.max_wait(Duration::ZERO)).unwrap();
    assert_eq!(bulkhead.acquire_blocking().unwrap_err().hint(), None);
    bulkhead
        .change(|now| now.max_wait(Duration::from_millis(100)))
        .unwrap();

    let snapshot = bulkhead.snapshot();
    assert_eq!(
        (snapshot.queue, snapshot.max_wait),
        (Some(1), Duration::from_millis(100))
    );
    bulkhead.change(|now| now.unbounded_queue()).unwrap();
    assert_eq!(bulkhead.snapshot().queue, None);
    let unbounded = Bulkhead::builder(1).unbounded_queue().build().unwrap();
    assert_eq!(unbounded.snapshot().queue, None);
}

// RN3
#[test]
fn bh3_a_rejection_distinguishes_full_from_waited_too_long() {
    let bulkhead = one(1);
    let held = bulkhead.try_acquire().unwrap();
    bulkhead
        .change(|now| now.max_wait(Duration::from_millis(20)))
        .unwrap();
    let start = time::now();
    let rejection = bulkhead.acquire_blocking().unwrap_err();
    assert!(time::now().since(start) >= Duration::from_millis(20));
    let RejectionKind::QueueTimeout {
        limit: 1,
        in_flight: 1,
        queued: 1,
        waited,
    } = rejection.kind()
    else {
        panic!("{rejection:?}");
    };
    assert!(waited >= Duration::from_millis(20), "{waited:?}");
    assert!(rejection.to_string().starts_with("one: queued for "));

    bulkhead.change(|now| now.max_wait(HOUR)).unwrap();
    let waiter = {
        let bulkhead = bulkhead.clone();
        thread::spawn(move || bulkhead.acquire_blocking().map(|permit| permit.release()))
    };
    until(|| bulkhead.snapshot().queued == 1);
    let rejection = bulkhead.acquire_blocking().unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "one: bulkhead is full (limit 1, 1 in flight, 1 queued)"
    );
    held.release();
    waiter.join().unwrap().unwrap();

    bulkhead.set_limit(0).unwrap();
    let rejection = bulkhead.acquire_blocking().unwrap_err();
    assert_eq!(rejection.to_string(), "one: bulkhead is closed");
}

// RN3
#[test]
fn bh4_blocked_threads_are_admitted_in_the_order_of_the_queue() {
    for order in [Order::Fifo, Order::Lifo] {
        let bulkhead = one(10);
        bulkhead.change(|now| now.order(order)).unwrap();
        let held = bulkhead.try_acquire().unwrap();
        let admitted = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let thread = {
                    let (bulkhead, admitted) = (bulkhead.clone(), Arc::clone(&admitted));
                    thread::spawn(move || {
                        let permit = bulkhead.acquire_blocking().unwrap();
                        admitted.lock().push(n);
                        permit.release();
                    })
                };
                until(|| bulkhead.snapshot().queued == n + 1);
                thread
            })
            .collect();
        // A call that comes now does not overtake the queue.
        bulkhead.try_acquire().unwrap_err();
        held.release();
        for thread in threads {
            thread.join().unwrap();
        }
        let expected = match order {
            Order::Fifo => [0, 1, 2, 3],
            Order::Lifo => [3, 2, 1, 0],
        };
        assert_eq!(*admitted.lock(), expected);
        assert_eq!(balance(&bulkhead), (0, 0));
    }
}

// RN3
#[test]
fn bh5_a_change_of_limit_admits_or_rejects_waiters_and_stops_no_call() {
    let bulkhead = one(10);
    let held = bulkhead.try_acquire().unwrap();
    let wait = || {
        let bulkhead = bulkhead.clone();
        let before = bulkhead.snapshot().queued;
        let thread = thread::spawn({
            let bulkhead = bulkhead.clone();
            move || bulkhead.acquire_blocking()
        });
        until(|| bulkhead.snapshot().queued == before + 1);
        thread
    };
    let (first, second, third) = (wait(), wait(), wait());
    bulkhead.set_limit(3).unwrap();
    let permits = [
        first.join().unwrap().unwrap(),
        second.join().unwrap().unwrap(),
    ];
    assert_eq!(balance(&bulkhead), (3, 1));

    // Lowered: the calls in flight go on, and their end frees no permit.
    bulkhead.set_limit(1).unwrap();
    assert_eq!((bulkhead.limit(), balance(&bulkhead)), (1, (3, 1)));
    drop(permits);
    assert_eq!(balance(&bulkhead), (1, 1));
    assert!(!third.is_finished());

    bulkhead.set_limit(0).unwrap();
    let rejection = third.join().unwrap().unwrap_err();
    let closed = RejectionKind::BulkheadFull {
        limit: 0,
        in_flight: 1,
        queued: 1,
    };
    assert_eq!(rejection.kind(), closed);
    assert_eq!(balance(&bulkhead), (1, 0));
    held.release();
    bulkhead.try_acquire().unwrap_err();
    bulkhead.set_limit(1_000_000).unwrap();
    assert!(bulkhead.try_acquire().is_ok());
}

#[test]
fn to4_a_blocked_thread_waits_until_the_deadline() {
    let bulkhead = one(1);
    let _held = bulkhead.try_acquire().unwrap();
    let start = time::now();
    let deadline = Deadline::after(Duration::from_millis(20));
    let rejection = deadline.enter(|| bulkhead.acquire_blocking()).unwrap_err();
    assert!(time::now().since(start) >= Duration::from_millis(20));
    assert!(
        matches!(rejection.kind(), RejectionKind::QueueTimeout { .. }),
        "{rejection:?}"
    );

    let log = Recorder::default();
    let _on = bulkhead.on_event(log.listener_with(short));
    let past = Deadline::after(Duration::ZERO);
    let rejection = past.enter(|| bulkhead.acquire_blocking()).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Expired);
    assert_eq!(log.take().len(), 1);
    assert_eq!(balance(&bulkhead), (1, 0));
}

#[test]
fn rt11_an_extra_attempt_never_waits() {
    let bulkhead = one(1);
    let extra = || {
        CallContext {
            extra: true,
            ..CallContext::current()
        }
        .enter()
    };
    {
        let _extra = extra();
        drop(bulkhead.acquire_blocking().unwrap());
    }
    let _held = bulkhead.try_acquire().unwrap();
    {
        let _extra = extra();
        let rejection = bulkhead.acquire_blocking().unwrap_err();
        assert!(
            matches!(rejection.kind(), RejectionKind::BulkheadFull { .. }),
            "{rejection:?}"
        );
        #[cfg(feature = "tokio")]
        assert!(poll_once(bulkhead.acquire()).unwrap().is_err());
    }
    assert_eq!(balance(&bulkhead), (1, 0));
}

#[test]
fn cx14_every_admission_ends_in_one_event() {
    let log = Recorder::default();
    let bulkhead = Bulkhead::builder(1)
        .name("observed")
        .on_event(log.listener_with(short))
        .build()
        .unwrap();
    bulkhead.try_acquire().unwrap().release();
    assert_eq!(log.take(), ["Completed"]);
    drop(bulkhead.try_acquire_owned().unwrap());
    assert_eq!(log.take(), ["Dropped"]);
    let answer = bulkhead.run_blocking(|| Err::<(), _>("no"));
    assert_eq!(
        (answer.unwrap_err(), log.take().as_slice()),
        (Error::Service("no"), &["Completed".to_owned()][..])
    );
    let panics = || bulkhead.run_blocking(|| -> Result<(), ()> { panic!("inside") });
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
    assert_eq!(log.take(), ["Panicked"]);
    let _held = bulkhead.try_acquire().unwrap();
    bulkhead.try_acquire().unwrap_err();
    assert_eq!(
        log.take(),
        ["rejected: observed: bulkhead is full (limit 1, 1 in flight, 0 queued)"]
    );
    assert!(bulkhead.peek().is_err());
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn cx14_a_listener_sees_the_permit_free() {
    let bulkhead = Bulkhead::new(1);
    let seen = Arc::new(AtomicU64::new(9));
    let _on = {
        let (handle, seen) = (bulkhead.clone(), Arc::clone(&seen));
        bulkhead.on_event(move |event| {
            if matches!(
                event.kind,
                EventKind::Ended {
                    ending: Ending::Completed,
                    ..
                }
            ) {
                let again = handle.try_acquire().unwrap();
                seen.store(u64::from(handle.snapshot().in_flight), Ordering::Relaxed);
                std::mem::forget(again);
            }
        })
    };
    bulkhead.try_acquire().unwrap().release();
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[test]
fn cx15_a_bad_configuration_reports_all_its_problems() {
    let error = Bulkhead::builder(1_000_001)
        .queue(1_000_001)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: invalid `limit`: 1000001 (must be at most 1,000,000); invalid `queue`: 1000001 (must be \
             at most 1,000,000, or an unbounded queue)",
            error.policy()
        )
    );
    let highest = Bulkhead::builder(1_000_000).queue(1_000_000);
    assert!(highest.build().is_ok());
}

#[test]
fn cx16_record_only_counts_and_rejects_nothing() {
    let log = Recorder::default();
    let builder = Bulkhead::builder(1)
        .name("only")
        .queue(1)
        .mode(Mode::RecordOnly);
    let bulkhead = builder.on_event(log.listener_with(short)).build().unwrap();
    let permits: Vec<_> = (0..2).map(|_| bulkhead.try_acquire().unwrap()).collect();
    assert_eq!(
        log.take(),
        [
            "would reject: only: bulkhead is full (limit 1, 1 in flight, 0 queued); its queue is not \
          used by a layer or call that does not wait"
        ]
    );
    assert!(bulkhead.peek().is_ok());
    assert_eq!(
        (bulkhead.snapshot().would_reject, balance(&bulkhead)),
        (1, (2, 0))
    );

    // Two are in flight, so that one would wait, and the next would find the queue full.
    let third = bulkhead.acquire_blocking().unwrap();
    assert_eq!(bulkhead.snapshot().would_reject, 2);
    permits.into_iter().for_each(|permit| permit.release());
    // One is in flight, and the next would wait: it would not be rejected.
    let fourth = bulkhead.acquire_blocking().unwrap();
    assert_eq!(bulkhead.snapshot().would_reject, 2);

    // The count is right when the limit is enforced again.
    bulkhead.set_mode(Mode::Enforce);
    assert_eq!(balance(&bulkhead), (2, 0));
    bulkhead.try_acquire().unwrap_err();
    drop((third, fourth));
    assert!(bulkhead.try_acquire().is_ok());
}

#[test]
fn cx19_options_change_while_calls_run() {
    let log = Recorder::default();
    let bulkhead = one(1);
    let _on = bulkhead.on_event(log.listener_with(short));
    let held = bulkhead.try_acquire().unwrap();
    let before = bulkhead.snapshot();
    bulkhead.change(|now| now.queue(1_000_001)).unwrap_err();
    assert_eq!(bulkhead.snapshot(), before);

    // Switched off, it admits its waiters.
    let waiter = {
        let bulkhead = bulkhead.clone();
        thread::spawn(move || bulkhead.acquire_blocking())
    };
    until(|| bulkhead.snapshot().queued == 1);
    bulkhead.set_mode(Mode::Off);
    let waited = waiter.join().unwrap().unwrap();
    assert_eq!(balance(&bulkhead), (2, 0));

    // Off, it counts nothing and emits nothing.
    let uncounted = bulkhead.try_acquire().unwrap();
    bulkhead.set_mode(Mode::Enforce);
    assert_eq!(balance(&bulkhead), (2, 0));
    drop(uncounted);
    assert_eq!((balance(&bulkhead), log.take()), ((2, 0), vec![]));
    // A call that began before ends as it would have.
    held.release();
    waited.release();
    assert_eq!(
        (balance(&bulkhead), log.take()),
        ((0, 0), vec!["Completed".to_owned(); 2])
    );

    bulkhead
        .change(|now| now.queue(7).max_wait(HOUR).lifo())
        .unwrap();
    let snapshot = bulkhead.snapshot();
    assert_eq!(
        (snapshot.queue, snapshot.max_wait, snapshot.order),
        (Some(7), HOUR, Order::Lifo)
    );
}

#[test]
fn cx19_two_changes_at_once_both_stay() {
    let bulkhead = Bulkhead::new(1);
    let runs = AtomicU64::new(0);
    let outer = bulkhead.change(|now| {
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            bulkhead.set_limit(3).unwrap();
        }
        now.queue(5)
    });
    outer.unwrap();
    let snapshot = bulkhead.snapshot();
    assert_eq!((snapshot.limit, snapshot.queue), (3, Some(5)));
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

// RN2, CX7, CX8
#[test]
fn rn1_run_makes_one_call_under_its_permit() {
    let bulkhead = Bulkhead::new(1);
    let inside = || {
        let in_flight = bulkhead.snapshot().in_flight;
        async move { Ok::<_, &str>(in_flight) }
    };
    assert_eq!(poll_once(bulkhead.run(inside)).unwrap(), Ok(1));
    assert_eq!(balance(&bulkhead), (0, 0));

    let fails = || async {
        Err::<(), _>("no")?;
        Ok(7)
    };
    assert_eq!(
        poll_once(bulkhead.run(fails)).unwrap(),
        Err(Error::Service("no"))
    );

    // Dropped at its await point.
    let hangs = || std::future::pending::<Result<(), ()>>();
    assert!(poll_once(bulkhead.run(hangs)).is_none());
    assert_eq!(balance(&bulkhead), (0, 0));

    let panics = || async {
        if true {
            panic!("inside");
        }
        Ok::<_, ()>(())
    };
    let polled = || poll_once(bulkhead.run(panics));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(polled)).unwrap_err();
    assert_eq!(balance(&bulkhead), (0, 0));

    let _held = bulkhead.try_acquire().unwrap();
    let called = AtomicU64::new(0);
    let counts = || {
        called.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, ()>(()) }
    };
    let rejected = poll_once(bulkhead.run(counts)).unwrap().unwrap_err();
    assert_eq!(rejected.rejection().unwrap().policy(), bulkhead.name());
    assert_eq!(called.load(Ordering::Relaxed), 0);
}

// The context says so in `call`, or only when the future is first polled, as behind a buffer.
#[cfg(feature = "tower")]
#[test]
fn rt11_an_extra_attempt_never_waits_in_the_layer() {
    use tower::{BoxError, Layer, Service, service_fn};

    use crate::rejection::Reason;

    let extra = CallContext {
        extra: true,
        ..CallContext::current()
    };
    let bulkhead = one(1);
    let echo = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let mut service = crate::BulkheadLayer::queued(&bulkhead).layer(echo);
    let held = bulkhead.try_acquire().unwrap();
    for known_in_call in [true, false] {
        let early = known_in_call.then(|| extra.enter());
        let call = service.call(7);
        drop(early);
        assert_eq!(balance(&bulkhead), (1, u32::from(!known_in_call)));
        let _late = extra.enter();
        let error = poll_once(call).expect("it does not wait").unwrap_err();
        let kind = Reason::of(&*error).unwrap().kind();
        assert!(
            matches!(kind, RejectionKind::BulkheadFull { limit: 1, .. }),
            "{kind:?}"
        );
        assert_eq!(balance(&bulkhead), (1, 0));
    }
    held.release();
    let _extra = extra.enter();
    assert!(matches!(poll_once(service.call(7)), Some(Ok(7))));
}

// As behind a buffer: it was queued where it could not be seen that it is an extra attempt.
#[cfg(feature = "tower")]
#[test]
fn rt11_the_permit_that_an_extra_attempt_was_handed_before_its_first_poll_goes_to_the_next() {
    use tower::{BoxError, Layer, Service, service_fn};

    let extra = CallContext {
        extra: true,
        ..CallContext::current()
    };
    let bulkhead = one(2);
    let echo = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let mut service = crate::BulkheadLayer::queued(&bulkhead).layer(echo);
    let held = bulkhead.try_acquire().unwrap();
    let (handed, next) = (service.call(7), service.call(8));
    held.release();
    assert_eq!(balance(&bulkhead), (1, 1));
    let late = extra.enter();
    assert!(poll_once(handed).expect("it does not wait").is_err());
    drop(late);
    assert_eq!(balance(&bulkhead), (1, 0));
    assert!(matches!(poll_once(next), Some(Ok(8))));
    assert_eq!(balance(&bulkhead), (0, 0));
}

// Between its last poll and the end of its wait.
#[test]
fn bh4_a_waiter_that_gets_its_permit_at_the_end_of_its_wait_is_admitted() {
    use crate::waiting::{Progress, Waiter};

    let bulkhead = one(1);
    let held = bulkhead.try_acquire().unwrap();
    let Ok(Err(mut waiter)) = bulkhead.enter(None) else {
        panic!("the queue has room");
    };
    let polled = waiter.poll(Waker::noop(), time::now());
    assert!(matches!(polled, Progress::Waits(_)));
    held.release();
    let permit = waiter.time_out(time::now()).unwrap();
    assert_eq!(balance(&bulkhead), (1, 0));
    drop(waiter);
    permit.release();
    assert_eq!(balance(&bulkhead), (0, 0));
}

// The first waiter is polled after its deadline, when it has been handed the permit.
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn to4_a_permit_handed_to_a_waiter_after_its_deadline_goes_to_the_next() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    let bulkhead = Bulkhead::builder(1).queue(2).build().unwrap();
    let log = Recorder::new();
    bulkhead.on_event(log.listener_with(short)).forever();
    let mut cx = Context::from_waker(Waker::noop());
    let held = bulkhead.try_acquire().unwrap();
    let mut late = pin!(Deadline::after(ms(20)).scope(bulkhead.acquire()));
    assert!(late.as_mut().poll(&mut cx).is_pending());
    let mut next = pin!(bulkhead.acquire());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(ms(10)).await;
    held.release();
    tokio::time::advance(ms(10)).await;
    let Poll::Ready(Err(rejection)) = late.as_mut().poll(&mut cx) else {
        panic!("admitted after its deadline");
    };
    assert_eq!(rejection.kind(), RejectionKind::Expired);
    let Poll::Ready(Ok(permit)) = next.as_mut().poll(&mut cx) else {
        panic!("still waiting");
    };
    assert_eq!(bulkhead.snapshot().in_flight, 1);
    permit.release();
    let events: Vec<_> = log.all();
    assert_eq!((&*events[0], &*events[2]), ("Completed", "Completed"));
    assert!(events[1].starts_with("rejected: "), "{events:?}");
    assert_eq!(events.len(), 3);
    assert_eq!(bulkhead.snapshot().in_flight, 0);
}

/// Two waiters in one task, of which the first is handed the permit and not polled.
#[cfg(feature = "test-util")]
async fn two_waiters(bulkhead: &Bulkhead) -> [Task<Acquire>; 2] {
    let held = bulkhead.try_acquire().unwrap();
    let mut waiters = [0, 1].map(|_| Task::new(bulkhead.acquire()));
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    tokio::time::advance(ms(50)).await;
    held.release();
    assert_eq!(balance(bulkhead), (1, 1));
    waiters
}

// Case 49.
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn bh4_the_permit_of_a_waiter_that_is_not_polled_goes_to_the_next() {
    let bulkhead = Bulkhead::builder(1).queue(2).build().unwrap();
    let log = Recorder::new();
    bulkhead.on_event(log.listener_with(short)).forever();
    let [mut first, mut next] = two_waiters(&bulkhead).await;
    tokio::time::advance(ms(49)).await;
    assert!(next.poll().is_pending());
    tokio::time::advance(ms(2)).await;
    let Poll::Ready(Ok(permit)) = next.poll() else {
        panic!("not admitted");
    };
    assert_eq!(balance(&bulkhead), (1, 0));
    let Poll::Ready(Err(rejection)) = first.poll() else {
        panic!("it had lost its permit");
    };
    let waited = ms(101);
    assert_eq!(
        rejection.kind(),
        RejectionKind::QueueTimeout {
            limit: 1,
            in_flight: 1,
            queued: 0,
            waited
        }
    );
    permit.release();
    assert_eq!(balance(&bulkhead), (0, 0));
    assert_eq!(log.all().len(), 3, "{:?}", log.all());
}

#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn bh4_a_new_call_gets_the_permit_of_a_waiter_that_is_not_polled() {
    let bulkhead = Bulkhead::builder(1).queue(2).build().unwrap();
    let [mut first, mut next] = two_waiters(&bulkhead).await;
    next.cancel();
    tokio::time::advance(ms(49)).await;
    let mut early = Task::new(bulkhead.acquire().max_wait(ms(10)));
    assert!(early.poll().is_pending());
    early.cancel();
    tokio::time::advance(ms(1)).await;
    let mut new = Task::new(bulkhead.acquire());
    let Poll::Ready(Ok(permit)) = new.poll() else {
        panic!("not admitted");
    };
    assert!(matches!(first.poll(), Poll::Ready(Err(_))));
    assert_eq!(balance(&bulkhead), (1, 0));
    permit.release();
    assert_eq!(balance(&bulkhead), (0, 0));
}

// CX7
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn bh4_a_waiter_dropped_before_or_after_its_permit_is_taken_over_releases_once() {
    for late in [false, true] {
        let bulkhead = Bulkhead::builder(1).queue(2).build().unwrap();
        let log = Recorder::new();
        bulkhead.on_event(log.listener_with(short)).forever();
        let [mut first, mut next] = two_waiters(&bulkhead).await;
        if !late {
            first.cancel();
        }
        tokio::time::advance(ms(50)).await;
        assert!(matches!(next.poll(), Poll::Ready(Ok(_))));
        first.cancel();
        assert_eq!(balance(&bulkhead), (0, 0));
        let dropped = log.all().iter().filter(|event| *event == "Dropped").count();
        assert_eq!((dropped, log.all().len()), (2, 3), "{:?}", log.all());
    }
}
