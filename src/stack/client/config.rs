use std::time::Duration;

use crate::budget::{self, Budget};
use crate::bulkhead::{self, Bulkhead};
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::hedge::{self, Hedge};
use crate::keyed::check_capacity;
use crate::macros::setters;
use crate::rate_limit::Quota;
use crate::retry::{self, Retry};
use crate::stack::parts::{self, changed, part};
use crate::sync::Arc;

/// The configuration of a [`ClientStack`](crate::ClientStack); made by
/// [`ClientStack::builder`](crate::ClientStack::builder). The [module](crate::stack#defaults) lists
/// the defaults.
#[derive(Clone, Debug)]
#[must_use = "a configuration does nothing until `build`"]
pub struct ClientConfig {
    pub(super) name: Name,
    pub(super) total_timeout: Duration,
    /// The most that one call may set. None for the total.
    pub(super) longest_total: Option<Duration>,
    pub(super) attempt_timeout: Duration,
    // A setter replaces the whole part, so a part that a change did not set keeps its address.
    pub(super) retry: Arc<retry::Builder>,
    pub(super) hedge: Arc<hedge::Builder>,
    pub(super) hedged: bool,
    pub(super) breaker: Arc<circuit_breaker::Builder>,
    pub(super) bulkhead: Arc<bulkhead::Builder>,
    pub(super) authorities: usize,
    pub(super) rate_limit: Option<Quota>,
    pub(super) budgets: Arc<budget::Builder>,
    /// One for all authorities, from outside.
    pub(super) budget: Option<Budget>,
}

/// Three attempts fit, with their backoffs.
pub(super) const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const IN_FLIGHT: u32 = 100;
const AUTHORITIES: usize = 10_000;

impl ClientConfig {
    /// The defaults for a stack with this name. The names of the stack's policies start with it.
    pub fn new(name: impl Into<Name>) -> Self {
        let name = name.into();
        Self {
            retry: Arc::new(Retry::builder().name(part(&name, "retry"))),
            hedge: Arc::new(Hedge::builder().name(part(&name, "hedge"))),
            breaker: Arc::new(CircuitBreaker::builder(part(&name, "breaker"))),
            bulkhead: Arc::new(Bulkhead::builder(IN_FLIGHT).name(part(&name, "bulkhead"))),
            budgets: Arc::new(Budget::builder().name(part(&name, "budget"))),
            name,
            total_timeout: TOTAL_TIMEOUT,
            longest_total: None,
            attempt_timeout: ATTEMPT_TIMEOUT,
            hedged: false,
            authorities: AUTHORITIES,
            rate_limit: None,
            budget: None,
        }
    }

    setters! {
        /// Sets how long a call may take, with all its attempts and all waits. The default is 10 s.
        total_timeout(limit: Duration) => total_timeout = limit;

        /// Lets one call have a longer total than the others, by its
        /// [`Overrides`](crate::stack::Overrides): up to `limit`. The default is the
        /// [total timeout](Self::total_timeout), so that a call can only shorten it.
        ///
        /// ```
        /// use std::time::Duration;
        /// use seawall::ClientStack;
        ///
        /// let stack = ClientStack::builder("reports")
        ///     .total_timeout(Duration::from_secs(5))
        ///     .longest_total_timeout(Duration::from_secs(60)) // For the one that is exported.
        ///     .build()?;
        /// # let _ = stack;
        /// # Ok::<_, seawall::ConfigError>(())
        /// ```
        longest_total_timeout(limit: Duration) => longest_total = Some(limit);

        /// Sets how long one attempt may take. The default is 3 s, so that three fit. An attempt ends
        /// earlier if less of the total is left.
        attempt_timeout(limit: Duration) => attempt_timeout = limit;
    }

    /// Changes the [retry](retry::Builder), which has its own [defaults](retry#defaults). It uses
    /// the budget of the authority, unless it is given another one or none. Its name is the
    /// stack's.
    pub fn retry(mut self, change: impl FnOnce(retry::Builder) -> retry::Builder) -> Self {
        self.retry = changed(&self.retry, change);
        self
    }

