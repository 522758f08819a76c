//! The first programs of a new user, after the README, against a faulty server: each must do the right
//! thing for a 404, a 503 with `Retry-After`, a hang, a truncated body, a refused connection and a POST.
//! That over a channel of tonic is in `grpc/newcomer.rs`.

mod calls;
mod faulty;
mod hyper;
mod reqwest;

use std::time::{Duration, Instant};

use seawall::circuit_breaker::State;
use seawall::http::HttpClientStack;

pub(crate) use faulty::{Fault, Faulty};

use crate::support::{ms, secs};

/// So that a hang takes 0.9 s instead of 9: the program is the same.
pub(crate) fn faster(stack: &HttpClientStack) {
    let change = stack.change(|now| now.attempt_timeout(ms(300)).total_timeout(secs(4)));
    change.unwrap();
}

/// A server, and what a call to it gave.
struct Seen<T> {
    server: Faulty,
    outcome: T,
    took: Duration,
}

async fn seen<T>(fault: Fault, call: impl AsyncFnOnce(String) -> T) -> Seen<T> {
    let server = Faulty::start(fault).await;
    let start = Instant::now();
    let outcome = crate::hosts::in_time(call(server.url())).await;
    let took = start.elapsed();
    Seen {
        server,
        outcome,
        took,
    }
}

impl<T> Seen<T> {
    fn breaker(&self, stack: &HttpClientStack) -> seawall::CircuitBreaker {
        stack.breakers().get(&*self.server.address.to_string())
    }

    #[track_caller]
    fn opened_nothing(&self, stack: &HttpClientStack) {
        assert_eq!(self.breaker(stack).state(), State::Closed);
    }
}

/// Failures in a row, by the first rule.
pub(crate) fn in_a_row(breaker: &seawall::CircuitBreaker) -> u32 {
    breaker.snapshot().rules[0].counts.consecutive
}
