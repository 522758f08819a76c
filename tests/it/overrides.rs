//! What one call changes about its client stack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Request, Response};
use seawall::stack::{ClientConfig, Overrides};
use seawall::{Backoff, ClientStack, Mode};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::support::{ms, secs};

type Answer = Response<String>;

/// A service under a stack, before a server that fails, or hangs if the body says so.
struct Calls {
    service: BoxCloneSyncService<Request<String>, Answer, BoxError>,
    made: Arc<AtomicU32>,
}

impl Calls {
    fn under<L>(stack: impl FnOnce(Server) -> L) -> Self
    where
        L: tower::Service<Request<String>, Response = Answer, Error = BoxError>,
        L: Clone + Send + Sync + 'static,
        L::Future: Send,
    {
        let made = Arc::new(AtomicU32::new(0));
        let server = Server(Arc::clone(&made));
        let service = BoxCloneSyncService::new(stack(server));
        Self { service, made }
    }

    fn of(change: impl FnOnce(ClientConfig) -> ClientConfig) -> Self {
        let stack = change(ClientStack::builder("calls")).build().unwrap();
        Self::under(|server| stack.layer(server))
    }

    /// Whether it was answered, how many attempts there were, and how long it took.
    async fn call(&self, body: &str, overrides: Overrides) -> (bool, u32, Duration) {
        let request = Request::builder().extension(overrides);
        let request = request.body(body.to_owned()).unwrap();
        let start = Instant::now();
        let answer = self.service.clone().oneshot(request).await;
        let made = self.made.swap(0, Ordering::Relaxed);
        (answer.is_ok(), made, start.elapsed())
    }
}

#[derive(Clone)]
struct Server(Arc<AtomicU32>);

impl tower::Service<Request<String>> for Server {
    type Response = Answer;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if request.body() == "hang" {
                std::future::pending::<()>().await;
            }
            Ok(Response::builder().status(500).body(String::new())?)
        })
    }
}

/// Three attempts, and a hedge of one attempt that hangs.
fn both(now: ClientConfig) -> ClientConfig {
    now.attempt_timeout(secs(1))
        .breaker(|breaker| breaker.mode(Mode::Off))
        .retry(|retry| retry.backoff(Backoff::constant(ms(1))))
        .hedge(|hedge| hedge.delay(ms(100)))
}

#[tokio::test(start_paused = true)]
async fn to9_a_call_may_be_hedged_and_not_retried_and_the_other_way_round() {
    let calls = Calls::of(both);
    // The first attempt of three is hedged.
    assert_eq!(calls.call("hang", Overrides::new()).await.1, 4);
    let (_, made, took) = calls.call("hang", Overrides::new().no_retry()).await;
    assert_eq!((made, took), (2, ms(1_100)));
    assert_eq!(calls.call("hang", Overrides::new().no_hedge()).await.1, 3);
    assert_eq!(calls.call("hang", Overrides::new().once()).await.1, 1);
    let both = Overrides::new().no_retry().no_hedge();
    assert_eq!(calls.call("fail", both).await, (true, 1, ms(0)));
}

#[tokio::test(start_paused = true)]
async fn to9_a_call_is_sent_once_whatever_copies_it() {
    let stack = both(ClientStack::builder("copied")).build().unwrap();
    let stack = stack
        .only(|_: &Request<String>| true)
        .resend(|request: &Request<String>| Some(request.clone()));
    let calls = Calls::under(|server| stack.layer(server));
    assert_eq!(calls.call("hang", Overrides::new()).await.1, 4);
    assert_eq!(calls.call("hang", Overrides::new().once()).await.1, 1);
    assert_eq!(calls.call("hang", Overrides::new().no_retry()).await.1, 2);
}

#[tokio::test(start_paused = true)]
async fn to9_a_total_is_longer_than_that_of_the_stack_only_if_the_stack_allows_it() {
    let stack = ClientStack::builder("longer")
        .total_timeout(secs(5))
        .longest_total_timeout(secs(20))
        .attempt_timeout(secs(5));
    let stack = stack.build().unwrap();
    let calls = Calls::under(|server| stack.layer(server));
    let long = |total| {
        let own = Overrides::new().once().attempt_timeout(secs(60));
        own.total_timeout(total)
    };
    assert_eq!(calls.call("hang", long(secs(12))).await.2, secs(12));
    assert_eq!(calls.call("hang", long(secs(60))).await.2, secs(20));
    assert_eq!(calls.call("hang", long(secs(2))).await.2, secs(2));
    // The default stays.
    let default = Overrides::new().once().attempt_timeout(secs(60));
    assert_eq!(calls.call("hang", default).await.2, secs(5));

    // CX19: a change reaches it.
    stack
        .change(|now| now.longest_total_timeout(secs(8)))
        .unwrap();
    assert_eq!(calls.call("hang", long(secs(60))).await.2, secs(8));
    // CX15: below the total it would forbid what every call has.
    let bad = stack.change(|now| now.longest_total_timeout(secs(4)));
    let bad = bad.unwrap_err();
    assert_eq!(bad.problems()[0].field, "longest_total_timeout");
    // A caller's own deadline holds in any case.
    let deadline = seawall::Timeout::new(secs(3));
    let start = Instant::now();
    let call =
        deadline.run(|| async { Ok::<_, BoxError>(calls.call("hang", long(secs(60))).await) });
    let _ = call.await;
    assert_eq!(start.elapsed(), secs(3));
}

// TO9
#[tokio::test(start_paused = true)]
async fn to9_a_request_that_is_overridden_is_sent_once_and_not_for_longer_than_its_total() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let server = service_fn(move |request: Request<String>| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            if request.body() == "hang" {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::builder().status(500).body(String::new())?)
        }
    });
    let stack = ClientStack::builder("once").hedge(|hedge| hedge.delay(Duration::ZERO));
    let service = stack.build().unwrap().layer(server);
    let call = async |body: &str, overrides: Option<Overrides>| {
        let mut request = Request::new(body.to_owned());
        if let Some(overrides) = overrides {
            request.extensions_mut().insert(overrides);
        }
        let start = Instant::now();
        let answer = service.clone().oneshot(request).await;
        (
            answer.is_ok(),
            calls.swap(0, Ordering::Relaxed),
            start.elapsed(),
        )
    };
    let (_, sent, _) = call("fail", None).await;
    assert!(sent > 1);
    let (answered, sent, _) = call("fail", Some(Overrides::new().once())).await;
    assert_eq!((answered, sent), (true, 1));
    let short = Overrides::new().once().total_timeout(ms(300));
    assert_eq!(call("hang", Some(short)).await, (false, 1, ms(300)));
    let short = Overrides::new().once().attempt_timeout(ms(200));
    assert_eq!(call("hang", Some(short)).await, (false, 1, ms(200)));
    let long = Overrides::new()
        .total_timeout(ms(60_000))
        .attempt_timeout(ms(60_000))
        .once();
    assert_eq!(call("hang", Some(long)).await, (false, 1, ms(10_000)));
}
