//! What every layer promises, written once. A new policy joins with a `Policy`, its layer with a
//! line at `subjects!` in `policies.rs` and one at `layers!` here. `within.rs` has the layers whose
//! policy a key or a stack finds.

mod policies;
mod rejecting;
mod resending;
mod shared;
mod within;

use std::task::Poll;

use seawall::ConfigError;
use tower::layer::Layer;
use tower::util::{BoxCloneService, BoxCloneServiceLayer};
use tower::{BoxError, Service};

use self::policies::*;
use self::within::*;
use crate::support::{Do, Handle, Mock, Recorder, Strict, Task, poll_ready};

/// A policy in the terms of this suite. A call is rejected between `shut` and `reopen`, if it is
/// made `within`. A `Buffer` calls elsewhere, so `Do::Late` is rejected there by its content.
trait Policy: Clone + Send + Sync + 'static {
    type Handle: Handle;

    /// How often a call is made that fails each time.
    const ATTEMPTS: usize = 1;
    /// Whether `make_scarce` leaves capacity for one call in flight.
    const SCARCE: bool = true;
    /// Whether dropping a call returns what it took.
    const RETURNS: bool = true;
    /// The terminal events of a call that is answered, fails, is dropped, and panics.
    const ENDINGS: [&'static str; 4];

    fn handle(&self) -> &Self::Handle;
    /// A change that has to be rejected.
    fn change_badly(&self) -> ConfigError;
    /// All settings, as text.
    fn settings(&self) -> String;
    /// Everything that a call takes and returns, as text, after `calls` calls.
    fn balance(&self, calls: usize) -> String;

    fn shut(&self) {}
    fn reopen(&self) {}
    fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }
    /// Leaves capacity for exactly one call.
    fn make_scarce(&self) {}
}

/// A policy that sends calls again, and rejects none.
trait Resends: Policy {
    fn resent(&self) -> u64;
    /// Extra attempts that the budget suppressed.
    fn suppressed(&self) -> u64;
    /// Leaves the budget with this number of extra attempts.
    fn spend_to(&self, attempts: u32);
}

/// A layer of a policy.
trait Subject {
    type Policy: Policy;
    type Layer: Layer<Strict<Mock>, Service = Self::Service>;
    type Service: Inner;

    /// Whether a call is rejected while the policy is `shut`.
    const REJECTS: bool = Self::Policy::ATTEMPTS == 1;

    fn policy(name: &str) -> Self::Policy;
    fn layer(policy: &Self::Policy) -> Self::Layer;
}

trait Inner:
    Service<Do, Response = u32, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<S> Inner for S where
    S: Service<Do, Response = u32, Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// A policy, its service over a strict inner one (CX3), and what both do.
struct Case<S: Subject> {
    policy: S::Policy,
    mock: Mock,
    service: S::Service,
    events: Recorder,
}

impl<S: Subject> Case<S> {
    fn new(name: &str) -> Self {
        Self::over(name, Mock::new())
    }

    fn over(name: &str, mock: Mock) -> Self {
        let (policy, events) = (S::policy(name), Recorder::new());
        policy.handle().on_event(events.listener()).forever();
        Self {
            service: service::<S>(&policy, &mock),
            policy,
            mock,
            events,
        }
    }

    /// Readies the service and calls it.
    fn call(&mut self, what: Do) -> <S::Service as Service<Do>>::Future {
        call(&mut self.service, what)
    }

    fn run(&mut self, what: Do) -> Poll<Result<u32, BoxError>> {
        Task::new(self.call(what)).run()
    }

    #[track_caller]
    fn answers(&mut self) {
        answered(self.run(Do::Answer));
    }

    /// Makes a call that is rejected.
    fn rejected(&mut self) -> BoxError {
        rejected_by(&self.policy, &mut self.service)
    }

    fn balance(&self) -> String {
        self.policy.balance(self.mock.calls())
    }
}

fn service<S: Subject>(policy: &S::Policy, mock: &Mock) -> S::Service {
    S::layer(policy).layer(Strict::new(mock.clone()))
}

/// Two services of one layer, a clone of the second, and a service of another layer.
fn sharing<S: Subject>(case: &Case<S>) -> [S::Service; 4] {
    let layer = S::layer(&case.policy);
    let [one, two] = [(); 2].map(|()| layer.layer(Strict::new(case.mock.clone())));
    let clone = two.clone();
    [one, two, clone, case.service.clone()]
}

fn call<S: Inner>(service: &mut S, what: Do) -> S::Future {
    ready(poll_ready(service));
    service.call(what)
}

#[track_caller]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a result is consumed by its check"
)]
fn ready(poll: Poll<Result<(), BoxError>>) {
    assert!(matches!(poll, Poll::Ready(Ok(()))), "{poll:?}");
}

#[track_caller]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a result is consumed by its check"
)]
fn answered(outcome: Poll<Result<u32, BoxError>>) {
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
}

#[track_caller]
fn failed(outcome: Poll<Result<u32, BoxError>>) -> BoxError {
    match outcome {
        Poll::Ready(Err(error)) => error,
        other => panic!("{other:?} instead of an error"),
    }
}

