use std::fmt;

use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::{ServerService, ServerStack};
use crate::rejection::{Reason, Rejection, RejectionKind};
use crate::testing::{ms, secs};
use crate::{ConfigError, Keyed, Mode, Quota, RateLimiter};

fn hanging() -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|_: u32| std::future::pending::<Result<u32, BoxError>>())
}

fn fields(error: &ConfigError) -> Vec<&str> {
    let problems = error.problems().iter();
    problems.map(|problem| problem.field.as_str()).collect()
}

// CX15, CX18
#[test]
fn cx15_the_defaults_are_as_documented() {
    let stack = ServerStack::new("api", 9);
    assert_eq!(&**stack.name(), "api");
    assert_eq!(stack.timeout().limit(), secs(30));
    assert_eq!(&**stack.timeout().name(), "api.timeout");
    let bulkhead = stack.bulkhead().snapshot();
    assert_eq!((bulkhead.limit, bulkhead.queue), (9, Some(0)));
    assert_eq!(bulkhead.mode, Mode::Enforce);
    assert_eq!(&**stack.bulkhead().name(), "api.bulkhead");
    assert_eq!(stack.limiter().mode(), Mode::Off);
    assert_eq!(&**stack.limiter().name(), "api.rate_limit");
}

#[test]
fn cx15_all_problems_are_reported_at_once() {
    let config = ServerStack::builder("bad", 2_000_000)
        .timeout(secs(1))
        .rate_limit(Quota::new(1, secs(0)))
        .bulkhead(|bulkhead| bulkhead.queue(5).max_wait(ms(1_001)));
    let error = config.build().unwrap_err();
    assert_eq!(&**error.policy(), "bad");
    let all = ["rate_limit.period", "bulkhead.limit", "bulkhead.max_wait"];
    assert_eq!(fields(&error), all);
    let zero = ServerStack::builder("bad", 1).timeout(secs(0)).build();
    assert_eq!(fields(&zero.unwrap_err()), ["timeout"]);
    let fits = ServerStack::builder("good", 1).timeout(secs(1));
    let fits = fits.bulkhead(|bulkhead| bulkhead.queue(5).max_wait(secs(1)));
    let _fits = fits.build().unwrap();
    // There is no queue.
    let fits = ServerStack::builder("good", 1).timeout(ms(1));
    let _fits = fits.build().unwrap();
}

