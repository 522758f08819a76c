//! The policies that the running code is inside of, to detect one that is applied twice on one
//! path: on a router and on a router nested in it.
//!
//! Only in debug builds; in release builds every type here is empty. A thread-local of its own,
//! because [`CallContext`](super::CallContext) goes with a call to other tasks, and a path does not.

#[cfg(debug_assertions)]
use std::cell::Cell;
use std::fmt;
#[cfg(debug_assertions)]
use std::panic::Location;

/// The addresses of the policies. Deeper ones are not noted.
#[cfg(debug_assertions)]
type Path = [usize; 8];

#[cfg(debug_assertions)]
thread_local! {
    static PATH: Cell<Path> = const { Cell::new([0; 8]) };
}

/// Takes a policy off the path when it is dropped.
#[must_use]
pub(crate) struct Inside {
    #[cfg(debug_assertions)]
    before: Path,
}

impl Inside {
    /// The calls below are inside of this policy, which is known by the address of its state.
    #[inline(always)]
    pub(crate) fn enter<T>(policy: Option<&T>) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = policy;
        Self {
            #[cfg(debug_assertions)]
            before: PATH.with(|path| {
                let before = path.get();
                let mut after = before;
                if let (Some(policy), Some(free)) =
                    (policy, after.iter_mut().find(|entry| **entry == 0))
                {
                    *free = std::ptr::from_ref(policy).addr();
                }
                path.set(after);
                before
            }),
        }
    }

    /// Whether the running code is inside of this policy.
    #[cfg(debug_assertions)]
    pub(crate) fn of<T>(policy: &T) -> bool {
        PATH.with(|path| path.get().contains(&std::ptr::from_ref(policy).addr()))
    }
}

#[cfg(debug_assertions)]
impl Drop for Inside {
    fn drop(&mut self) {
        PATH.with(|path| path.set(self.before));
    }
}

/// Where in the program a layer was made.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    #[cfg(debug_assertions)]
    location: &'static Location<'static>,
}

/// The site of a call without a service, whose call site is not known in an async function.
pub(crate) const IN_RUN: fmt::Arguments<'static> = format_args!("`run`");

impl Site {
    /// The call site of the caller.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn caller() -> Self {
        Self {
            #[cfg(debug_assertions)]
            location: Location::caller(),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(debug_assertions)]
        return write!(f, "{}", self.location);
        #[cfg(not(debug_assertions))]
        f.write_str("..")
    }
}

#[cfg(all(
    test,
    debug_assertions,
    feature = "http",
    feature = "tower",
    feature = "tracing"
))]
mod tests {
    use std::future::Future;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use crate::event::lines_of;
    use crate::{
        Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Keyed, Mode, Retry,
        RetryLayer,
    };

