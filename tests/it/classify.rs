//! One classifier for every policy that judges.

use std::io;
use std::task::Poll;

use seawall::attempts::{Idempotent, Resend};
use seawall::classify::{Answer, Classify, ErrorsBy, ErrorsOnly, FailureKind, Standard};
use seawall::{CircuitBreaker, CircuitBreakerLayer, Outcome, Rejection, RejectionKind};
use tower::{Layer, Service, service_fn};

use crate::support::{Recorder, Task, secs};

#[derive(Clone, Debug, PartialEq)]
struct Reply {
    busy: bool,
}

seawall::judge!(Reply, |reply| match reply.busy {
    true => Outcome::Failure {
        kind: FailureKind::Throttled,
        retry_after: Some(secs(2))
    },
    false => Outcome::Success,
});
seawall::resend!(Reply, |reply| !reply.busy);

#[derive(Clone)]
struct Row;

seawall::judge!(Row);
seawall::resend!(Row);

/// Another crate's type, without a `Judge`.
struct Foreign;

const BUSY: Reply = Reply { busy: true };
const FINE: Reply = Reply { busy: false };

#[test]
fn a_users_type_is_judged_after_one_line() {
    assert_eq!(FINE.judge(), Outcome::Success);
    assert_eq!(
        BUSY.judge(),
        Outcome::Failure {
            kind: FailureKind::Throttled,
            retry_after: Some(secs(2))
        }
    );
    assert!(FINE.is_idempotent() && !BUSY.is_idempotent());
    assert_eq!(BUSY.copy(), Some(BUSY));
    assert_eq!(Row.judge(), Outcome::Success);
    assert!(Row.is_idempotent() && Row.copy().is_some());
    // Text, numbers and unit are successes.
    assert_eq!(
        ("text".judge(), 500_u16.judge()),
        (Outcome::Success, Outcome::Success)
    );
    assert!("text".is_idempotent() && ().is_idempotent());
    assert_eq!(String::from("text").copy().as_deref(), Some("text"));
    // They cannot carry a mark.
    let mut text = "text";
    text.mark(Rejection::new(RejectionKind::RateLimited, "mark").into_reason());
    assert_eq!(text.reason(), None);
}

#[test]
fn classifiers_see_responses_errors_or_both() {
    let failure = Outcome::Failure {
        kind: FailureKind::Error,
        retry_after: None,
    };
    let error = io::Error::new(io::ErrorKind::NotFound, "none");
    assert_eq!(Standard.classify(Err::<&Reply, _>(&error)), failure);
    let throttled = Outcome::Failure {
        kind: FailureKind::Throttled,
        retry_after: Some(secs(2)),
    };
    assert_eq!(Standard.classify(Ok::<_, &io::Error>(&BUSY)), throttled);
    assert_eq!(ErrorsOnly.classify(Err::<&Foreign, _>(&error)), failure);
    assert_eq!(
        ErrorsOnly.classify(Ok::<_, &io::Error>(&Foreign)),
        Outcome::Success
    );
    let by_kind = ErrorsBy(|error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Outcome::Ignore,
        _ => Outcome::Failure {
            kind: FailureKind::Permanent,
            retry_after: None,
        },
    });
    assert_eq!(
        by_kind.classify(Err::<&Foreign, _>(&error)),
        Outcome::Ignore
    );
    assert_eq!(by_kind.classify(Ok(&Foreign)), Outcome::Success);
}

#[test]
fn a_layer_judges_by_its_classifier() {
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("judging").on_event(recorder.listener());
    let breaker = breaker.build().unwrap();
    let layer = CircuitBreakerLayer::new(&breaker);
    let reply = service_fn(|reply: Reply| std::future::ready(Ok::<_, io::Error>(reply)));
    let call = |service: &mut dyn FnMut(Reply) -> Poll<Result<Reply, io::Error>>| {
        let endings = |reply| {
            assert!(service(reply).is_ready());
            recorder.endings().pop().unwrap()
        };
        [FINE, BUSY].map(endings)
    };

    let mut service = layer.layer(reply);
    let endings = call(&mut |reply| Task::new(service.call(reply)).run());
    assert_eq!(endings, ["Success", "Failure(Throttled)"]);
    let mut service = layer.clone().classify(ErrorsOnly).layer(reply);
    let endings = call(&mut |reply| Task::new(service.call(reply)).run());
    assert_eq!(endings, ["Success", "Success"]);
    let upside_down = |outcome: Result<&Reply, &io::Error>| match outcome {
        Ok(reply) if reply.busy => Outcome::Success,
        Ok(_) => Outcome::Ignore,
        Err(_) => Outcome::Failure {
            kind: FailureKind::Error,
            retry_after: None,
        },
    };
    let mut service = layer.clone().classify(upside_down).layer(reply);
    let endings = call(&mut |reply| Task::new(service.call(reply)).run());
    assert_eq!(endings, ["Ignored", "Success"]);

    // A rejection from below never reaches it.
    let below = CircuitBreaker::new("below");
    below.force_open();
    let never = |_: Result<&Reply, &io::Error>| -> Outcome { panic!("called for a rejection") };
    let mut service = layer
        .classify(never)
        .layer(CircuitBreakerLayer::new(&below).layer(reply));
    let endings = call(&mut |reply| Task::new(service.call(reply)).run());
    assert_eq!(endings, ["Ignored", "Ignored"]);
}

// CB20, CX12: as in `redis::RedisError`, whose source is the `Arc` itself.
#[test]
fn cb20_an_error_in_an_arc_is_known_by_what_is_inside() {
    #[derive(Debug, thiserror::Error)]
    #[error("command failed")]
    struct Shared<E: std::error::Error + ?Sized + 'static>(#[source] std::sync::Arc<E>);

    let unsent = Outcome::failure(FailureKind::Unsent);
    let cannot_connect = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let erased =
        Shared::<dyn std::error::Error + Send + Sync>(std::sync::Arc::new(cannot_connect()));
    assert_eq!(seawall::classify::by_source(&erased), unsent);
    let shared = Shared(std::sync::Arc::new(cannot_connect()));
    assert_eq!(seawall::classify::by_source(&shared), unsent);

    let rejection = Rejection::new(RejectionKind::CircuitOpen, "below");
    let reason = rejection.reason().clone();
    let erased = Shared::<dyn std::error::Error + Send + Sync>(std::sync::Arc::new(rejection));
    assert_eq!(seawall::Reason::find(&erased), Some(&reason));
}
