//! How a rejection enters an outcome, and how it is found there.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use seawall::{
    CircuitBreaker, CircuitBreakerLayer, Deadline, Error, Reason, Rejection, RejectionKind,
    Timeout, TimeoutLayer,
};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Do, Mock, Recorder, Task, ms, reason, secs};

/// A user's own error.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("not found")]
    NotFound,
    #[error(transparent)]
    Io(#[from] io::Error),
}

seawall::carrier!(ApiError::Rejected);

/// Another crate's error, about a rejection that it received.
#[derive(Debug, thiserror::Error)]
#[error("the upstream failed")]
struct Foreign<E: StdError + 'static>(#[source] E);

fn rejection() -> Rejection {
    Rejection::new(RejectionKind::RateLimited, "per caller").with_retry_after(ms(1_500))
}

/// An open breaker, and the rejection of a call through it.
fn open() -> (CircuitBreaker, Reason) {
    let breaker = CircuitBreaker::new("payments");
    breaker.force_open();
    let reason = breaker.try_acquire().unwrap_err().into_reason();
    assert_eq!(
        (reason.kind(), &**reason.policy()),
        (RejectionKind::CircuitOpen, "payments")
    );
    (breaker, reason)
}

#[test]
fn cx12_a_rejection_is_found_in_every_carrier() {
    let expected = rejection().into_reason();
    let found = |error: &(dyn StdError + 'static)| {
        assert_eq!(Reason::of(error), Some(&expected), "{error:?}");
        assert_eq!(Reason::find(error), Some(&expected), "{error:?}");
        let said = "per caller: rate limit exceeded; retry after 1.5s";
        assert_eq!(error.to_string(), said);
    };
    assert_eq!(Reason::of(&expected), Some(&expected));
    found(&rejection());
    found(&*BoxError::from(rejection()));
    found(&*Box::<dyn StdError>::from(rejection()));
    found(&io::Error::other(rejection()));
    found(&ApiError::from(rejection()));
    found(&Error::<io::Error>::from(rejection()));
    found(&Error::Service(io::Error::other(rejection())));

    // Any number of carriers around each other.
    let mut error = io::Error::other(ApiError::Rejected(rejection()));
    for _ in 0..10 {
        error = io::Error::other(Error::Service(ApiError::Io(io::Error::other(error))));
        found(&error);
    }
    found(&*BoxError::from(error));
}

#[test]
fn cx12_below_a_foreign_error_a_rejection_is_not_ours_but_is_found() {
    let expected = rejection().into_reason();
    let foreign: [BoxError; 4] = [
        Foreign(rejection()).into(),
        Foreign(io::Error::other(rejection())).into(),
        Foreign(ApiError::Rejected(rejection())).into(),
        io::Error::other(Foreign(rejection())).into(),
    ];
    for error in foreign {
        assert_eq!(Reason::of(&*error), None, "{error:?}");
        assert_eq!(Reason::find(&*error), Some(&expected), "{error:?}");
    }
    let other = BoxError::from("nothing of ours");
    assert_eq!((Reason::of(&*other), Reason::find(&*other)), (None, None));
}

#[test]
fn cx12_source_reaches_the_inner_error() {
    let inner = || io::Error::new(io::ErrorKind::ConnectionRefused, "no");
    let error = Error::service(inner());
    let source = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    assert_eq!(source.unwrap().kind(), io::ErrorKind::ConnectionRefused);
    let error: Error<Error<io::Error>> = Error::Service(Error::Service(inner()));
    let source = error.source().and_then(StdError::source).unwrap();
    assert!(source.is::<io::Error>());
    let source = error.into_service().unwrap().into_service().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

// CX12: each kind of error, rejected by a layer, and through the wrappers of tower.
#[tokio::test]
async fn cx12_every_kind_of_error_carries_a_rejection_through_towers_wrappers() {
    let (breaker, expected) = open();
    let layer = CircuitBreakerLayer::new(&breaker);

    let boxed = layer.layer(Mock::new());
    let error = boxed.clone().oneshot(Do::Answer).await.unwrap_err();
    assert_eq!(reason(&error), expected);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(5)))
        .buffer(4)
        .layer(TimeoutLayer::new(secs(5)))
        .map_err(BoxError::from)
        .map_err(io::Error::other)
        .service(BoxCloneService::new(boxed));
    let shared = |error: BoxError| BoxError::from(Arc::new(io::Error::other(error)));
    let service = BoxCloneService::new(service).map_err(shared);
    let service = tower::limit::ConcurrencyLimit::new(service, 1);
    let error = service.oneshot(Do::Answer).await.unwrap_err();
    // An `Arc` forwards the source of its value.
    assert_eq!(reason(&error), expected);

    let own = layer.layer(service_fn(async |()| Err::<(), _>(ApiError::NotFound)));
    let error = own.clone().oneshot(()).await.unwrap_err();
    assert!(matches!(error, ApiError::Rejected(_)));
    let mut buffer = tower::buffer::Buffer::new(own, 4);
    let error = buffer.ready().await.unwrap().call(()).await.unwrap_err();
    assert_eq!(reason(&error), expected);
    assert!(matches!(error.downcast_ref(), Some(ApiError::Rejected(_))));

    // A foreign error type, wrapped once at the bottom.
    let foreign = service_fn(async |()| Err::<(), _>(std::fmt::Error));
    let wrapped = ServiceBuilder::new().layer(layer).map_err(Error::service);
    let error = wrapped.service(foreign).oneshot(()).await.unwrap_err();
    assert_eq!(error.rejection().map(Rejection::reason), Some(&expected));
    assert_eq!(reason(&error.into()), expected);
}

