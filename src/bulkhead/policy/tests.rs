use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::Bulkhead;
use crate::bulkhead::state::Order;
use crate::config::Mode;
use crate::context::CallContext;
use crate::deadline::Deadline;
use crate::event::{Ending, Event, EventKind};
use crate::rejection::{Error, RejectionKind};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::time;

/// What was told, in short.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let log = self.clone();
        move |event| {
            let line = match event.kind {
                EventKind::Ended { ending, .. } => format!("{ending:?}"),
                EventKind::Rejected(rejection) => format!("rejected: {rejection}"),
                EventKind::WouldReject(rejection) => format!("would reject: {rejection}"),
                _ => "something else".to_owned(),
            };
            log.0.lock().push(line);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn balance(bulkhead: &Bulkhead) -> (u32, u32) {
    let snapshot = bulkhead.snapshot();
    (snapshot.in_flight, snapshot.queued)
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Full, with a queue, in which the thread waits as long as a test may.
fn full(queue: u32) -> Bulkhead {
    let builder = Bulkhead::builder(1).name("full").queue(queue);
    builder.max_wait(HOUR).build().unwrap()
}

fn until(holds: impl Fn() -> bool) {
    let start = time::now();
    while !holds() {
        assert!(
            time::now().since(start) < Duration::from_secs(60),
            "it never came"
        );
        thread::yield_now();
    }
}

// CX1, CX18
#[test]
fn cx18_the_name_is_given_or_the_place() {
    let bulkhead = Bulkhead::new(0);
    let name = bulkhead.name();
    assert!(name.starts_with("bulkhead@"), "{name}");
    assert!(name.contains("policy/tests.rs:"), "{name}");
    assert_eq!(bulkhead.clone().try_acquire().unwrap_err().policy(), name);
    assert!(
        Bulkhead::builder(1)
            .build()
            .unwrap()
            .name()
            .contains("policy/tests.rs:")
    );
    assert_eq!(full(0).name().as_str(), "full");
    let text = format!("{:?}", full(0));
    assert!(
        text.contains("\"full\"") && text.contains("0/1 in flight"),
        "{text}"
    );
}

// BH1: by any way in.
#[test]
fn bh1_never_more_in_flight_than_the_limit() {
    const LIMIT: u64 = 3;
    let bulkhead = Bulkhead::builder(LIMIT as u32)
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
    assert_eq!(peak.load(Ordering::SeqCst), LIMIT);
    assert!(
        admitted.load(Ordering::SeqCst) >= 4 * 500,
        "a waiter was lost"
    );
    assert_eq!(balance(&bulkhead), (0, 0));
}

// BH2, BH3
#[test]
fn bh2_refuses_unless_a_queue_is_asked_for_twice() {
    // No queue, and somebody who would wait.
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

    // A queue, and somebody who would not.
    let bulkhead = bulkhead.clone().queue(1);
    assert_eq!(bulkhead.try_acquire().unwrap_err().kind(), full(0));
    assert_eq!(bulkhead.try_acquire_owned().unwrap_err().kind(), full(0));
    let refused = poll_once(bulkhead.run(|| async { Ok::<_, ()>(7) })).unwrap();
    assert!(matches!(refused, Err(Error::Rejected(_))));

    let snapshot = bulkhead.snapshot();
    assert_eq!(
        (snapshot.queue, snapshot.max_wait),
        (Some(1), Duration::from_millis(100))
    );
    bulkhead.set_unbounded_queue();
    assert_eq!(bulkhead.snapshot().queue, None);
    let unbounded = Bulkhead::builder(1).unbounded_queue().build().unwrap();
    assert_eq!(unbounded.snapshot().queue, None);
}

// BH3, RN3
#[test]
fn bh3_full_is_told_from_waited_too_long() {
    let bulkhead = full(1);
    let held = bulkhead.try_acquire().unwrap();
    bulkhead.set_max_wait(Duration::from_millis(20));
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
    assert!(rejection.to_string().starts_with("full: queued for "));

    bulkhead.set_max_wait(HOUR);
    let waiter = {
        let bulkhead = bulkhead.clone();
        thread::spawn(move || bulkhead.acquire_blocking().map(|permit| permit.release()))
    };
    until(|| bulkhead.snapshot().queued == 1);
    let rejection = bulkhead.acquire_blocking().unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "full: bulkhead is full (limit 1, 1 in flight, 1 queued)"
    );
    held.release();
    waiter.join().unwrap().unwrap();

    bulkhead.set_limit(0);
    let rejection = bulkhead.acquire_blocking().unwrap_err();
    assert_eq!(rejection.to_string(), "full: bulkhead is closed");
}

// BH4, RN3
#[test]
fn bh4_blocked_threads_go_in_their_order() {
    for order in [Order::Fifo, Order::Lifo] {
        let bulkhead = full(10);
        bulkhead.set_order(order);
        let held = bulkhead.try_acquire().unwrap();
        let went = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let thread = {
                    let (bulkhead, went) = (bulkhead.clone(), Arc::clone(&went));
                    thread::spawn(move || {
                        let permit = bulkhead.acquire_blocking().unwrap();
                        went.lock().push(n);
                        permit.release();
                    })
                };
                until(|| bulkhead.snapshot().queued == n + 1);
                thread
            })
            .collect();
        // Nobody who comes now overtakes, though he be refused.
        bulkhead.try_acquire().unwrap_err();
        held.release();
        for thread in threads {
            thread.join().unwrap();
        }
        let expected = match order {
            Order::Fifo => [0, 1, 2, 3],
            Order::Lifo => [3, 2, 1, 0],
        };
        assert_eq!(*went.lock(), expected);
        assert_eq!(balance(&bulkhead), (0, 0));
    }
}

