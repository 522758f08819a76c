//! The services behind the gateway. Each request is for one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::Request;
use seawall::stack::Addressed;
use seawall::{Bulkhead, CircuitBreaker};

use crate::policies::Client;
use crate::target::Target;

/// All of them. Clones share the turns.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Vec<One>,
    next: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct One {
    pub(crate) target: Target,
    /// None without protection.
    pub(crate) policies: Option<(CircuitBreaker, Bulkhead)>,
}

impl Upstreams {
    pub(crate) fn plain(targets: &[Target]) -> Self {
        Self::of(targets, |_| None)
    }

    pub(crate) fn protected(targets: &[Target], client: &Client) -> Self {
        Self::of(targets, |target| {
            // The stack finds them by the authority of a request.
            let uri = target.uri(&axum::http::Uri::from_static("/")).ok()?;
            let request = Request::get(uri).body(()).ok()?;
            let authority = request.authority()?;
            Some((
                client.breakers().get(&authority),
                client.bulkheads().get(&authority),
            ))
        })
    }

    fn of(
        targets: &[Target],
        policies: impl Fn(&Target) -> Option<(CircuitBreaker, Bulkhead)>,
    ) -> Self {
        let all = targets.iter().map(|target| One {
            target: target.clone(),
            policies: policies(target),
        });
        Self(Arc::new(Inner {
            all: all.collect(),
            next: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn all(&self) -> &[One] {
        &self.0.all
    }

    /// The next in turn whose breaker would admit a call. If none would, the next in turn: it
    /// rejects the call and says when to retry.
    pub(crate) fn pick(&self) -> &Target {
        let Inner { all, next } = &*self.0;
        let turn = match all.len() {
            1 => 0,
            many => next.fetch_add(1, Ordering::Relaxed) % many,
        };
        let (before, from) = all.split_at(turn);
        let mut in_turn = from.iter().chain(before);
        let admitted = in_turn.find(|one| one.would_admit());
        &admitted.unwrap_or(&all[turn]).target
    }
}

impl One {
    fn would_admit(&self) -> bool {
        let breaker = self.policies.as_ref().map(|(breaker, _)| breaker);
        breaker.is_none_or(|breaker| breaker.peek().is_ok())
    }
}