    /// Switches hedging on and changes the [hedge](hedge::Builder), which has its own
    /// [defaults](hedge#defaults). It uses the budget of the authority, unless it is given another
    /// one. Its name is the stack's.
    pub fn hedge(mut self, change: impl FnOnce(hedge::Builder) -> hedge::Builder) -> Self {
        self.hedge = changed(&self.hedge, change);
        self.hedged = true;
        self
    }

    setters! {
        /// Switches hedging off, which is the default.
        no_hedge() => hedged = false;

        /// Sets one budget for the retries and hedges of all authorities, which several stacks may
        /// share. The default is a budget per authority, so that a failing host does not spend the
        /// retries of the others.
        budget(budget: impl Into<Budget>) => budget = Some(budget.into());
    }

    /// Changes the [budget](budget::Builder) of every authority, which has its own
    /// [defaults](crate::budget#defaults).
    pub fn budgets(mut self, change: impl FnOnce(budget::Builder) -> budget::Builder) -> Self {
        self.budgets = changed(&self.budgets, change);
        self
    }

    /// Changes the [breaker](circuit_breaker::Builder) of every authority, which has its own
    /// [defaults](circuit_breaker#defaults), except that its
    /// [`fair_time`](circuit_breaker::Builder::fair_time) is half of the attempt's timeout and its
    /// [`max_probe_time`](circuit_breaker::Builder::max_probe_time) a second more than it. A
    /// listener receives the events of all authorities.
    pub fn breaker(
        mut self,
        change: impl FnOnce(circuit_breaker::Builder) -> circuit_breaker::Builder,
    ) -> Self {
        self.breaker = changed(&self.breaker, change);
        self
    }

    /// Changes the [bulkhead](bulkhead::Builder) of every authority. The default is 100 calls in
    /// flight and no queue. With a [queue](bulkhead::Builder::queue) calls wait in it.
    pub fn bulkhead(mut self, change: impl FnOnce(bulkhead::Builder) -> bulkhead::Builder) -> Self {
        self.bulkhead = changed(&self.bulkhead, change);
        self
    }

    setters! {
        /// Sets how many authorities have a breaker, a bulkhead and a budget of their own. The default is
        /// 10,000. [`keyed`](crate::keyed) describes what happens above it.
        authorities(capacity: usize) => authorities = capacity;

        /// Sets a rate limit for all attempts together, to any authority. The default is none. For a
        /// shared limiter, or one limit per key, use
        /// [`ClientStack::rate_limit`](crate::ClientStack::rate_limit).
        rate_limit(quota: impl Into<Option<Quota>>) => rate_limit = quota.into();
    }

    /// The most that a call may set where the total is `total`.
    pub(super) fn longest_total(&self, total: Duration) -> Duration {
        self.longest_total
            .map_or(total, |longest| longest.max(total))
    }

    /// Reports differences to `now` that a change cannot apply.
    pub(super) fn check_change(&self, now: &Self, own_limiter: bool, problems: &mut Problems) {
        let (built, authorities) = (now.authorities, self.authorities);
        let allowed = format!("{built}, as it was built");
        problems.check(authorities == built, "authorities", authorities, allowed);
        let (built, window) = (now.hedge.window_length(), self.hedge.window_length());
        let allowed = format!("{built:?}, as it was built");
        problems.check(window == built, "hedge.window", window, allowed);
        let id = |config: &Self| config.budget.as_ref().map(Budget::id);
        let given = self.budget.as_ref().map(Budget::name);
        problems.check(id(self) == id(now), "budget", given, "as it was built");
        let own = now.budget.is_none() || Arc::ptr_eq(&now.budgets, &self.budgets);
        problems.check(
            own,
            "budgets",
            given,
            "changed on the budget that was given",
        );
        parts::check_limiter(own_limiter, now.rate_limit, self.rate_limit, problems);
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        self.check_parts(problems);
        let (total, attempt) = (self.total_timeout, self.attempt_timeout);
        if !total.is_zero() {
            self.check_in_total(total, problems);
        }
        if !attempt.is_zero() {
            self.check_by_attempt(attempt, problems);
        }
    }