    /// The warnings of a future.
    fn warnings_of(future: impl Future<Output = ()>) -> Vec<String> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let mut lines = lines_of(|| runtime.block_on(future));
        lines.retain(|line| line.starts_with("WARN"));
        lines
    }

    async fn status_of(app: &Router, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    }

    fn hello() -> Router {
        Router::new().route("/hello", get(|| async { "hello" }))
    }

    #[test]
    fn cx22_a_bulkhead_on_a_router_and_on_one_nested_in_it_is_warned_about_once() {
        let bulkhead = Bulkhead::builder(1).name("all routes").build().unwrap();
        let nested = hello().layer(BulkheadLayer::new(&bulkhead));
        let line = line!() - 1;
        let app = Router::new().nest("/api", nested);
        let app = app.layer(BulkheadLayer::new(&bulkhead));
        let warnings = warnings_of(async {
            for _ in 0..3 {
                let status = status_of(&app, "/api/hello").await;
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            }
        });
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        assert!(warning.contains("policy=all routes"), "{warning}");
        let site = format!("{}:{line}:", file!());
        assert!(warning.contains(&site), "{warning}");
    }

    #[test]
    fn cx22_a_breaker_and_a_queued_bulkhead_are_detected_too() {
        let breaker = CircuitBreaker::new("twice");
        let nested = hello().layer(CircuitBreakerLayer::new(&breaker));
        let app = Router::new().nest("/api", nested);
        let broken = app.layer(CircuitBreakerLayer::new(&breaker));
        let bulkhead = Bulkhead::builder(2).name("queued").build().unwrap();
        let nested = hello().layer(BulkheadLayer::queued(&bulkhead));
        let app = Router::new().nest("/api", nested);
        let queued = app.layer(BulkheadLayer::queued(&bulkhead));
        let warnings = warnings_of(async {
            assert_eq!(status_of(&broken, "/api/hello").await, StatusCode::OK);
            assert_eq!(status_of(&queued, "/api/hello").await, StatusCode::OK);
        });
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn cx22_a_run_inside_of_a_layer_over_the_same_policy_is_detected() {
        let bulkhead = Bulkhead::new(2);
        let inner = bulkhead.clone();
        let handler = move || async move {
            let answer = inner.run(|| async { Ok::<_, std::io::Error>("hello") });
            answer.await.unwrap()
        };
        let app = Router::new().route("/hello", get(handler));
        let app = app.layer(BulkheadLayer::new(&bulkhead));
        let warnings = warnings_of(async {
            assert_eq!(status_of(&app, "/hello").await, StatusCode::OK);
        });
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("`run`"), "{warnings:?}");
    }

    #[test]
    fn cx22_calls_in_sequence_or_side_by_side_are_no_false_alarm() {
        let outer = Bulkhead::new(9);
        let inner = Bulkhead::new(2);
        let handler = move || async move {
            let call = || {
                inner.run(|| async {
                    tokio::task::yield_now().await;
                    Ok::<_, std::io::Error>(())
                })
            };
            call().await.unwrap();
            call().await.unwrap();
            let (one, two) = tokio::join!(call(), call());
            one.and(two).unwrap();
            "hello"
        };
        let app = Router::new().route("/hello", get(handler));
        let app = app.layer(BulkheadLayer::new(&outer));
        let warnings = warnings_of(async {
            assert_eq!(status_of(&app, "/hello").await, StatusCode::OK);
        });
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn cx22_attempts_of_a_retry_are_no_false_alarm() {
        let breaker = CircuitBreaker::new("below");
        let retry = Retry::new(Backoff::constant(std::time::Duration::ZERO));
        let failing = |_: u32| async {
            tokio::task::yield_now().await;
            Err::<u32, _>(tower::BoxError::from("down"))
        };
        let service = tower::ServiceBuilder::new()
            .layer(RetryLayer::new(&retry))
            .layer(CircuitBreakerLayer::new(&breaker))
            .service(tower::service_fn(failing));
        let warnings = warnings_of(async {
            service.oneshot(1).await.unwrap_err();
        });
        assert_eq!(retry.snapshot().retried, 2);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn cx22_two_keys_and_policies_that_are_off_are_no_false_alarm() {
        let per_path = Keyed::new(9, |_: &str| Ok(Bulkhead::new(1))).unwrap();
        // The nested router sees the path without its prefix.
        let path = |request: &Request<Body>| Some(request.uri().path().to_owned());
        let by_path = || BulkheadLayer::new(per_path.by_value(path));
        let keyed = Router::new().nest("/api", hello().layer(by_path()));
        let keyed = keyed.layer(by_path());
        let none = |_: &Request<Body>| None::<String>;
        let skip = || BulkheadLayer::new(per_path.by_value(none).or_skip());
        let skipped = Router::new().nest("/api", hello().layer(skip()));
        let skipped = skipped.layer(skip());
        let off = Bulkhead::builder(1).mode(Mode::Off).build().unwrap();
        let switched_off = hello().layer(BulkheadLayer::new(&off));
        let switched_off = Router::new().nest("/api", switched_off);
        let switched_off = switched_off.layer(BulkheadLayer::new(&off));
        let breaker = CircuitBreaker::builder("off").mode(Mode::Off);
        let breaker = breaker.build().unwrap();
        let unbroken = hello().layer(CircuitBreakerLayer::new(&breaker));
        let unbroken = Router::new().nest("/api", unbroken);
        let unbroken = unbroken.layer(CircuitBreakerLayer::new(&breaker));
        let mut warnings = warnings_of(async {
            for app in [keyed, skipped, switched_off, unbroken] {
                assert_eq!(status_of(&app, "/api/hello").await, StatusCode::OK);
            }
        });
        // Requests without a key have a warning of their own.
        warnings.retain(|line| !line.contains("without a key"));
        assert_eq!(warnings, [""; 0]);
    }
}