// BH5, RN3
#[test]
fn bh5_raised_wakes_closed_tells_and_nobody_is_stopped() {
    let bulkhead = full(10);
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
    bulkhead.set_limit(3);
    let permits = [
        first.join().unwrap().unwrap(),
        second.join().unwrap().unwrap(),
    ];
    assert_eq!(balance(&bulkhead), (3, 1));

    // Lowered: in-flight work goes on, and its end makes no place.
    bulkhead.set_limit(1);
    assert_eq!((bulkhead.limit(), balance(&bulkhead)), (1, (3, 1)));
    drop(permits);
    assert_eq!(balance(&bulkhead), (1, 1));
    assert!(!third.is_finished());

    bulkhead.set_limit(0);
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
    bulkhead.set_limit(u16::MAX);
    assert!(bulkhead.try_acquire().is_ok());
}

// TO4
#[test]
fn to4_a_blocked_thread_waits_until_the_deadline_and_not_before() {
    let bulkhead = full(1);
    let _held = bulkhead.try_acquire().unwrap();
    let start = time::now();
    let deadline = Deadline::after(Duration::from_millis(20));
    let rejection = deadline.enter(|| bulkhead.acquire_blocking()).unwrap_err();
    assert!(time::now().since(start) >= Duration::from_millis(20));
    assert!(
        matches!(rejection.kind(), RejectionKind::QueueTimeout { .. }),
        "{rejection:?}"
    );

    let log = Log::default();
    let _on = bulkhead.on_event(log.listener());
    let past = Deadline::after(Duration::ZERO);
    let rejection = past.enter(|| bulkhead.acquire_blocking()).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Expired);
    assert_eq!(log.take().len(), 1);
    assert_eq!(balance(&bulkhead), (1, 0));
}

// RT11
#[test]
fn rt11_an_extra_attempt_never_queues() {
    let bulkhead = full(1);
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

// CX14
#[test]
fn cx14_every_admission_ends_in_one_event() {
    let log = Log::default();
    let bulkhead = Bulkhead::builder(1)
        .name("told")
        .on_event(log.listener())
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
        ["rejected: told: bulkhead is full (limit 1, 1 in flight, 0 queued)"]
    );
    assert!(bulkhead.peek().is_err());
    assert_eq!(log.take(), [""; 0]);
}

// CX14: the place is free, and the one whose turn it is has it, when the event is told.
#[test]
fn cx14_a_listener_sees_what_came_of_it() {
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

// CX15
#[test]
fn cx15_a_bad_configuration_tells_all_its_problems() {
    let error = Bulkhead::builder(65_536)
        .queue(1_000_001)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: invalid `limit`: 65536 (must be at most 65,535); invalid `queue`: 1000001 (must be \
             at most 1,000,000, or an unbounded queue)",
            error.policy()
        )
    );
    assert!(Bulkhead::builder(65_535).queue(1_000_000).build().is_ok());
}

// CX16
#[test]
fn cx16_record_only_counts_and_refuses_nothing() {
    let log = Log::default();
    let builder = Bulkhead::builder(1)
        .name("only")
        .queue(1)
        .mode(Mode::RecordOnly);
    let bulkhead = builder.on_event(log.listener()).build().unwrap();
    let permits: Vec<_> = (0..2).map(|_| bulkhead.try_acquire().unwrap()).collect();
    assert_eq!(
        log.take(),
        ["would reject: only: bulkhead is full (limit 1, 1 in flight, 0 queued)"]
    );
    assert!(bulkhead.peek().is_ok());
    assert_eq!(
        (bulkhead.snapshot().would_reject, balance(&bulkhead)),
        (1, (2, 0))
    );

    // Two are in flight, so one would queue; and he who comes now would find the queue full.
    let third = bulkhead.acquire_blocking().unwrap();
    assert_eq!(bulkhead.snapshot().would_reject, 2);
    permits.into_iter().for_each(|permit| permit.release());
    // One is, and this one would queue: he is not refused.
    let fourth = bulkhead.acquire_blocking().unwrap();
    assert_eq!(bulkhead.snapshot().would_reject, 2);

    // Enforced again, it goes on from what is true.
    bulkhead.set_mode(Mode::Enforce);
    assert_eq!(balance(&bulkhead), (2, 0));
    bulkhead.try_acquire().unwrap_err();
    drop((third, fourth));
    assert!(bulkhead.try_acquire().is_ok());
}