#[test]
fn cx12_a_failure_of_the_service_is_unchanged() {
    let layer = TimeoutLayer::new(secs(5));
    let foreign = service_fn(async |()| Err::<(), _>(std::fmt::Error));
    let stack = ServiceBuilder::new().layer(layer).map_err(Error::service);
    let Poll::Ready(Err(error)) = Task::new(stack.service(foreign).call(())).run() else {
        panic!("it fails at once");
    };
    assert_eq!(error, Error::Service(std::fmt::Error));
    assert!(error.source().unwrap().is::<std::fmt::Error>());
}

// CX20: what a report prints of an error and its sources.
#[test]
fn cx20_no_text_of_a_report_is_repeated() {
    let texts = |error: anyhow::Error| format!("{error:#}");
    let rejected = "per caller: rate limit exceeded; retry after 1.5s: call was not made";
    assert_eq!(texts(rejection().into()), rejected);
    assert_eq!(texts(ApiError::Rejected(rejection()).into()), rejected);
    assert_eq!(
        texts(Error::<io::Error>::from(rejection()).into()),
        rejected
    );
    let nested = Error::Service(Error::<io::Error>::from(rejection()));
    assert_eq!(texts(nested.into()), rejected);
    assert_eq!(
        texts(Error::Service(io::Error::other("down")).into()),
        "call failed: down"
    );
    let foreign = Error::Service(Foreign(io::Error::other("down")));
    assert_eq!(
        texts(foreign.into()),
        "call failed: the upstream failed: down"
    );
    // By itself it prints its causes too.
    let own = |error: Error<Foreign<io::Error>>| format!("{error:#}");
    let foreign = Foreign(io::Error::other("down"));
    assert_eq!(
        own(Error::Service(foreign)),
        "call failed: the upstream failed: down"
    );
    assert_eq!(
        own(Error::from(rejection())),
        "per caller: rate limit exceeded; retry after 1.5s"
    );
    let (limit, elapsed) = (secs(1), secs(2));
    let cut_short = Rejection::new(RejectionKind::TimedOut { limit, elapsed }, "total");
    let timed_out = "total: timed out after 2s (limit 1s): call was cut short";
    assert_eq!(texts(cut_short.into()), timed_out);
    let report = eyre::Report::from(Error::Service(io::Error::other("down")));
    assert_eq!(format!("{report:#}"), "call failed: down");
}

