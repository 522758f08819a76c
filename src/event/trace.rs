//! Events as `tracing` events. The messages and fields are listed in [`crate::event`].

use tracing::{Level, debug, enabled, info, warn};

use super::EventKind;
use crate::circuit_breaker::{State, Transition};
use crate::config::Name;
use crate::rejection::Rejection;

#[inline]
pub(super) fn observes_rejections() -> bool {
    enabled!(target: "seawall", Level::DEBUG)
}

#[inline]
pub(super) fn emit(policy: &Name, kind: EventKind<'_>) {
    match kind {
        EventKind::Rejected(rejection) => rejected(policy, rejection),
        EventKind::WouldReject(rejection) => would_reject(policy, rejection),
        EventKind::Transition(transition) => changed_state(policy, transition),
        EventKind::ConstructionFailed(error) => {
            warn!(target: "seawall", %policy, %error, "policy of a key could not be constructed");
        }
        EventKind::Keyless { first: true } if cfg!(debug_assertions) => {
            warn!(target: "seawall", %policy, "call without a key: is it meant to have none?");
        }
        _ => {}
    }
}

#[cfg(debug_assertions)]
pub(crate) fn applied_twice(policy: &Name, site: &dyn std::fmt::Debug) {
    warn!(target: "seawall", %policy, ?site, "one policy applied twice on one path: a call under it comes to it again");
}

fn rejected(policy: &Name, rejection: &Rejection) {
    let (reason, retry_after) = (rejection.kind(), rejection.retry_after());
    debug!(target: "seawall", %policy, %reason, ?retry_after, "call rejected");
}

fn would_reject(policy: &Name, rejection: &Rejection) {
    let (reason, retry_after) = (rejection.kind(), rejection.retry_after());
    debug!(target: "seawall", %policy, %reason, ?retry_after, "call would be rejected");
}

fn changed_state(policy: &Name, transition: &Transition) {
    let Transition {
        from,
        to,
        cause,
        open_for,
        ..
    } = transition;
    match to {
        State::Open | State::ForcedOpen => {
            warn!(target: "seawall", %policy, %from, %to, ?cause, ?open_for, "circuit breaker opened");
        }
        _ => {
            info!(target: "seawall", %policy, %from, %to, ?cause, ?open_for, "circuit breaker changed state");
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
pub(crate) mod tests {
    use std::fmt::{Debug, Write};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use crate::sync::{Arc, Mutex};
    use crate::{Bulkhead, CircuitBreaker, Mode, RateLimiter};

    /// Keeps the level, the message and the fields of each event.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    struct Fields<'a>(&'a mut String);

    impl Visit for Fields<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = event.metadata().level().to_string();
            event.record(&mut Fields(&mut line));
            self.0.lock().push(line);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// What `calls` report to `tracing`, each with its level, message and fields.
    pub(crate) fn lines_of(calls: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), calls);
        let lines = log.0.lock();
        lines.clone()
    }

    #[test]
    fn a_breaker_reports_its_transitions_and_rejections() {
        let breaker = CircuitBreaker::new("payments");
        let lines = lines_of(|| {
            breaker.try_acquire().unwrap().success();
            breaker.force_open();
            breaker.try_acquire().unwrap_err();
            breaker.release();
        });
        assert_eq!(
            lines,
            [
                "WARN message=circuit breaker opened policy=payments from=closed to=forced open \
                 cause=ForcedOpen open_for=None",
                "DEBUG message=call rejected policy=payments reason=circuit breaker is open \
                 retry_after=None",
                "INFO message=circuit breaker changed state policy=payments from=forced open \
                 to=closed cause=Released open_for=None",
            ]
        );
    }

    #[test]
    fn admitted_calls_report_nothing_and_rejected_ones_once() {
        let limiter = RateLimiter::per_day(1);
        let bulkhead = Bulkhead::new(1);
        let lines = lines_of(|| {
            limiter.try_acquire().unwrap();
            limiter.try_acquire().unwrap_err();
            assert!(!limiter.allow());
            let permit = bulkhead.try_acquire().unwrap();
            bulkhead.try_acquire().unwrap_err();
            bulkhead.set_mode(Mode::RecordOnly);
            bulkhead.try_acquire().unwrap().release();
            permit.release();
        });
        let said: Vec<_> = lines
            .iter()
            .map(|line| line.split(" policy").next().unwrap())
            .collect();
        let rejected = "DEBUG message=call rejected";
        let would_be = "DEBUG message=call would be rejected";
        let expected = [rejected, rejected, rejected, would_be];
        assert_eq!(said, expected, "{lines:?}");
    }
}