fn rejected_by(policy: &impl Policy, service: &mut impl Inner) -> BoxError {
    policy.shut();
    let outcome = policy.within(|| {
        let mut task = Task::new(call(service, Do::Answer));
        let outcome = task.run();
        assert_eq!((task.polls(), task.wakes()), (1, 0));
        outcome
    });
    policy.reopen();
    failed(outcome)
}

/// A layer without its type.
type Boxed = BoxCloneServiceLayer<Strict<Mock>, Do, u32, BoxError>;
type BoxedService = BoxCloneService<Do, u32, BoxError>;

/// Tests of one layer, each a function of the same name.
macro_rules! tests {
    ($subject:ident: $($suite:ident::$test:ident)*) => {$(
        // CX1, CX3 to CX9, CX11, CX14 to CX16, CX18, CX19
        #[tokio::test]
        async fn $test() {
            super::$suite::$test::<super::$subject>().await;
        }
    )*};
}

macro_rules! shared {
    ($subject:ident) => {
        returning!($subject);
        tests! { $subject:
            shared::cx14_listeners_may_panic_and_use_the_policy
            shared::cx14_cx19_an_admission_ends_in_the_mode_it_started_in
            shared::cx15_cx19_a_bad_change_and_a_change_of_mode_leave_running_calls_alone
        }
    };
}

/// Of layers of several policies too.
macro_rules! returning {
    ($subject:ident) => {
        tests! { $subject:
            shared::cx3_a_strict_inner_service_is_called_only_when_ready
            shared::cx4_idle_clones_reserve_nothing
            shared::cx7_a_drop_at_any_await_point_returns_everything
            shared::cx8_a_panic_returns_everything
            shared::cx9_there_are_as_many_polls_as_events
            shared::cx11_it_is_made_and_answers_outside_a_runtime
            shared::cx14_each_admission_ends_in_one_terminal_event
        }
    };
}

macro_rules! rejecting {
    ($subject:ident) => {
        shared!($subject);
        tests! { $subject:
            rejecting::cx1_services_clones_and_layers_share_one_state
            rejecting::cx6_a_rejected_call_is_followed_by_a_working_one
            rejecting::cx16_record_only_emits_and_rejects_nothing
            rejecting::cx18_two_policies_of_one_name_stay_two
        }
    };
}

/// Of layers that reject without reading the request.
macro_rules! rejecting_early {
    ($subject:ident) => {
        rejecting!($subject);
        tests! { $subject:
            rejecting::cx5_it_rejects_over_a_stuck_inner_service_without_touching_it
            rejecting::cx6_a_rejection_of_readiness_holds_until_readiness_is_polled_again
        }
    };
}

macro_rules! resending {
    ($subject:ident) => {
        shared!($subject);
        tests! { $subject:
            resending::cx1_services_clones_and_layers_share_one_budget
            resending::cx6_a_failed_call_is_followed_by_a_working_one
            resending::cx16_record_only_emits_and_resends_nothing
            resending::cx18_two_policies_of_one_name_stay_two
        }
    };
}

macro_rules! layers {
    ($($module:ident: $suite:ident $subject:ident;)*) => {$(
        mod $module {
            $suite!($subject);
        }
    )*};
}

layers! {
    timeout: rejecting_early Timed;
    circuit_breaker: rejecting_early Broken;
    circuit_breaker_gated: shared Gated;
    circuit_breaker_keyed: rejecting KeyedBreaker;
    rate_limit: rejecting_early Limited;
    rate_limit_waiting: rejecting_early Waiting;
    rate_limit_keyed: returning KeyedLimiter;
    rate_limit_keyed_waiting: returning KeyedWaiting;
    bulkhead: rejecting_early Bounded;
    bulkhead_queued: rejecting_early Queued;
    bulkhead_keyed: rejecting KeyedBulkhead;
    bulkhead_keyed_queued: rejecting KeyedQueue;
    retry: resending Retrying;
    retry_with_a_budget_per_key: resending KeyedBudget;
    hedge: resending Hedging;
    hedge_keyed: resending KeyedHedge;
    fallback: shared FallingBack;
    fallback_to_a_service: shared FallingBackTo;
    client_stack: returning Client;
    server_stack: returning Server;
}

// CX17: the parent reads what a child of this test prints at its first use of a policy after an
// `advance`. A child, because it is printed once in a process.
#[cfg(all(not(feature = "test-util"), debug_assertions))]
#[tokio::test(start_paused = true)]
async fn cx17_without_the_feature_the_first_use_after_an_advance_says_which_line_to_add() {
    const ROLE: &str = "SEAWALL_TEST_ADVANCES";
    const NAME: &str =
        "contract::cx17_without_the_feature_the_first_use_after_an_advance_says_which_line_to_add";
    if let Ok(role) = std::env::var(ROLE) {
        let breaker = seawall::CircuitBreaker::new("child");
        breaker.state();
        if role == "yes" {
            tokio::time::advance(crate::support::secs(3_600)).await;
        }
        breaker.state();
        breaker.state();
        return;
    }
    let stderr_of = |role| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", NAME, "--nocapture"]).env(ROLE, role);
        let output = child.output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let printed = stderr_of("yes");
    let line = "seawall = { version = \"*\", features = [\"test-util\"] }";
    assert_eq!(printed.matches(line).count(), 1, "{printed}");
    assert_eq!(stderr_of("no").matches("seawall").count(), 0);
}
