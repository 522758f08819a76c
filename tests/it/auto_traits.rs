//! The auto traits of the public types, and unusual inner services.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use seawall::attempts::{Again, ByRequest, CopyBy, OnlyIf};
use seawall::budget::{self, BudgetLayer, BudgetService};
use seawall::bulkhead::{self, BulkheadService, QueuedService, Queues};
use seawall::circuit_breaker::{
    self, CircuitBreakerService, Gated, GatedService, Snapshot, State, Trip,
};
use seawall::classify::{ErrorsOnly, Standard};
use seawall::fallback::{self, FallbackService, Through, value};
use seawall::hedge::{self, HedgeService};
use seawall::rate_limit::{self, One, RateLimitService, WaitingFuture, WaitingService, Waits};
use seawall::retry::{self, RetryService};
use seawall::service::{AsError, By, Native, ResponseFuture};
use seawall::stack::{ClientService, ServerService};
use seawall::timeout::{self, Fixed, TimeoutService};
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack,
    ConfigError, Deadline, Error, Event, Fallback, FallbackLayer, Hedge, HedgeLayer, Keyed,
    Pipeline, Quota, RateLimitLayer, RateLimiter, Reason, Rejection, Retry, RetryLayer,
    ServerStack, Timeout, TimeoutLayer,
};
use tower::{Layer, Service, service_fn};

use crate::support::{Do, Mock, Task, secs};

fn is_clone<T: Clone>() {}
fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_all<T: Clone + Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
fn is_error<T: std::error::Error + Send + Sync + Clone + PartialEq + 'static>() {}

/// Whether `$type` is `$trait`: an inherent constant has precedence over a trait's.
macro_rules! is {
    ($type:ty: $trait:path) => {{
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        trait No {
            const IS: bool = false;
        }
        impl<T: ?Sized> No for Probe<T> {}
        #[allow(dead_code)]
        impl<T: ?Sized + $trait> Probe<T> {
            const IS: bool = true;
        }
        <Probe<$type>>::IS
    }};
}

macro_rules! are {
    ($is:ident: $($type:ty),* $(,)?) => {
        $($is::<$type>();)*
    };
}

type Breaking<S> = CircuitBreakerService<S>;
type Timing<S> = TimeoutService<S>;
type Holding<S> = BulkheadService<S>;
type Limiting<S> = RateLimitService<S>;
type Retrying<S> = RetryService<S>;
type Hedging<S> = HedgeService<S>;
type Answered<S> = FallbackService<S, Through<Mock>>;
type LimitFuture<F> = seawall::service::ResponseFuture<F, AsError>;
type TimeoutFuture<F> = ResponseFuture<timeout::Timed<F, AsError>, AsError>;
type BulkheadFuture<F> = ResponseFuture<bulkhead::HeldCall<F, AsError>, AsError>;
type QueuedFuture = bulkhead::QueuedFuture<Mock, Do, AsError>;
type Called<S> = <S as Service<Do>>::Future;
type RetryFuture<S> = retry::ResponseFuture<S, Do, By<Standard>, Again, AsError>;
type HedgeFuture<S> = hedge::ResponseFuture<S, Do, By<Standard>, Again, hedge::Own, AsError>;
type BreakerFuture<F> = seawall::service::ResponseFuture<
    circuit_breaker::JudgedCall<F, By<Standard>, AsError>,
    AsError,
>;

type HostOf = fn(&Do) -> Option<&str>;
type PerHost<P> = seawall::keyed::ByKey<str, P, seawall::keyed::BorrowedKey<HostOf>>;