// CX1, BH1
#[tokio::test]
async fn cx1_services_of_a_stack_and_of_its_clones_share_its_bulkhead() {
    let stack = ServerStack::new("shared", 1);
    let (mut one, two) = (stack.layer(hanging()), stack.clone().layer(hanging()));
    let call = one.ready().await.unwrap().call(1);
    let error = two.clone().oneshot(2).await.unwrap_err();
    let reason = Reason::of(&*error).unwrap();
    let in_flight = 1;
    let (limit, queued) = (1, 0);
    let full = RejectionKind::BulkheadFull {
        limit,
        in_flight,
        queued,
    };
    assert_eq!(reason.kind(), full);
    drop(call);
    assert_eq!(stack.bulkhead().snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn to2_the_timeout_covers_the_wait_in_the_queue() {
    let stack = ServerStack::builder("queueing", 1)
        .timeout(ms(50))
        .bulkhead(|bulkhead| bulkhead.queue(1).max_wait(ms(50)))
        .build()
        .unwrap();
    let service = stack.layer(hanging());
    let _held = service.clone().ready().await.unwrap().call(1);
    let start = crate::time::now();
    service.oneshot(2).await.unwrap_err();
    assert_eq!(crate::time::now().since(start), ms(50));
}

// KY1
#[tokio::test]
async fn ky1_a_limit_per_key_is_checked_before_the_bulkhead() {
    let per_client = Keyed::<u32, RateLimiter>::limit(100, Quota::per_day(1)).unwrap();
    let stack =
        ServerStack::new("limited", 0).rate_limit(per_client.by(|client: &u32| Some(client)));
    let service = stack.layer(hanging());
    let kind = async |client: u32| {
        let error = service.clone().oneshot(client).await.unwrap_err();
        Reason::of(&*error).unwrap().kind()
    };
    assert!(matches!(kind(1).await, RejectionKind::BulkheadFull { .. }));
    assert_eq!(kind(1).await, RejectionKind::RateLimited);
    assert!(matches!(kind(2).await, RejectionKind::BulkheadFull { .. }));
    assert!(format!("{:?}", stack.limiter()).contains(&**per_client.name()));
}

#[tokio::test]
async fn one_responder_answers_the_rejections_of_every_part() {
    let config = ServerStack::builder("api", 0).rate_limit(Quota::per_day(1));
    let stack = config.build().unwrap().respond(|rejection: Rejection| {
        Err::<u32, BoxError>(format!("rejected by {}", rejection.policy()).into())
    });
    let service = stack.layer(hanging());
    let answer = async || service.clone().oneshot(1).await.unwrap_err().to_string();
    assert_eq!(answer().await, "rejected by api.bulkhead");
    assert_eq!(answer().await, "rejected by api.rate_limit");
}

#[test]
fn cx19_a_change_is_checked_as_a_whole_and_applies_the_parts_that_it_sets() {
    let config = ServerStack::builder("live", 9);
    let stack = config.build().unwrap();
    let settings = |stack: &ServerStack| format!("{stack:?} {:?}", stack.bulkhead().snapshot());
    let before = settings(&stack);
    let bad = stack.change(|now| {
        now.rate_limit(Quota::per_second(5))
            .timeout(ms(10))
            .bulkhead(|bulkhead| bulkhead.limit(3).queue(2))
    });
    assert_eq!(fields(&bad.unwrap_err()), ["bulkhead.max_wait"]);
    assert_eq!(settings(&stack), before);
    let good = stack.change(|now| {
        now.rate_limit(Quota::per_second(5))
            .timeout(ms(100))
            .bulkhead(|bulkhead| bulkhead.limit(3).queue(2).mode(Mode::RecordOnly))
    });
    good.unwrap();
    assert_eq!(stack.timeout().limit(), ms(100));
    let bulkhead = stack.bulkhead().snapshot();
    assert_eq!((bulkhead.limit, bulkhead.queue), (3, Some(2)));
    assert_eq!(bulkhead.mode, Mode::RecordOnly);
    assert_eq!(stack.limiter().quota(), Quota::per_second(5));
    assert_eq!(stack.limiter().mode(), Mode::Enforce);
    // Parts that a change does not set keep what their handles set.
    stack.bulkhead().set_limit(4).unwrap();
    stack.limiter().set_mode(Mode::RecordOnly);
    stack.change(|now| now.timeout(secs(1))).unwrap();
    stack
        .change(|now| now.rate_limit(Quota::per_second(6)))
        .unwrap();
    assert_eq!(stack.bulkhead().limit(), 4);
    assert_eq!(stack.limiter().mode(), Mode::RecordOnly);
    stack.change(|now| now.rate_limit(None)).unwrap();
    assert_eq!(stack.limiter().mode(), Mode::Off);
    let given = stack.rate_limit(RateLimiter::per_second(1));
    let bad = given.change(|now| now.rate_limit(Quota::per_second(5)));
    assert_eq!(fields(&bad.unwrap_err()), ["rate_limit"]);
    given.change(|now| now.timeout(secs(2))).unwrap();
}

#[test]
fn cx10_a_stack_and_its_service_can_be_named_and_sent() {
    #[derive(Clone, Debug)]
    struct Held<S> {
        _stack: ServerStack,
        _service: ServerService<S>,
    }
    fn is<T: Clone + Send + Sync + fmt::Debug + 'static>(_: &T) {}
    let stack = ServerStack::new("held", 1);
    let service: fn(u32) -> std::future::Ready<Result<u32, BoxError>> =
        |_| std::future::ready(Ok(7));
    let held = Held {
        _service: stack.layer(service_fn(service)),
        _stack: stack,
    };
    is(&held);
}
