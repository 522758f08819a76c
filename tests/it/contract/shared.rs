//! What all layers promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures::FutureExt;
use seawall::Mode;
use tower::buffer::Buffer;
use tower::{BoxError, Service, ServiceExt};

use super::{Case, Policy, Subject, answered, call, failed, ready, service};
use crate::support::{Do, Handle, Mock, Random, Task, catching, poll_ready};

pub(super) async fn cx3_a_strict_inner_service_is_called_only_when_ready<S: Subject>() {
    let mut case = Case::<S>::new("strict");
    for _ in 0..3 {
        case.answers();
        answered(Task::new(call(&mut case.service.clone(), Do::Answer)).run());
        // Ready twice, called once.
        ready(poll_ready(&mut case.service));
        case.call(Do::Fail).await.unwrap_err();
    }

    // tower's retry readies its clone once and calls it three times.
    let before = case.mock.calls();
    let retry = tower::retry::Retry::new(Attempts(3), case.service);
    retry.oneshot(Do::Fail).await.unwrap_err();
    assert_eq!(case.mock.calls() - before, 3 * S::Policy::ATTEMPTS);

    let buffer = Buffer::new(service::<S>(&case.policy, &case.mock), 4);
    let calls = (0..20).map(|i| buffer.clone().oneshot(Do::Yield(i)));
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome.unwrap(), 7);
    }
}

#[derive(Clone)]
struct Attempts(u32);

impl tower::retry::Policy<Do, u32, BoxError> for Attempts {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Do, outcome: &mut Result<u32, BoxError>) -> Option<Self::Future> {
        self.0 -= 1;
        (outcome.is_err() && self.0 > 0).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, what: &Do) -> Option<Do> {
        Some(*what)
    }
}

pub(super) async fn cx4_idle_clones_reserve_nothing<S: Subject>() {
    let mut case = Case::<S>::new("idle");
    case.policy.make_scarce();
    let mut idle: Vec<_> = (0..100).map(|_| case.service.clone()).collect();
    for service in &mut idle {
        ready(poll_ready(service));
        ready(poll_ready(service));
    }
    let mut first = Task::new(case.call(Do::Wait));
    assert!(first.run().is_pending());
    assert_eq!(case.mock.calls(), 1);
    if S::Policy::SCARCE {
        // The first call has taken all there was.
        failed(Task::new(idle[0].call(Do::Answer)).run());
    }
    case.mock.answer();
    answered(first.run());
}

pub(super) async fn cx7_a_drop_at_any_await_point_returns_everything<S: Subject>() {
    for scarce in [false, true] {
        if scarce && !S::Policy::RETURNS {
            continue;
        }
        let mut case = Case::<S>::new("dropped");
        if scarce {
            case.policy.make_scarce();
            // The first call makes the breaker half-open.
            drop(case.call(Do::Hang));
        }
        let start = case.balance();

        // Before the first poll, and after each.
        for polls in 0..=4 {
            let mut task = Task::new(call(&mut case.service.clone(), Do::Yield(5)));
            for _ in 0..polls {
                assert!(task.poll().is_pending());
            }
            task.cancel();
            assert_eq!((case.balance(), case.mock.in_flight()), (start.clone(), 0));
        }

        let before = case.mock.calls();
        let mut random = Random::new(7);
        let mut running = Vec::new();
        for _ in 0..10_000 {
            let what = match random.below(3) {
                0 => Do::Hang,
                1 => Do::Wait,
                _ => Do::Yield(10),
            };
            let mut service = case.service.clone();
            // A gate is not ready while its probe is in flight.
            if poll_ready(&mut service).is_ready() {
                let mut task = Task::new(service.call(what));
                for _ in 0..random.below(4) {
                    if task.poll().is_ready() {
                        break;
                    }
                }
                running.push(task);
            }
            while running.len() as u64 > random.below(8) {
                let at = random.below(running.len() as u64);
                running.swap_remove(usize::try_from(at).unwrap());
            }
        }
        drop(running);
        assert_eq!((case.balance(), case.mock.in_flight()), (start, 0));
        assert!(case.mock.calls() > before + 1_000, "{}", case.mock.calls());
    }
}

pub(super) async fn cx8_a_panic_returns_everything<S: Subject>() {
    let [_, _, dropped, panicked] = S::Policy::ENDINGS;
    for what in [Do::PanicInCall, Do::PanicInPoll] {
        let mut case = Case::<S>::new("panicking");
        let start = case.balance();
        catching(|| case.run(what)).unwrap_err();
        assert_eq!(case.events.endings(), [panicked], "{what:?}");
        assert_eq!((case.balance(), case.mock.in_flight()), (start, 0));
        case.answers();

        // A probe permit too: there is only one.
        if S::Policy::RETURNS {
            let mut case = Case::<S>::new("panicking");
            case.policy.make_scarce();
            case.events.take();
            catching(|| case.run(what)).unwrap_err();
            assert_eq!(case.events.endings(), [panicked], "{what:?}");
            case.policy.make_scarce();
            case.answers();
        }
    }

    // The caller catches the panic: the event is emitted while the future still exists.
    let mut case = Case::<S>::new("panicking");
    let future = case.call(Do::PanicInPoll);
    let mut task = Task::new(std::panic::AssertUnwindSafe(future).catch_unwind());
    assert!(matches!(task.run(), Poll::Ready(Err(_))));
    assert_eq!(case.events.endings(), [panicked]);

    // Another panic drops the call: that is a drop.
    let mut case = Case::<S>::new("panicking");
    let unwound = catching(|| {
        let mut task = Task::new(case.call(Do::Hang));
        assert!(task.run().is_pending());
        panic!("elsewhere");
    });
    unwound.unwrap_err();
    assert_eq!(case.events.endings(), [dropped]);
}