    /// Each part by itself.
    pub(super) fn check_parts(&self, problems: &mut Problems) {
        parts::check_timeout("total_timeout", self.total_timeout, problems);
        parts::check_timeout("attempt_timeout", self.attempt_timeout, problems);
        check_capacity("authorities", self.authorities, problems);
        parts::check_quota(self.rate_limit, problems);
        parts::check_part("retry", self.retry.check(), problems);
        if self.hedged {
            parts::check_part("hedge", self.hedge.check(), problems);
        }
        parts::check_part("budgets", self.budgets.check(), problems);
        parts::check_part("breaker", self.breaker.check(), problems);
        parts::check_part("bulkhead", self.bulkhead.check(), problems);
    }

    fn check_in_total(&self, total: Duration, problems: &mut Problems) {
        let attempt = self.attempt_timeout;
        let allowed = format!("at most the total_timeout of {total:?}");
        problems.check(attempt <= total, "attempt_timeout", attempt, allowed);
        if let Some(longest) = self.longest_total {
            let allowed = format!("at least the total_timeout of {total:?}");
            problems.check(longest >= total, "longest_total_timeout", longest, allowed);
        }
        let backoffs = self.retry.longest_backoffs();
        let attempts = self.retry.attempts();
        let allowed =
            format!("less in total, over {attempts} attempts, than the total_timeout of {total:?}");
        problems.check(backoffs < total, "retry.backoff", backoffs, allowed);
        parts::check_queue(&self.bulkhead, "total_timeout", total, problems);
    }

    fn check_by_attempt(&self, attempt: Duration, problems: &mut Problems) {
        for (field, span) in self.breaker.spans() {
            let allowed = format!("at least the attempt_timeout of {attempt:?}");
            let field = format!("breaker.{field}");
            problems.check(span >= attempt, &field, span, allowed);
        }
        for slow in self.breaker.slow_from() {
            let allowed = format!("less than the attempt_timeout of {attempt:?}");
            problems.check(slow < attempt, "breaker.slow_rate", slow, allowed);
        }
        if let Some(fair) = self.breaker.least_fair_time() {
            let allowed = format!("at most the attempt_timeout of {attempt:?}");
            problems.check(fair <= attempt, "breaker.fair_time", fair, allowed);
        }
        if self.hedged {
            let allowed = format!("less than the attempt_timeout of {attempt:?}");
            let (field, delay) = match self.hedge.fixed_delay() {
                Some(delay) => ("hedge.delay", delay),
                None => ("hedge.min_delay", self.hedge.least_delay()),
            };
            problems.check(delay < attempt, field, delay, allowed);
        }
    }

    /// The breaker's times that follow from the attempt's timeout: how much time an attempt must
    /// have had for its timeout to count as a failure, and how long a probe may take.
    pub(super) fn breaker_times(&self) -> (Duration, Duration) {
        let attempt = self.attempt_timeout;
        let fair_time = self.breaker.least_fair_time().unwrap_or(attempt / 2);
        let queueing = self.bulkhead.longest_queueing().unwrap_or_default();
        let longer = attempt.saturating_add(queueing + Duration::from_secs(1));
        (fair_time, self.breaker.longest_probe().unwrap_or(longer))
    }

    pub(super) fn timed(&self, breaker: circuit_breaker::Builder) -> circuit_breaker::Builder {
        let (fair_time, max_probe_time) = self.breaker_times();
        breaker.fair_time(fair_time).max_probe_time(max_probe_time)
    }

    pub(super) fn breaker_of(&self, authority: &str) -> Result<CircuitBreaker, ConfigError> {
        let breaker = self.timed(circuit_breaker::Builder::clone(&self.breaker));
        breaker.name(at(&self.name, "breaker", authority)).build()
    }

    pub(super) fn bulkhead_of(&self, authority: &str) -> Result<Bulkhead, ConfigError> {
        let bulkhead = bulkhead::Builder::clone(&self.bulkhead);
        bulkhead.name(at(&self.name, "bulkhead", authority)).build()
    }

    pub(super) fn budget_of(&self, authority: &str) -> Result<Budget, ConfigError> {
        let budget = budget::Builder::clone(&self.budgets);
        budget.name(at(&self.name, "budget", authority)).build()
    }

    /// The mode of the hedge.
    pub(super) fn hedge_mode(&self) -> Mode {
        match self.hedged {
            true => self.hedge.mode_to_start_in(),
            false => Mode::Off,
        }
    }
}

fn at(stack: &Name, part: &str, authority: &str) -> String {
    format!("{stack}.{part}@{authority}")
}
