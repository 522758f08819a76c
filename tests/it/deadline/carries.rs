//! The table of `seawall::guide::deadlines`, row by row. The other rows are in `deadline`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, FuturesUnordered, StreamExt};
use seawall::{
    Backoff, Deadline, Hedge, Mode, Pipeline, RateLimiter, RejectionKind, Retry, Timeout,
};
use tokio::task::{JoinSet, LocalSet};
use tower::BoxError;

use crate::support::{locked, ms, secs};

type Seen = Option<Duration>;

/// Runs `code` under a deadline of five seconds.
async fn under<T>(code: impl AsyncFnOnce() -> T) -> T {
    let total = Timeout::new(secs(5));
    let outcome = total.run(async || Ok::<_, BoxError>(code().await)).await;
    outcome.unwrap()
}

async fn look() -> Seen {
    Deadline::remaining()
}

const FIVE: Seen = Some(Duration::from_secs(5));

// TO7: join and select in one task.
#[tokio::test(start_paused = true)]
async fn to7_all_branches_of_one_task_have_the_deadline() {
    under(async || {
        assert_eq!(tokio::join!(look(), look()), (FIVE, FIVE));
        let selected = tokio::select! {
            seen = look() => seen,
            () = std::future::pending() => None,
        };
        assert_eq!(selected, FIVE);
        let branches: FuturesUnordered<_> = (0..3).map(|_| look()).collect();
        assert_eq!(branches.collect::<Vec<_>>().await, [FIVE; 3]);
        let buffered = stream::iter(0..3).map(|_| look()).buffer_unordered(2);
        assert_eq!(buffered.collect::<Vec<_>>().await, [FIVE; 3]);
        assert_eq!(look().boxed().await, FIVE);
    })
    .await;
}

// TO7: where it is polled, not where it was made.
#[tokio::test(start_paused = true)]
async fn to7_a_future_has_the_deadline_of_where_it_is_polled() {
    let outside = under(async || look()).await;
    assert_eq!(outside.await, None);
    let inside = look();
    assert_eq!(under(async || inside.await).await, FIVE);

    // Shared work has the deadline of its poller, the first one.
    let shared = async {
        let first = Deadline::remaining();
        tokio::time::sleep(ms(1)).await;
        first
    };
    let shared = shared.shared();
    let (first, second) = tokio::join!(under(async || shared.clone().await), shared.clone());
    assert_eq!((first, second), (FIVE, FIVE));
}

// TO7: all kinds of tasks.
#[tokio::test(start_paused = true)]
async fn to7_no_spawned_task_has_the_deadline_unless_it_is_carried() {
    under(async || {
        let deadline = Deadline::current().unwrap();
        let mut set = JoinSet::new();
        set.spawn(look());
        assert_eq!(set.join_next().await.unwrap().unwrap(), None);
        set.spawn(deadline.scope(look()));
        assert_eq!(set.join_next().await.unwrap().unwrap(), FIVE);

        let blocking = tokio::task::spawn_blocking(move || {
            let without = Deadline::remaining();
            (without, deadline.enter(Deadline::remaining))
        });
        assert_eq!(blocking.await.unwrap(), (None, FIVE));
    })
    .await;
}

// TO7: local tasks are polled by the task that runs their set.
#[tokio::test(start_paused = true)]
async fn to7_a_local_task_has_the_deadline_of_where_its_set_runs() {
    let spawned = || tokio::task::spawn_local(look());
    let outside = LocalSet::new();
    let inner = outside.run_until(under(async || {
        let deadline = Deadline::current().unwrap();
        let carried = tokio::task::spawn_local(deadline.scope(look()));
        (spawned().await.unwrap(), carried.await.unwrap())
    }));
    assert_eq!(inner.await, (None, FIVE));
    let inside = under(async || {
        LocalSet::new()
            .run_until(async { spawned().await.unwrap() })
            .await
    });
    assert_eq!(inside.await, FIVE);
}

// TO7: the thread stays the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn to7_block_in_place_has_the_deadline() {
    let seen = under(async || tokio::task::block_in_place(Deadline::remaining));
    assert!(seen.await.is_some());
    assert_eq!(tokio::task::block_in_place(Deadline::remaining), None);
}

// TO7: a message to a worker.
#[tokio::test(start_paused = true)]
async fn to7_a_message_has_the_deadline_only_if_it_carries_it() {
    type Work = (Option<Deadline>, tokio::sync::oneshot::Sender<(Seen, Seen)>);
    let (send, mut receive) = tokio::sync::mpsc::channel::<Work>(1);
    tokio::spawn(async move {
        while let Some((deadline, answer)) = receive.recv().await {
            let without = Deadline::remaining();
            let with = deadline.map(|deadline| deadline.scope(look()));
            let with = match with {
                Some(work) => work.await,
                None => look().await,
            };
            let _ = answer.send((without, with));
        }
    });
    under(async || {
        for (message, expected) in [(None, None), (Deadline::current(), FIVE)] {
            let (answer, seen) = tokio::sync::oneshot::channel();
            send.send((message, answer)).await.unwrap();
            assert_eq!(seen.await.unwrap(), (None, expected));
        }
    })
    .await;
}