pub(super) async fn cx9_there_are_as_many_polls_as_events<S: Subject>() {
    let mut case = Case::<S>::new("quiet");
    let mut task = Task::new(case.call(Do::Wait));
    assert!(task.run().is_pending());
    for n in 1..=5 {
        case.mock.wake();
        assert_eq!(task.wakes(), n);
        assert!(task.poll().is_pending());
        assert_eq!(task.wakes(), n, "it woke itself");
    }
    case.mock.answer();
    assert!(task.run().is_ready());
    let counts = (task.polls(), case.mock.polls(), task.wakes());
    assert_eq!(counts, (7, 7, 6));

    let mut case = Case::<S>::over("quiet", Mock::stuck());
    let mut ready = Task::new(case.service.ready());
    assert!(ready.run().is_pending());
    assert_eq!(ready.wakes(), 0);
    case.mock.unstick();
    assert!(ready.run().is_ready());
    assert_eq!((ready.wakes(), case.mock.ready_polls()), (1, 2));
}

pub(super) async fn cx11_it_is_made_and_answers_outside_a_runtime<S: Subject>() {
    let outside = std::thread::spawn(|| {
        let mut case = Case::<S>::new("no runtime");
        case.answers();
        if S::REJECTS {
            case.rejected();
        }
        drop((case.service.clone(), case));
    });
    outside.join().unwrap();
}

pub(super) async fn cx14_each_admission_ends_in_one_terminal_event<S: Subject>() {
    let mut case = Case::<S>::new("observed");
    let [completed, failed, dropped, panicked] = S::Policy::ENDINGS;

    answered(case.run(Do::Yield(2)));
    assert_eq!(case.events.endings(), [completed]);
    case.call(Do::Fail).await.unwrap_err();
    assert_eq!(case.events.endings(), [failed]);
    drop(case.call(Do::Answer));
    assert_eq!(case.events.endings(), [dropped]);
    let mut task = Task::new(case.call(Do::Hang));
    assert!(task.run().is_pending());
    task.cancel();
    assert_eq!(case.events.endings(), [dropped]);
    for what in [Do::PanicInCall, Do::PanicInPoll] {
        catching(|| case.run(what)).unwrap_err();
        assert_eq!(case.events.endings(), [panicked]);
    }
    if S::REJECTS {
        case.rejected();
        assert_eq!(case.events.endings(), ["rejected"]);
    }
}

pub(super) async fn cx14_listeners_may_panic_and_use_the_policy<S: Subject>() {
    let mut case = Case::<S>::new("observed");
    let policy = case.policy.clone();
    let received = Arc::new(AtomicUsize::new(0));
    let _panics = policy.handle().on_event(|_| panic!("a listener"));
    // If the policy held a lock here, this would take it again.
    let (count, inside) = (Arc::clone(&received), policy.clone());
    let _uses = policy.handle().on_event(move |_| {
        inside.settings();
        inside.handle().set_mode(Mode::Enforce);
        drop(inside.handle().on_event(|_| {}));
        count.fetch_add(1, Ordering::SeqCst);
    });
    // So would the drop of a listener that keeps a subscription.
    let kept = policy.handle().on_event(|_| {});
    drop(policy.handle().on_event(move |_| drop(format!("{kept:?}"))));
    case.answers();
    assert!(received.load(Ordering::SeqCst) >= 1);
    if S::REJECTS {
        case.rejected();
        assert!(received.load(Ordering::SeqCst) >= 2);
    }
    case.answers();
}

pub(super) async fn cx14_cx19_an_admission_ends_in_the_mode_it_started_in<S: Subject>() {
    let mut case = Case::<S>::new("changed");
    let mut running = Task::new(case.call(Do::Wait));
    assert!(running.run().is_pending());
    case.policy.handle().set_mode(Mode::Off);
    let mut unseen = Task::new(case.call(Do::Wait));
    assert!(unseen.run().is_pending());
    case.mock.answer();
    answered(running.run());
    assert_eq!(case.events.endings(), [S::Policy::ENDINGS[0]]);
    case.policy.handle().set_mode(Mode::Enforce);
    answered(unseen.run());
    assert_eq!(case.events.endings(), [""; 0]);
}

pub(super) async fn cx15_cx19_a_bad_change_and_a_change_of_mode_leave_running_calls_alone<
    S: Subject,
>() {
    let mut case = Case::<S>::new("changed");
    let before = case.policy.settings();
    let error = case.policy.change_badly();
    assert_eq!(case.policy.settings(), before);
    assert_eq!(&**error.policy(), "changed");
    let text = error.to_string();
    for problem in error.problems() {
        assert!(!problem.field.is_empty() && !problem.allowed.is_empty());
        assert!(text.contains(&problem.to_string()), "{text}");
    }

    let mut running = Task::new(case.call(Do::Wait));
    assert!(running.run().is_pending());
    case.policy.handle().set_mode(Mode::Off);
    case.policy.shut();
    case.events.take();
    let policy = case.policy.clone();
    for _ in 0..3 {
        policy.within(|| case.answers());
    }
    assert_eq!(case.events.take(), [""; 0], "a policy that is off emits");
    case.mock.answer();
    answered(running.run());

    policy.handle().set_mode(Mode::Enforce);
    policy.reopen();
    if S::REJECTS {
        case.rejected();
    }
    case.answers();
}
