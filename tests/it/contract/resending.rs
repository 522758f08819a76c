//! What layers promise that send calls again. Their counterpart of a rejection is an extra attempt
//! that the budget suppresses.

use seawall::Mode;
use tower::buffer::Buffer;
use tower::{BoxError, Service, ServiceExt};

use super::{Case, Policy, Resends, Subject, call, sharing};
use crate::support::{Do, Handle};

pub(super) async fn cx1_services_clones_and_layers_share_one_budget<S>()
where
    S: Subject<Policy: Resends>,
{
    let case = Case::<S>::new("shared");
    case.policy.spend_to(2);
    for mut service in sharing(&case) {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    assert_eq!(case.mock.calls(), 4 + 2);
    assert_eq!(case.policy.resent(), 2);
    assert!(case.policy.suppressed() >= 2);
}

pub(super) async fn cx6_a_failed_call_is_followed_by_a_working_one<S>()
where
    S: Subject<Policy: Resends>,
{
    async fn fails_then_answers(service: &mut impl Service<Do, Response = u32, Error = BoxError>) {
        for _ in 0..3 {
            let failure = service.ready().await.unwrap().call(Do::Fail).await;
            assert_eq!(failure.unwrap_err().to_string(), "the inner service failed");
            let outcome = service.ready().await.unwrap().call(Do::Answer).await;
            assert_eq!(outcome.unwrap(), 7);
        }
    }
    let mut case = Case::<S>::new("failing");
    fails_then_answers(&mut case.service).await;
    fails_then_answers(&mut Buffer::new(case.service, 4)).await;
    assert_eq!(case.mock.calls(), 6 * (S::Policy::ATTEMPTS + 1));
}

pub(super) async fn cx16_record_only_emits_and_resends_nothing<S>()
where
    S: Subject<Policy: Resends>,
{
    let mut case = Case::<S>::new("recording");
    let handle = case.policy.handle().clone();
    handle.set_mode(Mode::RecordOnly);
    let start = case.balance();
    for n in 1..=3 {
        case.call(Do::Fail).await.unwrap_err();
        assert_eq!(case.events.take(), ["would resend", S::Policy::ENDINGS[1]]);
        assert_eq!((handle.would_reject(), case.mock.calls() as u64), (n, n));
    }
    assert_eq!((case.policy.resent(), case.balance()), (0, start));
    case.answers();
    assert_eq!(case.events.take(), [S::Policy::ENDINGS[0]]);
}

pub(super) async fn cx18_two_policies_of_one_name_stay_two<S>()
where
    S: Subject<Policy: Resends>,
{
    let (mut one, mut two) = (Case::<S>::new("same"), Case::<S>::new("same"));
    assert_eq!(one.policy.handle().name(), "same");
    one.policy.spend_to(0);
    one.call(Do::Fail).await.unwrap_err();
    two.call(Do::Fail).await.unwrap_err();
    let calls = (one.mock.calls(), two.mock.calls());
    assert_eq!(calls, (1, S::Policy::ATTEMPTS));
    assert_eq!(one.events.endings(), [S::Policy::ENDINGS[1]]);
}
