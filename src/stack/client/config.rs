use std::time::Duration;

use super::ClientStack;
use crate::budget::Budget;
use crate::bulkhead::{self, Bulkhead};
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::hedge::{self, Hedge};
use crate::keyed::check_capacity;
use crate::rate_limit::{Quota, RateLimiter};
use crate::retry::{self, Retry};
use crate::stack::{check, part};

/// What a [`ClientStack`] is made by; made by [`ClientStack::builder`]. The
/// [module](crate::stack) has the defaults.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `.build()`"]
pub struct ClientConfig {
    pub(super) name: Name,
    pub(super) total_timeout: Duration,
    pub(super) attempt_timeout: Duration,
    pub(super) retry: retry::Builder,
    pub(super) hedge: hedge::Builder,
    pub(super) hedged: bool,
    pub(super) breaker: circuit_breaker::Builder,
    pub(super) bulkhead: bulkhead::Builder,
    pub(super) authorities: usize,
    pub(super) rate_limit: Option<Quota>,
    pub(super) budget: Option<Budget>,
    pub(super) set: Set,
}

/// What has been set: of a change, all that it is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set {
    pub(super) total_timeout: bool,
    pub(super) attempt_timeout: bool,
    pub(super) retry: bool,
    pub(super) hedge: bool,
    pub(super) breaker: bool,
    pub(super) bulkhead: bool,
    pub(super) authorities: bool,
    pub(super) rate_limit: bool,
    pub(super) budget: bool,
}

/// Three attempts fit, with their backoffs.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const IN_FLIGHT: u32 = 100;
const AUTHORITIES: usize = 10_000;

impl ClientConfig {
    /// The defaults, for a stack of this name: its policies are named after it.
    pub fn new(name: impl Into<Name>) -> Self {
        let name = name.into();
        let all = Set {
            total_timeout: true,
            attempt_timeout: true,
            retry: true,
            hedge: true,
            breaker: true,
            bulkhead: true,
            authorities: true,
            rate_limit: true,
            budget: true,
        };
        Self {
            retry: Retry::builder().name(part(&name, "retry")),
            hedge: Hedge::builder().name(part(&name, "hedge")),
            breaker: CircuitBreaker::builder(part(&name, "breaker")),
            bulkhead: Bulkhead::builder(IN_FLIGHT).name(part(&name, "bulkhead")),
            name,
            total_timeout: TOTAL_TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            hedged: false,
            authorities: AUTHORITIES,
            rate_limit: None,
            budget: None,
            set: all,
        }
    }

