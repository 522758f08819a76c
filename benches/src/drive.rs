//! Contenders that call a service.

use std::hint::black_box;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Runtime;
use tower::Service;

use crate::measure::Kind;
use crate::noop::serve;
use crate::report::Contender;

/// Calls the service one call at a time.
pub fn calls<S>(runtime: &Rc<Runtime>, kind: Kind, name: &'static str, service: S) -> Contender
where
    S: Service<u32, Response = u32> + 'static,
{
    Contender::alone(kind, name, serve(runtime, service))
}

/// Makes `at_once` calls at once, again and again.
pub fn concurrent<S>(
    runtime: &Rc<Runtime>,
    kind: Kind,
    name: &'static str,
    at_once: u64,
    mut service: S,
) -> Contender
where
    S: Service<u32, Response = u32> + 'static,
{
    let runtime = runtime.clone();
    Contender::alone(kind, name, move |n| {
        runtime.block_on(tokio::task::coop::unconstrained(async {
            let mut answered = 0;
            for _ in 0..n {
                let mut calls = FuturesUnordered::new();
                for _ in 0..at_once {
                    if std::future::poll_fn(|cx| service.poll_ready(cx))
                        .await
                        .is_ok()
                    {
                        calls.push(service.call(black_box(7)));
                    }
                }
                let mut all = true;
                while let Some(outcome) = calls.next().await {
                    all &= outcome.is_ok();
                }
                answered += u64::from(all);
            }
            answered
        }))
    })
}