// CX19
#[test]
fn cx19_changes_while_calls_run() {
    let log = Log::default();
    let bulkhead = full(1);
    let _on = bulkhead.on_event(log.listener());
    let held = bulkhead.try_acquire().unwrap();
    let before = bulkhead.snapshot();
    bulkhead.set_queue(1_000_001).unwrap_err();
    assert_eq!(bulkhead.snapshot(), before);

    // Whoever queues goes when it is switched off.
    let waiter = {
        let bulkhead = bulkhead.clone();
        thread::spawn(move || bulkhead.acquire_blocking())
    };
    until(|| bulkhead.snapshot().queued == 1);
    bulkhead.set_mode(Mode::Off);
    let waited = waiter.join().unwrap().unwrap();
    assert_eq!(balance(&bulkhead), (2, 0));

    // Off, it counts and tells nothing.
    let unseen = bulkhead.try_acquire().unwrap();
    bulkhead.set_mode(Mode::Enforce);
    assert_eq!(balance(&bulkhead), (2, 0));
    drop(unseen);
    assert_eq!((balance(&bulkhead), log.take()), ((2, 0), vec![]));
    // What began before ends as it would have.
    held.release();
    waited.release();
    assert_eq!(
        (balance(&bulkhead), log.take()),
        ((0, 0), vec!["Completed".to_owned(); 2])
    );

    bulkhead.set_queue(7).unwrap();
    bulkhead.set_max_wait(HOUR);
    bulkhead.set_order(Order::Lifo);
    let snapshot = bulkhead.snapshot();
    assert_eq!(
        (snapshot.queue, snapshot.max_wait, snapshot.order),
        (Some(7), HOUR, Order::Lifo)
    );
}

// RN1, RN2, CX7, CX8
#[test]
fn rn1_run_makes_one_call_in_its_place() {
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
    let refused = poll_once(bulkhead.run(counts)).unwrap().unwrap_err();
    assert_eq!(refused.rejection().unwrap().policy(), bulkhead.name());
    assert_eq!(called.load(Ordering::Relaxed), 0);
}

// RT11: said in `call`, or only where the future is first polled, as behind a buffer.
#[cfg(feature = "tower")]
#[test]
fn rt11_an_extra_attempt_never_queues_in_the_layer() {
    use tower::{BoxError, Layer, Service, service_fn};

    use crate::rejection::Reason;

    let extra = CallContext {
        extra: true,
        ..CallContext::current()
    };
    let bulkhead = full(1);
    let echo = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let mut service = crate::BulkheadLayer::queued(&bulkhead).layer(echo);
    let held = bulkhead.try_acquire().unwrap();
    for said_in_call in [true, false] {
        let early = said_in_call.then(|| extra.enter());
        let call = service.call(7);
        drop(early);
        assert_eq!(balance(&bulkhead), (1, u32::from(!said_in_call)));
        let _late = extra.enter();
        let error = poll_once(call).expect("it does not wait").unwrap_err();
        let why = Reason::of(&*error).unwrap().kind();
        assert!(
            matches!(why, RejectionKind::BulkheadFull { limit: 1, .. }),
            "{why:?}"
        );
        assert_eq!(balance(&bulkhead), (1, 0));
    }
    held.release();
    let _extra = extra.enter();
    assert!(matches!(poll_once(service.call(7)), Some(Ok(7))));
}

// BH4: handed its place between its last look and the end of its wait, it goes ahead.
#[test]
fn bh4_who_gives_up_when_it_is_its_turn_goes_ahead() {
    use super::place::Entry;

    let bulkhead = full(1);
    let held = bulkhead.try_acquire().unwrap();
    let Ok(Entry::Queued(mut place)) = bulkhead.enter(HOUR) else {
        panic!("there is a place in the queue");
    };
    assert!(place.look(Waker::noop()).is_none());
    held.release();
    let permit = place.give_up(time::now()).unwrap();
    assert_eq!(balance(&bulkhead), (1, 0));
    drop(place);
    permit.release();
    assert_eq!(balance(&bulkhead), (0, 0));
}