// TO7: attempts have it, and a timer that is no policy sets none.
#[tokio::test(start_paused = true)]
async fn to7_every_attempt_has_the_deadline_and_a_bare_timer_sets_none() {
    under(async || {
        let seen = Mutex::new(Vec::new());
        let note = || locked(&seen).push(Deadline::remaining().is_some());
        let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
        let pipeline = Pipeline::new()
            .retry(retry.max_attempts(2).build().unwrap())
            .hedge(Hedge::fixed(ms(10)));
        let call = pipeline.run(|attempt| {
            note();
            async move {
                note();
                tokio::time::sleep(ms(100)).await;
                match attempt {
                    1 => Ok(attempt),
                    _ => Err(BoxError::from("the hedge fails")),
                }
            }
        });
        assert_eq!(call.await.unwrap(), 1);
        assert_eq!(*locked(&seen), [true; 4]);
    })
    .await;
    let bare = tokio::time::timeout(secs(5), look());
    assert_eq!(bare.await.unwrap(), None);
}

// TO7, CX16, CX19: a timeout that ends nothing sets no deadline.
#[tokio::test(start_paused = true)]
async fn to7_a_timeout_that_is_not_enforced_sets_none() {
    for mode in [Mode::RecordOnly, Mode::Off] {
        let short = Timeout::builder(secs(1)).mode(mode).build().unwrap();
        let run = async || short.run(async || Ok::<_, BoxError>(look().await)).await;
        assert_eq!(run().await.unwrap(), None);
        assert_eq!(under(run).await.unwrap(), FIVE);
    }
}

/// Reads the deadline when it is dropped.
struct AtDrop(Arc<Mutex<Vec<Seen>>>);

impl Drop for AtDrop {
    fn drop(&mut self) {
        locked(&self.0).push(Deadline::remaining());
    }
}

// TO7: in what a timeout drops, and in what ends by itself.
#[tokio::test(start_paused = true)]
async fn to7_a_destructor_sees_only_the_deadlines_above() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hang = async |seen: &Arc<Mutex<Vec<Seen>>>| {
        let _looks = AtDrop(Arc::clone(seen));
        std::future::pending::<Result<(), BoxError>>().await
    };
    let short = Timeout::new(secs(1));
    let cut = short.run(async || hang(&seen).await);
    let why = cut.await.unwrap_err().rejection().unwrap().kind();
    assert!(matches!(why, RejectionKind::TimedOut { .. }));
    assert_eq!(std::mem::take(&mut *locked(&seen)), [None]);

    under(async || {
        let cut = short.run(async || hang(&seen).await);
        assert!(cut.await.is_err());
    })
    .await;
    assert_eq!(*locked(&seen), [Some(secs(4))]);
}

// TO7: blocking code reserves before it sleeps, no later than the deadline it entered.
#[tokio::test(start_paused = true)]
async fn to7_an_entered_deadline_bounds_a_wait() {
    let limiter = RateLimiter::per_minute(60);
    while limiter.allow() {}
    let short = Deadline::after(ms(10));
    let rejected = short.enter(|| limiter.reserve().map(drop));
    assert_eq!(rejected.unwrap_err().kind(), RejectionKind::RateLimited);
    assert!(limiter.reserve().is_ok());
}

#[cfg(feature = "http")]
mod http {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::extract::{FromRequestParts, Request};
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use futures::stream;
    use http::request::Parts;
    use http_body_util::BodyExt;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use seawall::{Deadline, Error, TimeoutLayer};
    use tower::{ServiceBuilder, ServiceExt};

    use super::super::secs;
    use super::{FIVE, Seen};

    struct Looked(Seen);

    impl<S: Sync> FromRequestParts<S> for Looked {
        type Rejection = Infallible;

        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
            Ok(Self(Deadline::remaining()))
        }
    }

    fn text(seen: Seen) -> String {
        format!("{seen:?}")
    }

    async fn body_of(response: http::Response<Body>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    // TO7: everything in a server under the layer, up to the response head.
    #[tokio::test(start_paused = true)]
    async fn to7_extractors_handlers_and_middleware_have_the_deadline_and_a_body_has_none() {
        let handler = async |Looked(seen): Looked| {
            assert_eq!(seen, FIVE);
            assert_eq!(Deadline::remaining(), FIVE);
            // Made here, polled after the head.
            let late = stream::once(async {
                let seen = text(Deadline::remaining());
                Ok::<_, Infallible>(Bytes::from(seen))
            });
            Body::from_stream(late)
        };
        let carried = async || {
            let deadline = Deadline::current().unwrap();
            let late = deadline.scope(async { text(Deadline::remaining()) });
            let late = stream::once(async { Ok::<_, Infallible>(Bytes::from(late.await)) });
            Body::from_stream(late)
        };
        let middleware = from_fn(async |request: Request, next: Next| {
            assert_eq!(Deadline::remaining(), FIVE);
            next.run(request).await
        });
        let app = Router::new()
            .route("/", get(handler))
            .route("/carried", get(carried))
            .layer(middleware)
            .layer(TimeoutLayer::new(secs(5)));
        for (path, expected) in [("/", None), ("/carried", FIVE)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(body_of(response).await, text(expected));
        }
    }

    // TO7: a hop to another server in the same process.
    #[tokio::test]
    async fn to7_a_request_over_the_wire_has_no_deadline() {
        let app = Router::new().route("/", get(async || text(Deadline::remaining())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let client = ServiceBuilder::new()
            .layer(TimeoutLayer::new(secs(300)))
            .map_request(|request| {
                assert!(Deadline::remaining().is_some());
                request
            })
            .map_err(Error::service)
            .service(client);
        let request = Request::get(format!("http://{address}/")).body(Body::empty());
        let response = client.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(body_of(response.map(Body::new)).await, text(None));
    }
}
