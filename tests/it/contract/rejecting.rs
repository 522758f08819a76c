//! What layers promise that reject calls.

use seawall::Mode;
use tower::buffer::Buffer;
use tower::{Service, ServiceExt};

use super::{Case, Policy, Subject, answered, call, failed, ready, rejected_by, service, sharing};
use crate::support::{Do, Handle, Mock, Task, poll_ready, reason};

pub(super) async fn cx1_services_clones_and_layers_share_one_state<S: Subject>() {
    let case = Case::<S>::new("shared");
    let mut services = sharing(&case);
    for service in &mut services {
        rejected_by(&case.policy, service);
        rejected_by(&case.policy, service);
    }
    assert_eq!(case.mock.calls(), 0);

    if S::Policy::SCARCE {
        case.policy.make_scarce();
        let mut taken = Task::new(call(&mut services[0], Do::Hang));
        assert!(taken.run().is_pending());
        for service in &mut services {
            failed(Task::new(call(service, Do::Answer)).run());
        }
    }
}

pub(super) async fn cx5_it_rejects_over_a_stuck_inner_service_without_touching_it<S: Subject>() {
    let mut case = Case::<S>::over("shut", Mock::stuck());
    assert!(poll_ready(&mut case.service).is_pending());
    let error = case.rejected();
    assert_eq!(&**reason(&error).policy(), "shut");
    assert_eq!(case.events.endings(), ["rejected"]);
    // After a rejection at the latest, the policy decides before the inner service is polled.
    let polls = case.mock.ready_polls();
    for _ in 0..10 {
        case.rejected();
    }
    assert_eq!((case.mock.ready_polls(), case.mock.calls()), (polls, 0));
}

pub(super) async fn cx6_a_rejection_of_readiness_holds_until_readiness_is_polled_again<
    S: Subject,
>() {
    let mut case = Case::<S>::over("shut", Mock::stuck());
    let ready_to_reject = |case: &mut Case<S>| {
        case.policy.shut();
        ready(case.policy.within(|| poll_ready(&mut case.service)));
        case.policy.reopen();
    };
    // The inner service is not ready for this call.
    ready_to_reject(&mut case);
    failed(Task::new(case.service.call(Do::Answer)).run());
    assert_eq!(case.mock.calls(), 0);
    // Its clone is not ready.
    ready_to_reject(&mut case);
    assert!(poll_ready(&mut case.service.clone()).is_pending());
    // Polled again it forgets the rejection, which may be an hour old.
    assert!(poll_ready(&mut case.service).is_pending());
    case.mock.unstick();
    case.answers();
    ready_to_reject(&mut case);
    ready(poll_ready(&mut case.service));
    answered(Task::new(case.service.call(Do::Answer)).run());
}

pub(super) async fn cx6_a_rejected_call_is_followed_by_a_working_one<S: Subject>() {
    let mut case = Case::<S>::new("rejecting");
    for n in 1..=3 {
        reason(&case.rejected());
        case.answers();
        assert_eq!(case.mock.calls(), n);
    }

    let mut buffer = Buffer::new(case.service, 4);
    for n in 4..=6 {
        case.policy.shut();
        let rejected = buffer.ready().await.unwrap().call(Do::Late).await;
        case.policy.reopen();
        assert_eq!(&**reason(&rejected.unwrap_err()).policy(), "rejecting");
        let outcome = buffer.ready().await.unwrap().call(Do::Answer).await;
        assert_eq!((outcome.unwrap(), case.mock.calls()), (7, n));
    }
}

pub(super) async fn cx16_record_only_emits_and_rejects_nothing<S: Subject>() {
    let mut case = Case::<S>::new("recording");
    let policy = case.policy.clone();
    policy.handle().set_mode(Mode::RecordOnly);
    policy.shut();
    case.events.take();
    for n in 1..=3 {
        policy.within(|| case.answers());
        assert_eq!(case.events.take(), ["would reject", S::Policy::ENDINGS[0]]);
        assert_eq!(policy.handle().would_reject(), n);
    }
    // It does not reject, so it waits for a stuck inner service.
    let mut stuck = service::<S>(&policy, &Mock::stuck());
    assert!(policy.within(|| poll_ready(&mut stuck)).is_pending());
    policy.reopen();

    // A call that would be admitted has its usual event.
    answered(case.run(Do::Answer));
    assert_eq!(case.events.take().last().unwrap(), S::Policy::ENDINGS[0]);
    assert_eq!((policy.handle().would_reject(), case.mock.calls()), (3, 4));
}

pub(super) async fn cx18_two_policies_of_one_name_stay_two<S: Subject>() {
    let (mut one, mut two) = (Case::<S>::new("same"), Case::<S>::new("same"));
    assert_eq!(one.policy.handle().name(), "same");
    assert_eq!(&**reason(&one.rejected()).policy(), "same");
    one.policy.shut();
    two.answers();
}
