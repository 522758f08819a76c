use super::{ClientConfig, ClientStack};
use crate::config::{ConfigError, Mode, Problems};
use crate::stack::limit_mode;

impl<R, C, L, O, K> ClientStack<R, C, L, O, K> {
    /// Changes the stack while calls run: those that start from now on, to authorities that are
    /// known and to new ones. `change` gets the configuration as it is now. Everything is
    /// checked before anything is changed.
    ///
    /// What the change is not about stays, also where a policy was changed by its own handle
    /// meanwhile; a [`retry`](ClientConfig::retry), [`hedge`](ClientConfig::hedge),
    /// [`breaker`](ClientConfig::breaker) or [`bulkhead`](ClientConfig::bulkhead) that it is
    /// about is changed as a whole. Names, seeds and listeners stay, and so does a mode that the
    /// change does not change. State and counts stay as
    /// [`CircuitBreaker::change`](crate::CircuitBreaker::change) and
    /// [`RateLimiter::set_quota`](crate::RateLimiter::set_quota) say. A budget is changed by its
    /// own handle.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ClientStack;
    ///
    /// let stack = ClientStack::new("payments");
    /// stack.change(|now| {
    ///     now.attempt_timeout(Duration::from_secs(1))
    ///         .bulkhead(|bulkhead| bulkhead.limit(20))
    /// })?;
    /// let bad = stack.change(|now| now.attempt_timeout(Duration::from_secs(60)));
    /// assert_eq!(bad.unwrap_err().problems()[0].field, "attempt_timeout");
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`ClientConfig::build`], and for what cannot be changed: the number of
    /// [authorities](ClientConfig::authorities), the [budget](ClientConfig::budget), the
    /// window of a hedge's quantile, and the rate limit of a stack that was
    /// given a [limiter](Self::rate_limit). Nothing has changed then.
    pub fn change(
        &self,
        change: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Result<(), ConfigError> {
        let plan = &self.policies.plan;
        let change = change(ClientConfig::clone(&plan.config()));
        let mut modes = Modes::default();
        plan.change(|now| {
            let next = now.with(&change);
            let mut problems = Problems::default();
            next.check(&mut problems);
            now.check_change(&next, &mut problems);
            let allowed = "changed by its own handle";
            if let Some(budget) = change.budget.as_ref().filter(|_| change.set.budget) {
                problems.check(false, "budget", budget.name(), allowed);
            }
            let quota = change.rate_limit.filter(|_| change.set.rate_limit);
            let own = quota.is_none() || self.own_limiter;
            problems.check(own, "rate_limit", quota, allowed);
            problems.finish(&now.name)?;
            modes = Modes::changed(now, &next);
            Ok(next)
        })?;
        plan.carry_out(|config| self.policies.apply(config, change.set, modes));
        Ok(())
    }
}

/// Of which policies a change has changed the mode.
#[derive(Clone, Copy, Default)]
pub(super) struct Modes {
    pub(super) retry: bool,
    pub(super) hedge: bool,
    pub(super) breaker: bool,
    pub(super) bulkhead: bool,
    pub(super) limiter: bool,
}

impl Modes {
    fn changed(now: &ClientConfig, next: &ClientConfig) -> Self {
        let mode = |of: fn(&ClientConfig) -> Mode| of(now) != of(next);
        Self {
            retry: mode(|config| config.retry.mode_to_start_in()),
            hedge: mode(ClientConfig::hedge_mode),
            breaker: mode(|config| config.breaker.mode_to_start_in()),
            bulkhead: mode(|config| config.bulkhead.mode_to_start_in()),
            limiter: mode(|config| limit_mode(config.rate_limit)),
        }
    }
}
