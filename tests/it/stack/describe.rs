//! A stack as text, and what it can do to its dependency.

use seawall::{Budget, ClientStack, Mode, Quota, RateLimiter, ServerStack, Trip};

use crate::support::{ms, secs};

#[test]
fn cf6_a_stack_prints_a_line_for_each_layer_from_the_outermost_in() {
    let stack = ClientStack::builder("orders")
        .total_timeout(secs(5))
        .attempt_timeout(ms(800))
        .hedge(|hedge| hedge.quantile(0.98))
        .budgets(|budget| budget.ratio(0.2).burst(5))
        .breaker(|breaker| breaker.trip_on(Trip::failure_rate(0.5)))
        .bulkhead(|bulkhead| bulkhead.limit(30).queue(60))
        .rate_limit(Quota::per_second(200).burst(20));
    let stack = stack.build().unwrap();
    let text = "\
orders
  total timeout: 5s
  budget: 0.2 extra attempts per success, burst 5 per authority
  retry: 3 attempts, backoff exponential from 50ms by 2 up to 2s, full jitter
  hedge: up to 1 extra after quantile 0.98
  circuit breaker: per authority, opens by failure rate of 0.5 over 10s, open for exponential from 250ms by 2 up to 1s, equal jitter
  bulkhead: per authority, 30 in flight, 60 wait for up to 100ms
  rate limit: 200 per second, burst 20
  attempt timeout: 800ms
at most 6 attempts per call and 1.20 over time, so extra attempts can overload a dependency above 83 % of its capacity; a caller waits at most 5s";
    assert_eq!(stack.to_string(), text);
    assert_eq!(stack.describe().layers[2].layer, "retry");
}

#[test]
fn cf6_the_text_is_of_now() {
    let stack = ServerStack::builder("api", 200).rate_limit(Quota::per_second(9));
    let stack = stack.build().unwrap();
    stack.bulkhead().set_limit(7).unwrap();
    stack.timeout().set_mode(Mode::Off);
    stack.limiter().set_mode(Mode::RecordOnly);
    let text = "\
api
  timeout: off
  rate limit: 9 per second, burst 9 (record only)
  bulkhead: 7 in flight, no queue
1 attempt per call; nothing limits the wait of a caller";
    assert_eq!(stack.to_string(), text);
    stack.change(|now| now.timeout(secs(3))).unwrap();
    stack.timeout().set_mode(Mode::Enforce);
    assert_eq!(stack.verdict().longest_wait, Some(secs(3)));
    let given = stack.rate_limit(RateLimiter::per_second(1));
    assert!(
        given
            .to_string()
            .contains("rate limit: the limiter that was given")
    );
}

#[test]
fn cf6_the_verdict_multiplies_attempts_and_bounds_them_by_the_budget() {
    let of = |stack: seawall::stack::ClientConfig| {
        let verdict = stack.build().unwrap().verdict();
        (verdict.attempts, verdict.amplification)
    };
    let stack = || ClientStack::builder("verdict");
    assert_eq!(of(stack()), (3, 1.5));
    assert_eq!(of(stack().retry(|retry| retry.max_attempts(1))), (1, 1.0));
    assert_eq!(
        of(stack().retry(|retry| retry.mode(Mode::RecordOnly))),
        (1, 1.0)
    );
    assert_eq!(of(stack().retry(|retry| retry.no_budget())), (3, 3.0));
    // One budget pays for both.
    let hedged = || stack().hedge(|hedge| hedge.max_extra(2));
    assert_eq!(of(hedged()), (9, 1.5));
    assert_eq!(of(hedged().budget(Budget::percent(10))), (9, 1.1));
    // Two budgets, and none.
    let other = Budget::percent(20);
    assert_eq!(of(hedged().hedge(|hedge| hedge.budget(&other))), (9, 1.7));
    assert_eq!(of(hedged().retry(|retry| retry.no_budget())), (9, 3.5));
    other.set_mode(Mode::Off);
    assert_eq!(of(hedged().hedge(|hedge| hedge.budget(&other))), (9, 4.5));
    let all = hedged().retry(|retry| retry.no_budget());
    let all = all.budgets(|budget| budget.mode(Mode::RecordOnly));
    assert_eq!(of(all), (9, 9.0));
    let verdict = ClientStack::new("verdict").verdict();
    assert_eq!(verdict.longest_wait, Some(secs(10)));
    let longest = ClientStack::builder("verdict").longest_total_timeout(secs(60));
    let verdict = longest.build().unwrap().verdict();
    assert_eq!(verdict.longest_wait, Some(secs(60)));
    assert!((verdict.safe_utilisation - 2.0 / 3.0).abs() < 1e-9);
}