// CX21
#[test]
fn cx21_an_error_of_a_run_turns_into_any_error_in_one_call() {
    #[derive(Debug, thiserror::Error)]
    enum AppError {
        #[error("query failed")]
        Query(#[from] io::Error),
        #[error(transparent)]
        Rejected(#[from] Rejection),
    }
    seawall::carrier!(AppError, Rejected);
    let (breaker, reason) = open();
    let closed = CircuitBreaker::new("closed");
    let query = |breaker: &CircuitBreaker| {
        breaker.run_blocking(|| Err::<(), _>(io::Error::other("no such table")))
    };
    let boxed = |breaker: &CircuitBreaker| {
        breaker.run_blocking(|| Err::<(), BoxError>("no such table".into()))
    };
    let own = |breaker| -> Result<(), AppError> {
        query(breaker).map_err(Error::into_error::<AppError>)?;
        Ok(())
    };
    assert!(matches!(own(&closed), Err(AppError::Query(_))));
    assert!(matches!(own(&breaker), Err(AppError::Rejected(r)) if *r == reason));

    // With `carrier!`, `?` does it.
    let carried = |breaker| -> Result<(), AppError> { Ok(query(breaker)?) };
    assert!(matches!(carried(&closed), Err(AppError::Query(_))));
    assert!(matches!(carried(&breaker), Err(AppError::Rejected(r)) if *r == reason));

    // `?` into reports and boxes, by itself where the error is a `std::error::Error`.
    let report = |breaker| -> anyhow::Result<()> { Ok(query(breaker)?) };
    assert!(
        report(&closed)
            .unwrap_err()
            .downcast_ref::<Error<io::Error>>()
            .is_some()
    );
    assert_eq!(
        Reason::of(report(&breaker).unwrap_err().as_ref()),
        Some(&reason)
    );
    let report = |breaker| -> eyre::Result<()> { Ok(query(breaker)?) };
    assert_eq!(
        Reason::of(report(&breaker).unwrap_err().as_ref()),
        Some(&reason)
    );
    let from_box = |breaker| -> Result<(), BoxError> {
        query(breaker)?;
        boxed(breaker).map_err(Error::into_error::<BoxError>)?;
        Ok(())
    };
    assert_eq!(Reason::of(&*from_box(&breaker).unwrap_err()), Some(&reason));
    let report = |breaker| -> anyhow::Result<()> {
        let inside = |breaker: &CircuitBreaker| {
            breaker
                .run_blocking(|| anyhow::Ok(()))
                .map_err(Error::into_error::<anyhow::Error>)
        };
        inside(breaker)
    };
    assert!(report(&closed).is_ok());
    assert_eq!(
        Reason::of(report(&breaker).unwrap_err().as_ref()),
        Some(&reason)
    );
}

// CX12: our own rejections say nothing about a service's health, except for a call that timed out.
#[test]
fn cx12_a_breaker_counts_failures_and_no_rejections() {
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("judging").on_event(recorder.listener());
    let breaker = breaker.build().unwrap();
    let make = service_fn(|make: fn() -> BoxError| std::future::ready(Err::<(), _>(make())));
    let mut service = CircuitBreakerLayer::new(&breaker).layer(make);
    let timed_out = || {
        let (limit, elapsed) = (secs(1), secs(1));
        Rejection::new(RejectionKind::TimedOut { limit, elapsed }, "attempt")
    };
    type Make = fn() -> BoxError;
    let cases: [(Make, &str); 9] = [
        (|| "broken".into(), "Failure(Error)"),
        (|| rejection().into(), "Ignored"),
        (|| io::Error::other(rejection()).into(), "Ignored"),
        (|| ApiError::Rejected(rejection()).into(), "Ignored"),
        (
            || Rejection::new(RejectionKind::Expired, "total").into(),
            "Ignored",
        ),
        (
            || Rejection::new(RejectionKind::CircuitOpen, "below").into(),
            "Ignored",
        ),
        (|| Foreign(rejection()).into(), "Ignored"),
        (|| Foreign(io::Error::other(rejection())).into(), "Ignored"),
        (
            || {
                let (limit, elapsed) = (secs(1), secs(1));
                Rejection::new(RejectionKind::TimedOut { limit, elapsed }, "attempt").into()
            },
            "Failure(Timeout)",
        ),
    ];
    for (make, ending) in cases {
        assert!(Task::new(service.call(make)).run().is_ready());
        assert_eq!(recorder.endings(), [ending], "{:?}", make());
    }

    // A user's enum, and `run` with errors that are no `std::error::Error`.
    let own = service_fn(|own: ApiError| std::future::ready(Err::<(), _>(own)));
    let mut service = CircuitBreakerLayer::new(&breaker).layer(own);
    for (error, ending) in [
        (ApiError::Rejected(timed_out()), "Failure(Timeout)"),
        (ApiError::Rejected(rejection()), "Ignored"),
        (ApiError::NotFound, "Failure(Error)"),
    ] {
        assert!(Task::new(service.call(error)).run().is_ready());
        assert_eq!(recorder.endings(), [ending]);
    }
    for (error, ending) in [
        (BoxError::from(rejection()), "Ignored"),
        (BoxError::from("broken"), "Failure(Error)"),
    ] {
        let run = breaker.run(|| std::future::ready(Err::<(), _>(error)));
        assert!(Task::new(run).run().is_ready());
        assert_eq!(recorder.endings(), [ending]);
    }
    let run = breaker.run(|| std::future::ready(Err::<(), _>("text")));
    assert!(Task::new(run).run().is_ready());
    assert_eq!(recorder.endings(), ["Failure(Error)"]);
    let nested = breaker.run(|| breaker.run(|| std::future::ready(Err::<(), _>("text"))));
    assert!(Task::new(nested).run().is_ready());
    assert_eq!(recorder.endings(), ["Failure(Error)", "Failure(Error)"]);
}

// CX18
#[test]
fn cx18_a_rejection_can_be_made_in_a_test_and_read() {
    let rejection = rejection();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    assert_eq!(rejection.policy().as_str(), "per caller");
    assert_eq!(rejection.retry_after(), Some(ms(1_500)));
    assert_eq!(rejection.clone().with_retry_after(None).retry_after(), None);
    let debug = format!("{rejection:?}");
    assert!(
        debug.contains("RateLimited") && debug.contains("per caller"),
        "{debug}"
    );
}

// CX12
#[test]
fn cx12_a_closure_makes_any_error_or_response_of_a_rejection() {
    #[derive(Debug, PartialEq)]
    struct Bare(&'static str);
    let bare = service_fn(async |()| Err::<u32, _>(Bare("inner")));
    let layer = TimeoutLayer::new(Timeout::new(secs(1)));
    let mut service = layer.clone().respond(|_| Err(Bare("rejected"))).layer(bare);
    let expired = |service: &mut dyn FnMut() -> Poll<Result<u32, Bare>>| {
        Deadline::after(secs(0)).enter(service)
    };
    let rejected = expired(&mut || Task::new(service.call(())).run());
    assert_eq!(rejected, Poll::Ready(Err(Bare("rejected"))));
    let mut service = layer.respond(|_| Ok(429)).layer(bare);
    let rejected = expired(&mut || Task::new(service.call(())).run());
    assert_eq!(rejected, Poll::Ready(Ok(429)));
}
