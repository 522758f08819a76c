//! The first program of a new user over a channel of tonic: see `newcomers`. What is faulty is not a
//! server of gRPC but what stands before it, and answers in plain HTTP.

use std::time::{Duration, Instant};

use seawall::circuit_breaker::State;
use seawall::{ClientStack, Reason, RejectionKind};
use tonic::{Code, Status};

use super::support::*;
use crate::newcomers::{Fault, Faulty, in_a_row};
use crate::support::{ms, secs};

struct Seen {
    outcome: Result<String, Status>,
    calls: usize,
    took: Duration,
    retried: u64,
    state: State,
    /// Failures in a row.
    failures: u32,
}

/// `get` was named as idempotent, `put` was not.
async fn call(fault: Fault, get: bool) -> Seen {
    let server = Faulty::start(fault).await;
    let stack = ClientStack::grpc("orders").idempotent([GET]);
    let mut orders = OrdersClient::new(stack.channel(endpoint(server.address).connect_lazy()));
    // So that a hang takes 0.9 s instead of 9: the program is the same.
    let change = stack.change(|now| now.attempt_timeout(ms(300)).total_timeout(secs(4)));
    change.unwrap();
    let start = Instant::now();
    let text = "7".to_owned();
    let outcome = match get {
        true => orders.get(text).await,
        false => orders.put(text).await,
    };
    let breaker = stack.breakers().get("service 1");
    Seen {
        outcome,
        calls: server.calls(),
        took: start.elapsed(),
        retried: stack.retry().snapshot().retried,
        state: breaker.state(),
        failures: in_a_row(&breaker),
    }
}

fn code(seen: &Seen) -> Code {
    seen.outcome.as_ref().unwrap_err().code()
}

#[tokio::test]
async fn rn4_the_first_program_over_a_channel_is_right() {
    let found = call(Fault::None, true).await;
    assert_eq!(found.outcome.unwrap(), "hello");

    // The status is that of tonic alone. Sent once. To gRPC a 404 is UNIMPLEMENTED, a permanent failure
    // of the server (GR1).
    let missing = call(Fault::Missing, true).await;
    let server = Faulty::start(Fault::Missing).await;
    let mut plain = OrdersClient::new(endpoint(server.address).connect_lazy());
    let status = plain.get("7".to_owned()).await.unwrap_err();
    assert_eq!((code(&missing), missing.calls), (status.code(), 1));
    assert_eq!((missing.state, missing.failures), (State::Closed, 1));

    let busy = call(Fault::BusyOnce, true).await;
    assert_eq!(busy.outcome.unwrap(), "hello");
    assert_eq!(busy.calls, 2);
    assert!(busy.took >= secs(1), "{:?}", busy.took);

    let hung = call(Fault::Hang, true).await;
    assert_eq!((code(&hung), hung.calls), (Code::DeadlineExceeded, 3));
    let status = hung.outcome.unwrap_err();
    let reason = Reason::find(&status).unwrap();
    assert!(matches!(reason.kind(), RejectionKind::TimedOut { .. }));

    // A named method is read whole within its attempt, and is sent again.
    let cut = call(Fault::CutOnce, true).await;
    assert_eq!(cut.outcome.unwrap(), "hello");
    assert_eq!(cut.calls, 2);

    let unreachable = call(Fault::Unreachable, true).await;
    assert_eq!(
        (code(&unreachable), unreachable.retried),
        (Code::Unavailable, 2)
    );

    // A method that was not named may have had its effect.
    let failed = call(Fault::Error, false).await;
    assert_eq!((failed.outcome.is_err(), failed.calls), (true, 1));
    assert_eq!(failed.failures, 1);
    let hung = call(Fault::Hang, false).await;
    assert_eq!((code(&hung), hung.calls), (Code::DeadlineExceeded, 1));
    let cut = call(Fault::CutOnce, false).await;
    assert_eq!((cut.outcome.is_err(), cut.calls), (true, 1));
    assert_eq!(cut.failures, 1);
    // Unless nothing was done.
    let busy = call(Fault::BusyOnce, false).await;
    assert_eq!((busy.outcome.is_ok(), busy.calls), (true, 2));
    let unreachable = call(Fault::Unreachable, false).await;
    assert_eq!(
        (code(&unreachable), unreachable.retried),
        (Code::Unavailable, 2)
    );
}