    /// How long a call may take with all its attempts and all waits between and before them;
    /// 10 s if not set.
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.total_timeout = limit;
        self.set.total_timeout = true;
        self
    }

    /// How long one attempt may take; 3 s if not set, so that three fit. A shorter one that the
    /// total leaves no more time for ends with that.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = limit;
        self.set.attempt_timeout = true;
        self
    }

    /// Changes the [retry](retry::Builder), which has its own [defaults](retry#defaults). Its
    /// name and its budget are the stack's, unless it is given another one or none.
    pub fn retry(mut self, set: impl FnOnce(retry::Builder) -> retry::Builder) -> Self {
        self.retry = set(self.retry);
        self.set.retry = true;
        self
    }

    /// Hedges, which it does not if this is not called, by a [hedge](hedge::Builder) as it is
    /// configured now, at first with its own [defaults](hedge#defaults). Its name and its budget
    /// are the stack's, unless it is given another one.
    pub fn hedge(mut self, set: impl FnOnce(hedge::Builder) -> hedge::Builder) -> Self {
        self.hedge = set(self.hedge);
        self.hedged = true;
        self.set.hedge = true;
        self
    }

    /// Does not hedge.
    pub fn no_hedge(mut self) -> Self {
        self.hedged = false;
        self.set.hedge = true;
        self
    }

    /// The budget of retries and hedges, which other stacks may share; one of its own with the
    /// [defaults](crate::budget#defaults) if not set.
    pub fn budget(mut self, budget: impl Into<Budget>) -> Self {
        self.budget = Some(budget.into());
        self.set.budget = true;
        self
    }

    /// Changes the [breaker](circuit_breaker::Builder) of every authority, which has its own
    /// [defaults](circuit_breaker#defaults), but that its
    /// [`fair_time`](circuit_breaker::Builder::fair_time) is half of the attempt's timeout if
    /// not set. A listener that is given to it hears those of all authorities.
    pub fn breaker(
        mut self,
        set: impl FnOnce(circuit_breaker::Builder) -> circuit_breaker::Builder,
    ) -> Self {
        self.breaker = set(self.breaker);
        self.set.breaker = true;
        self
    }

    /// Changes the [bulkhead](bulkhead::Builder) of every authority: 100 calls at once and no
    /// queue if not set. Given a [queue](bulkhead::Builder::queue), calls wait in it.
    pub fn bulkhead(mut self, set: impl FnOnce(bulkhead::Builder) -> bulkhead::Builder) -> Self {
        self.bulkhead = set(self.bulkhead);
        self.set.bulkhead = true;
        self
    }

    /// How many authorities have a breaker and a bulkhead of their own at most; 10,000 if not
    /// set. See [`keyed`](crate::keyed) for what becomes of those that are too many.
    pub fn authorities(mut self, capacity: usize) -> Self {
        self.authorities = capacity;
        self.set.authorities = true;
        self
    }

    /// A limit on all attempts together, to whichever authority; none if not set. For a limiter
    /// that others share, or one per key, there is [`ClientStack::rate_limit`].
    pub fn rate_limit(mut self, quota: impl Into<Option<Quota>>) -> Self {
        self.rate_limit = quota.into();
        self.set.rate_limit = true;
        self
    }

    /// The stack.
    ///
    /// # Errors
    /// With everything at once that is wrong with the policies, and with all that contradicts
    /// itself: the [module](crate::stack#contradictions) has the list.
    pub fn build(self) -> Result<ClientStack, ConfigError> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        problems.finish(&self.name)?;
        ClientStack::of(self)
    }

    /// This, with what `change` is about from there.
    pub(super) fn with(&self, change: &Self) -> Self {
        let Set {
            total_timeout,
            attempt_timeout,
            retry,
            hedge,
            breaker,
            bulkhead,
            authorities,
            rate_limit,
            budget: _,
        } = change.set;
        let from = |set| if set { change } else { self };
        Self {
            name: self.name.clone(),
            total_timeout: from(total_timeout).total_timeout,
            attempt_timeout: from(attempt_timeout).attempt_timeout,
            retry: from(retry).retry.clone(),
            hedge: from(hedge).hedge.clone(),
            hedged: from(hedge).hedged,
            breaker: from(breaker).breaker.clone(),
            bulkhead: from(bulkhead).bulkhead.clone(),
            authorities: from(authorities).authorities,
            rate_limit: from(rate_limit).rate_limit,
            budget: self.budget.clone(),
            set: Set::default(),
        }
    }

    /// What a change to `next` could not change.
    pub(super) fn check_change(&self, next: &Self, problems: &mut Problems) {
        let capacity = next.authorities;
        let allowed = format_args!("{}, as it was built", self.authorities);
        problems.check(
            capacity == self.authorities,
            "authorities",
            capacity,
            allowed,
        );
        let (built, window) = (self.hedge.window_length(), next.hedge.window_length());
        let allowed = format_args!("{built:?}, as it was built");
        problems.check(window == built, "hedge.window", window, allowed);
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let (total, attempt) = (self.total_timeout, self.attempt_timeout);
        check::timeout("total_timeout", total, problems);
        check::timeout("attempt_timeout", attempt, problems);
        check_capacity("authorities", self.authorities, problems);
        if let Some(quota) = self.rate_limit {
            let limiter = RateLimiter::builder(quota).build();
            check::part("rate_limit", limiter, problems);
        }
        check::part("retry", self.retry.clone().build(), problems);
        if self.hedged {
            check::part("hedge", self.hedge.clone().build(), problems);
        }
        check::part("breaker", self.breaker.clone().build(), problems);
        check::part("bulkhead", self.bulkhead.clone().build(), problems);
        if !total.is_zero() {
            self.check_in_total(total, problems);
        }
        if !attempt.is_zero() {
            self.check_by_attempt(attempt, problems);
        }
    }

    fn check_in_total(&self, total: Duration, problems: &mut Problems) {
        let attempt = self.attempt_timeout;
        let allowed = format_args!("at most the total_timeout of {total:?}");
        problems.check(attempt <= total, "attempt_timeout", attempt, allowed);
        let backoffs = self.retry.longest_backoffs();
        let attempts = self.retry.attempts();
        let allowed = format_args!(
            "less than the total_timeout of {total:?} before all of the {attempts} attempts together"
        );
        problems.check(backoffs < total, "retry.backoff", backoffs, allowed);
        check::queueing(&self.bulkhead, "total_timeout", total, problems);
    }

    fn check_by_attempt(&self, attempt: Duration, problems: &mut Problems) {
        for (field, span) in self.breaker.spans() {
            let allowed = format_args!("at least the attempt_timeout of {attempt:?}");
            let field = format!("breaker.{field}");
            problems.check(span >= attempt, &field, span, allowed);
        }
        for slow in self.breaker.slow_from() {
            let allowed = format_args!("longer than less than the attempt_timeout of {attempt:?}");
            problems.check(slow < attempt, "breaker.slow_rate", slow, allowed);
        }
        if let Some(fair) = self.breaker.least_fair_time() {
            let allowed = format_args!("at most the attempt_timeout of {attempt:?}");
            problems.check(fair <= attempt, "breaker.fair_time", fair, allowed);
        }
        if self.hedged {
            let allowed = format_args!("less than the attempt_timeout of {attempt:?}");
            let (field, delay) = match self.hedge.fixed_delay() {
                Some(delay) => ("hedge.delay", delay),
                None => ("hedge.min_delay", self.hedge.least_delay()),
            };
            problems.check(delay < attempt, field, delay, allowed);
        }
    }

    /// The least time that an attempt must have had for its timeout to count.
    pub(super) fn fair_time(&self) -> Duration {
        let asked = self.breaker.least_fair_time();
        asked.unwrap_or(self.attempt_timeout / 2)
    }

    pub(super) fn breaker_of(&self, authority: &str) -> circuit_breaker::Builder {
        let breaker = self.breaker.clone().fair_time(self.fair_time());
        breaker.name(at(&self.name, "breaker", authority))
    }

    pub(super) fn bulkhead_of(&self, authority: &str) -> bulkhead::Builder {
        let bulkhead = self.bulkhead.clone();
        bulkhead.name(at(&self.name, "bulkhead", authority))
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