#[test]
fn cx10_policies_and_layers_are_send_sync_unpin_and_clone() {
    are! { is_all: Timeout, CircuitBreaker, RateLimiter, Bulkhead, Budget, Retry, Hedge, Pipeline };
    are! { is_all: Keyed<str, CircuitBreaker>, Keyed<str, RateLimiter>, Keyed<str, Budget> };
    are! { is_all: Quota, Backoff, Deadline, Trip, State, Pipeline<ErrorsOnly> };
    are! { is_all: TimeoutLayer, TimeoutLayer<Native, Fixed> };
    are! { is_all: CircuitBreakerLayer, CircuitBreakerLayer<Native, ErrorsOnly, Gated> };
    are! { is_all: RateLimitLayer, RateLimitLayer<Native, One, Waits> };
    are! { is_all: BulkheadLayer, BulkheadLayer<Native, Queues> };
    are! { is_all: BudgetLayer, BudgetLayer<PerHost<Budget>>, ClientStack, ServerStack };
    are! { is_all: RetryLayer, HedgeLayer, HedgeLayer<ErrorsOnly, Again<OnlyIf<fn(&Do) -> bool>>> };
    is_all::<RetryLayer<ErrorsOnly, Again<ByRequest, CopyBy<fn(&Do) -> Option<Do>>>>>();
    are! { is_all: timeout::Snapshot, Snapshot, rate_limit::Snapshot, bulkhead::Snapshot };
    are! { is_all: budget::Snapshot, retry::Snapshot, hedge::Snapshot };
    are! { is_all: Fallback, fallback::Snapshot, fallback::Cause };
    are! { is_send: timeout::Builder, circuit_breaker::Builder, rate_limit::Builder };
    are! { is_send: bulkhead::Builder, retry::Builder, hedge::Builder, fallback::Builder };
    are! { is_send: Called<Answered<Mock>> };
    are! { is_send: rate_limit::Acquire, rate_limit::Reservation, bulkhead::Acquire };
    are! { is_send: bulkhead::Permit, bulkhead::Permit<&'static Bulkhead>, budget::Withdrawal };
    are! { is_send: circuit_breaker::Permit, circuit_breaker::Permit<&'static CircuitBreaker> };
    are! { is_sync: bulkhead::Permit, bulkhead::Acquire, budget::Withdrawal };
    are! { is_sync: circuit_breaker::Permit };
    is_clone::<Event<'static>>();
    are! { is_error: Rejection, Reason, ConfigError, Error<std::fmt::Error> };
}

#[test]
fn cx10_services_and_futures_are_what_their_inner_ones_are() {
    are! { is_all: Breaking<Mock>, Timing<Mock>, GatedService<Mock>, Holding<Mock> };
    are! { is_all: QueuedService<Mock>, Limiting<Mock>, WaitingService<Mock>, Retrying<Mock> };
    are! { is_all: Hedging<Mock>, BudgetService<Mock>, BudgetService<Mock, PerHost<Budget>> };
    are! { is_all: ClientService<Mock>, ServerService<Mock> };
    is_all::<Timing<Retrying<Hedging<Breaking<QueuedService<Limiting<Timing<Mock>>>>>>>>();
    is_all::<Breaking<Limiting<Timing<WaitingService<Mock>>>>>();

    type Plain = Ready<Result<u32, Rejection>>;
    are! { is_send: TimeoutFuture<Plain>, BreakerFuture<Plain>, LimitFuture<Plain> };
    are! { is_send: BulkheadFuture<Plain>, budget::ResponseFuture<Plain, AsError>, QueuedFuture };
    are! { is_send: RetryFuture<Mock>, HedgeFuture<Mock>, WaitingFuture<Mock, Do, AsError> };
    are! { is_send: Called<ClientService<Mock>>, Called<ServerService<Mock>> };
    are! { is_sync: TimeoutFuture<Plain>, BreakerFuture<Plain>, LimitFuture<Plain> };
    are! { is_sync: BulkheadFuture<Plain>, budget::ResponseFuture<Plain, AsError>, QueuedFuture };
    are! { is_sync: RetryFuture<Mock>, HedgeFuture<Mock>, WaitingFuture<Mock, Do, AsError> };
    are! { is_sync: Called<ClientService<Mock>>, Called<ServerService<Mock>> };
    are! { is_unpin: BreakerFuture<Plain>, LimitFuture<Plain>, BulkheadFuture<Plain> };
    is_unpin::<budget::ResponseFuture<Plain, AsError>>();
    // It holds its timer in place.
    assert!(!is!(RetryFuture<Mock>: Unpin));
    assert!(!is!(HedgeFuture<Mock>: Unpin));
    assert!(!is!(QueuedFuture: Unpin));
    assert!(!is!(TimeoutFuture<Plain>: Unpin));
    assert!(!is!(WaitingFuture<Mock, Do, AsError>: Unpin));
    assert!(!is!(BreakerFuture<PhantomPinned>: Unpin));
    assert!(!is!(LimitFuture<PhantomPinned>: Unpin));

    // The layers require no more of an inner service than it is.
    assert!(!is!(Breaking<Rc<()>>: Send));
    assert!(!is!(Timing<Rc<()>>: Send));
    assert!(!is!(Limiting<Rc<()>>: Send));
    assert!(!is!(LimitFuture<Rc<()>>: Send));
    assert!(!is!(BreakerFuture<Rc<()>>: Send));
    assert!(!is!(TimeoutFuture<Rc<()>>: Send));
    assert!(is!(Breaking<Cell<()>>: Send) && !is!(Breaking<Cell<()>>: Sync));
    assert!(is!(Timing<Cell<()>>: Send) && !is!(Timing<Cell<()>>: Sync));
    struct NoClone;
    assert!(!is!(Breaking<NoClone>: Clone));
    assert!(!is!(Timing<NoClone>: Clone));
    assert!(!is!(Holding<Rc<()>>: Send));
    assert!(!is!(Holding<NoClone>: Clone));
    assert!(!is!(BulkheadFuture<Rc<()>>: Send));
    assert!(!is!(budget::ResponseFuture<PhantomPinned, ()>: Unpin));
    assert!(!is!(budget::ResponseFuture<Rc<()>, ()>: Send));
    assert!(!is!(BudgetService<Rc<()>>: Send));
    assert!(!is!(BudgetService<NoClone>: Clone));
    assert!(!is!(ClientService<Rc<()>>: Send));
    assert!(!is!(ServerService<Rc<()>>: Send));
    assert!(!is!(ServerService<NoClone>: Clone));
    assert!(!is!(Retrying<Rc<()>>: Send));
    assert!(!is!(Hedging<Rc<()>>: Send));
    assert!(!is!(Answered<Rc<()>>: Send));
    // The template of later attempts is behind a lock: a service need not be `Sync` for that.
    assert!(is!(Retrying<Cell<()>>: Send) && !is!(Retrying<Cell<()>>: Sync));
    // The service of a fallback need not be `Sync`.
    assert!(is!(FallbackService<(), Through<Cell<()>>>: Sync));
    assert!(is!(Hedging<Cell<()>>: Send) && !is!(Hedging<Cell<()>>: Sync));
    assert!(!is!(Retrying<NoClone>: Clone));
    assert!(!is!(Hedging<NoClone>: Clone));
    assert!(!is!(Answered<NoClone>: Clone) && is!(FallbackService<(), NoClone>: Clone));
    assert!(is!(Breaking<Mock>: Clone), "the probe itself works");
}

/// An error that is neither `Clone` nor `Send`.
#[derive(Debug)]
enum Odd {
    Rejected(#[allow(dead_code)] Rejection),
    Inner(#[allow(dead_code)] Rc<Cell<u32>>),
}

seawall::carrier!(Odd::Rejected);

/// A service that is neither `Clone` nor `Send`, for requests that are neither, nor `'static`.
struct Local(Rc<Cell<u32>>);

type LocalFuture<'a> = Pin<Box<dyn Future<Output = Result<u32, Odd>> + 'a>>;

impl<'a> Service<(&'a str, Rc<Cell<u32>>)> for Local {
    type Response = u32;
    type Error = Odd;
    type Future = LocalFuture<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Odd>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (text, count): (&'a str, Rc<Cell<u32>>)) -> LocalFuture<'a> {
        let seen = Rc::clone(&self.0);
        Box::pin(async move {
            seen.set(seen.get() + 1);
            match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => Err(Odd::Inner(count)),
            }
        })
    }
}

fn calls_a_local_service<L>(layer: &L)
where
    L: Layer<Local>,
    L::Service: for<'a> Service<(&'a str, Rc<Cell<u32>>), Response = u32, Error = Odd>,
{
    let count = Rc::new(Cell::new(0));
    let mut service = layer.layer(Local(Rc::clone(&count)));
    let borrowed = String::from("42");
    let outcome = Task::new(service.call((&borrowed, Rc::clone(&count)))).run();
    assert!(matches!(outcome, Poll::Ready(Ok(42))), "{outcome:?}");
    let outcome = Task::new(service.call((&borrowed[..0], Rc::clone(&count)))).run();
    assert!(
        matches!(outcome, Poll::Ready(Err(Odd::Inner(_)))),
        "{outcome:?}"
    );
    assert_eq!(count.get(), 2);
}

#[test]
fn cx10_a_request_an_error_and_a_service_need_neither_send_nor_clone_nor_static() {
    calls_a_local_service(&TimeoutLayer::new(secs(5)));
    calls_a_local_service(&TimeoutLayer::new(secs(5)).duration_from(|_: &(&str, _)| None));
    calls_a_local_service(
        &TimeoutLayer::new(secs(5)).respond(|rejection| Err(Odd::Rejected(rejection))),
    );
    calls_a_local_service(&CircuitBreakerLayer::new(CircuitBreaker::new("local")));
    calls_a_local_service(&BulkheadLayer::new(Bulkhead::new(9)));
    calls_a_local_service(&RateLimitLayer::new(RateLimiter::per_day(9)));
    calls_a_local_service(&CircuitBreakerLayer::gated(CircuitBreaker::new("local")));
    calls_a_local_service(
        &CircuitBreakerLayer::new(CircuitBreaker::new("local")).classify(ErrorsOnly),
    );
}

#[test]
fn cx10_an_infallible_service_needs_only_a_responder() {
    let never = service_fn(|n: u32| ready(Ok::<u32, Infallible>(n)));
    let mut service = TimeoutLayer::new(secs(5)).respond(|_| Ok(0)).layer(never);
    assert!(matches!(
        Task::new(service.call(3)).run(),
        Poll::Ready(Ok(3))
    ));
    let breaker = CircuitBreaker::new("never");
    let mut service = CircuitBreakerLayer::new(&breaker)
        .respond(|_| Ok(0))
        .layer(never);
    assert!(matches!(
        Task::new(service.call(3)).run(),
        Poll::Ready(Ok(3))
    ));
    breaker.force_open();
    assert!(matches!(
        Task::new(service.call(3)).run(),
        Poll::Ready(Ok(0))
    ));
}

#[test]
fn cx10_layers_take_a_policy_or_a_reference_to_one() {
    // As axum and `ServiceBuilder` take them.
    fn takes<L: Layer<Mock, Service: Service<Do>> + Clone + Send + Sync + 'static>(_: L) {}
    let (timeout, breaker) = (Timeout::new(secs(1)), CircuitBreaker::new("taken"));
    takes(TimeoutLayer::new(&timeout));
    takes(TimeoutLayer::new(timeout));
    takes(CircuitBreakerLayer::new(&breaker));
    takes(CircuitBreakerLayer::new(breaker));
    let limiter = RateLimiter::per_second(1);
    takes(RateLimitLayer::new(&limiter));
    takes(RateLimitLayer::waiting(limiter));
    let (retry, hedge) = (
        Retry::new(Backoff::constant(secs(1))),
        Hedge::fixed(secs(1)),
    );
    takes(RetryLayer::new(&retry));
    takes(RetryLayer::new(retry));
    takes(HedgeLayer::new(&hedge));
    takes(HedgeLayer::new(hedge));
    takes(FallbackLayer::new(Fallback::new(), value(7)));
    let bulkhead = Bulkhead::new(1);
    takes(BulkheadLayer::new(&bulkhead));
    takes(BulkheadLayer::queued(bulkhead));
}
