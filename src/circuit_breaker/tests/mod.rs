#![allow(clippy::disallowed_methods)] // Tests may box.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::backoff::Backoff;
use crate::classify::{FailureKind, Outcome};
use crate::config::Mode;
use crate::event::{Ending, Event, EventKind};
use crate::rejection::{Error, Rejection, RejectionKind};
use crate::sync::{Arc, Mutex, Ordering};
use crate::testing::{Recorder, ms};
use crate::time;
use crate::{Deadline, Timeout};

mod calls;
mod defaults;
mod handle;
mod probes;
#[cfg(feature = "tower")]
mod service;
mod throttled;

const SECOND: Duration = Duration::from_secs(1);

fn constant(wait: Duration) -> Backoff {
    Backoff::constant(wait).jitter(crate::Jitter::None)
}

/// Opens with the first failure, for a second.
fn touchy() -> Builder {
    CircuitBreaker::builder("touchy")
        .trip_on(Trip::consecutive_failures(1))
        .open_for(constant(SECOND))
}

fn built(builder: Builder) -> CircuitBreaker {
    builder.build().unwrap()
}

fn fail(breaker: &CircuitBreaker) {
    breaker.try_acquire().unwrap().failure();
}

fn succeed(breaker: &CircuitBreaker) {
    breaker.try_acquire().unwrap().success();
}

/// Half-open, with no probe in flight.
async fn half_open(builder: Builder) -> CircuitBreaker {
    let breaker = built(builder);
    fail(&breaker);
    advance(SECOND).await;
    breaker.try_acquire().unwrap().ignore();
    assert_eq!(
        breaker.snapshot().probes.map(|probes| probes.in_flight),
        Some(0)
    );
    breaker
}

fn kind(breaker: &CircuitBreaker) -> RejectionKind {
    breaker.try_acquire().unwrap_err().kind()
}

/// Records the events of a breaker, in words.
fn events_of(breaker: &CircuitBreaker) -> Recorder {
    let events = Recorder::new();
    let words = |event: &Event<'_>| match event.kind {
        EventKind::Ended { ending, .. } => format!("{ending:?}"),
        EventKind::Rejected(_) => "Rejected".to_owned(),
        EventKind::WouldReject(_) => "WouldReject".to_owned(),
        EventKind::Transition(edge) => format!("{:?} to {:?}", edge.from, edge.to),
        other => format!("{other:?}"),
    };
    breaker.on_event(events.listener_with(words)).forever();
    events
}
