//! The deadline that flows down a task.

mod carries;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use seawall::{Deadline, RejectionKind, Timeout, TimeoutLayer};
use tokio::time::{advance, sleep};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Do, Mock, Task, catching, locked, ms, poll_ready, reason, secs};

/// The deadlines that a service read, in order: in its `call`, then in its polls.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Option<Duration>>>>);

impl Seen {
    fn look(&self) {
        locked(&self.0).push(Deadline::remaining());
    }

    fn take(&self) -> Vec<Option<Duration>> {
        std::mem::take(&mut *locked(&self.0))
    }

    /// A service that reads the deadline in `call`, and in two polls a second apart.
    fn service(
        &self,
    ) -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Clone + Send + use<>
    {
        let seen = self.clone();
        service_fn(move |()| {
            seen.look();
            let seen = seen.clone();
            async move {
                seen.look();
                sleep(secs(1)).await;
                seen.look();
                Ok(())
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn to3_remaining_is_right_at_any_depth() {
    let seen = Seen::default();
    let service = ServiceBuilder::new()
        .map_request(|()| ())
        .layer(TimeoutLayer::new(secs(5)))
        .map_err(|error: BoxError| error)
        // A longer deadline within a shorter one changes nothing.
        .layer(TimeoutLayer::new(secs(20)))
        .service(seen.service());
    let service = TimeoutLayer::new(secs(10)).layer(BoxCloneService::new(service));
    service.oneshot(()).await.unwrap();
    assert_eq!(seen.take(), [Some(secs(5)), Some(secs(5)), Some(secs(4))]);
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn to3_the_deadline_is_restored_after_each_call_and_poll_also_on_panic() {
    let mut service = TimeoutLayer::new(secs(5)).layer(Mock::new());
    let outer = Deadline::after(secs(60));
    let ours = || assert_eq!(Deadline::current(), Some(outer));
    outer.enter(|| {
        assert!(poll_ready(&mut service).is_ready());
        let mut task = Task::new(service.call(Do::Yield(2)));
        ours();
        while task.poll().is_pending() {
            ours();
        }
        ours();
        assert!(catching(|| service.call(Do::PanicInCall)).is_err());
        ours();
        let mut task = Task::new(service.call(Do::PanicInPoll));
        assert!(catching(|| task.poll()).is_err());
        ours();
        let mut scope = Task::new(Deadline::after(secs(1)).scope(async { panic!("in a scope") }));
        assert!(catching(|| -> std::task::Poll<()> { scope.poll() }).is_err());
        ours();
        assert!(catching(|| Deadline::after(secs(1)).enter(|| panic!("in it"))).is_err());
        ours();
    });
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn to3_branches_do_not_see_the_deadlines_of_others() {
    let timeouts = [3, 1, 2].map(|n| Timeout::new(secs(n)));
    let look = |timeout: Timeout| async move {
        let looked = timeout.run(async || {
            let first = Deadline::remaining().unwrap();
            // The others run in between.
            sleep(ms(500)).await;
            Ok::<_, BoxError>((first, Deadline::remaining().unwrap()))
        });
        looked.await.unwrap()
    };
    let mut branches: FuturesUnordered<_> = timeouts.iter().cloned().map(look).collect();
    let mut seen = Vec::new();
    while let Some(branch) = branches.next().await {
        seen.push(branch);
        assert_eq!(Deadline::current(), None);
    }
    seen.sort();
    let expected = [1, 2, 3].map(|n| (secs(n), secs(n) - ms(500)));
    assert_eq!(seen, expected);

    let (within, without) = tokio::join!(look(timeouts[0].clone()), async {
        sleep(ms(250)).await;
        Deadline::remaining()
    });
    assert_eq!((within.1, without), (ms(2_500), None));
    tokio::select! {
        biased;
        _ = look(timeouts[1].clone()) => panic!("the other branch is ready first"),
        () = sleep(ms(100)) => assert_eq!(Deadline::current(), None),
    }
}

#[tokio::test(start_paused = true)]
async fn to7_a_spawned_task_has_no_deadline_unless_it_is_carried() {
    let total = Timeout::new(secs(5));
    let look = || async { Deadline::remaining() };
    let seen = total.run(async || {
        let deadline = Deadline::current().unwrap();
        let in_thread = std::thread::spawn(move || {
            assert_eq!(Deadline::current(), None);
            deadline.enter(Deadline::current)
        });
        Ok::<_, BoxError>((
            tokio::spawn(look()).await?,
            tokio::spawn(deadline.scope(look())).await?,
            seawall::spawn(look()).await?,
            in_thread.join().unwrap() == Some(deadline),
        ))
    });
    let five = Some(secs(5));
    assert_eq!(seen.await.unwrap(), (None, five, five, true));
    assert_eq!(seawall::spawn(look()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn to7_behind_a_buffer_polls_have_the_deadline_and_the_call_has_none() {
    let seen = Seen::default();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(5)))
        .buffer(4)
        .service(seen.service());
    service.oneshot(()).await.unwrap();
    assert_eq!(seen.take(), [None, Some(secs(5)), Some(secs(4))]);

    // A timeout behind a buffer knows only its own limit in `call`; the outer one enforces its own.
    let outer = Timeout::builder(secs(2)).name("outer").build().unwrap();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(&outer))
        .buffer(4)
        .layer(TimeoutLayer::new(secs(3)))
        .service(Mock::new());
    let error = service.oneshot(Do::Hang).await.unwrap_err();
    assert_eq!(&**reason(&error).policy(), "outer");
}

#[tokio::test(start_paused = true)]
async fn to7_a_carried_deadline_is_kept_by_the_first_timeout_below() {
    let attempt = Timeout::builder(secs(10)).name("attempt").build().unwrap();
    let run = attempt.run(std::future::pending::<Result<(), BoxError>>);
    let start = tokio::time::Instant::now();
    let error = Deadline::after(secs(1)).scope(run).await.unwrap_err();
    assert_eq!(start.elapsed(), secs(1));
    let rejection = error.rejection().unwrap();
    assert_eq!(&**rejection.policy(), "attempt");
    let (limit, elapsed) = (secs(1), secs(1));
    assert_eq!(rejection.kind(), RejectionKind::TimedOut { limit, elapsed });

    // Also where the call was made outside of the timeout, and no timeout within it.
    let service = ServiceBuilder::new()
        .buffer(4)
        .layer(TimeoutLayer::new(&attempt))
        .layer(TimeoutLayer::new(secs(5)))
        .service(Mock::new());
    let start = tokio::time::Instant::now();
    let call = Deadline::after(secs(1)).scope(service.oneshot(Do::Hang));
    let error = call.await.unwrap_err();
    assert_eq!(start.elapsed(), secs(1));
    assert_eq!(&**reason(&error).policy(), "attempt");

    // A timeout that is off keeps nothing.
    attempt.set_mode(seawall::Mode::Off);
    let run = attempt.run(std::future::pending::<Result<(), BoxError>>);
    let mut run = Task::new(Deadline::after(secs(1)).scope(run));
    assert!(run.run().is_pending());
    advance(secs(2)).await;
    assert_eq!((run.wakes(), run.run().is_pending()), (0, true));

    // A scope does not lengthen the deadline of its poller.
    let look = Deadline::after(secs(60)).scope(async { Deadline::remaining() });
    let timeout = Timeout::new(secs(3));
    let run = timeout.run(|| look.map(Ok::<_, BoxError>));
    assert_eq!(run.await.unwrap(), Some(secs(3)));
}

// TO8
#[tokio::test(start_paused = true)]
async fn to8_shared_work_is_not_bounded_by_its_first_caller() {
    let work = Deadline::shield(secs(1), async {
        assert_eq!(Deadline::remaining(), Some(secs(1)));
        // Neither are the policies in it.
        let query = Timeout::new(ms(500));
        let query = query.run(async || {
            sleep(ms(300)).await;
            Ok::<_, BoxError>(Deadline::remaining().unwrap())
        });
        query
            .await
            .map_err(|error| error.into_error::<BoxError>().to_string())
    });
    let work = work.shared();
    let (first, second) = (Timeout::new(ms(50)), Timeout::new(secs(10)));
    let start = tokio::time::Instant::now();
    let shared = || work.clone().map(Ok::<_, BoxError>);
    let (first, second) = tokio::join!(
        async { (first.run(shared).await, start.elapsed()) },
        second.run(shared)
    );
    assert!(first.0.unwrap_err().rejection().is_some());
    assert_eq!(first.1, ms(50));
    assert_eq!(second.unwrap(), Ok(Ok(ms(200))));
    assert_eq!(start.elapsed(), ms(300));
}

// TO5, TO8
#[tokio::test(start_paused = true)]
async fn to5_to8_a_shield_bounds_the_timeouts_in_it() {
    let attempt = Timeout::new(secs(10));
    let work = attempt.run(std::future::pending::<Result<(), BoxError>>);
    let rejection = Deadline::shield(secs(1), work).await.unwrap_err();
    assert!(rejection.policy().starts_with("shield@"), "{rejection}");
}

// TO8
#[tokio::test(start_paused = true)]
async fn to8_a_shield_ends_by_its_own_bound_and_drops_its_work_first() {
    let mock = Mock::new();
    let mut shield = Task::new(Deadline::shield(ms(100), mock.clone().call(Do::Hang)));
    assert!(shield.run().is_pending());
    advance(ms(99)).await;
    assert!(shield.run().is_pending());
    advance(ms(1)).await;
    let std::task::Poll::Ready(outcome) = shield.run() else {
        panic!("its bound has passed");
    };
    assert_eq!(mock.in_flight(), 0);
    let (limit, elapsed) = (ms(100), ms(100));
    let rejection = outcome.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::TimedOut { limit, elapsed });
    assert!(
        rejection
            .policy()
            .starts_with("shield@tests/it/deadline/mod.rs:")
    );

    // Clean-up after the deadline has the whole bound.
    let past = Deadline::after(secs(0));
    let clean_up = past.scope(async {
        assert_eq!(Deadline::remaining(), Some(secs(0)));
        let work = Deadline::shield(secs(2), async {
            sleep(secs(1)).await;
            Deadline::remaining()
        });
        work.await
    });
    assert_eq!(clean_up.await, Ok(Some(secs(1))));
}

// CX17
#[tokio::test(start_paused = true)]
async fn cx17_a_deadline_follows_advance() {
    let deadline = Deadline::after(secs(3_600));
    advance(secs(3_599)).await;
    assert_eq!(deadline.left(), secs(1));
    assert!(!deadline.has_passed());
    advance(secs(1)).await;
    assert!(deadline.has_passed());
    assert_eq!(deadline.left(), secs(0));
}
