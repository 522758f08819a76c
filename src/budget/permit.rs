use super::policy::Budget;
use crate::config::Mode;
use crate::outcome::FailureKind;
#[cfg(feature = "tokio")]
use crate::outcome::{NEVER, Outcome};
use crate::rate_limit::Charge;
use crate::sync::Ordering;
use crate::time;

/// A permit for one extra attempt; made by [`Budget::withdraw`].
///
/// Dropping it gives the attempt back: in the epoch it was taken in, and in the next one as far as
/// it would have been kept.
#[must_use = "dropping it gives the attempt back"]
#[derive(Debug)]
pub struct Withdrawal {
    budget: Budget,
    source: Source,
    /// Whether the attempt was made.
    made: bool,
}

/// What a failure has taken from [retry throttling](super::Builder::retry_throttling), in thousandths
/// of a token.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charged(u64);

#[derive(Clone, Copy, Debug)]
enum Source {
    /// The budget is off, or throttles by failures.
    Nothing,
    /// The budget only records, and is spent.
    Unpaid,
    /// The epoch it was taken in, and the price.
    Balance(u64, u64),
    Floor(Charge),
}

/// What an extra attempt costs after a failure of this kind.
fn price(kind: FailureKind) -> u64 {
    match kind {
        // A retry of a shed call is load on a server that has too much.
        FailureKind::Throttled => 5,
        _ => 1,
    }
}

/// Whether [retry throttling](super::Builder::retry_throttling) counts this outcome: a
/// failure that another attempt may mend, or whose server wants none.
#[cfg(feature = "tokio")]
fn takes_token(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Failure {
            retry_after: Some(NEVER),
            ..
        } => true,
        Outcome::Failure { kind, .. } => {
            !matches!(kind, FailureKind::Permanent | FailureKind::Slow)
        }
        Outcome::Success | Outcome::Ignore => false,
    }
}

impl Budget {
    /// Counts an attempt whose outcome is a failure.
    #[cfg(feature = "tokio")]
    pub(crate) fn attempt_failed(&self, outcome: Outcome) {
        if takes_token(outcome) {
            self.on_failure();
        }
    }

    /// Takes one extra attempt at the price of 1: a hedge, or a retry after a failure that is not
    /// throttling. None if the budget is spent: the balance is short, and so is the floor.
    ///
    /// ```
    /// # fn call() -> Result<u32, ()> { Err(()) }
    /// let budget = seawall::Budget::percent(10);
    /// let mut answer = call();
    /// if answer.is_err() {
    ///     if let Some(withdrawal) = budget.withdraw() {
    ///         withdrawal.spend();
    ///         answer = call();
    ///     }
    /// }
    /// # let _ = answer;
    /// ```
    pub fn withdraw(&self) -> Option<Withdrawal> {
        self.withdraw_at(1)
    }

    /// Takes one extra attempt after a failure of this kind: at the price of 5 after
    /// [`FailureKind::Throttled`], and of 1 after any other. None if the budget is spent. Nothing
    /// is taken from the floor after throttling: the floor is for services with little traffic,
    /// and a service that says that it has too much needs no extra attempts.
    pub fn withdraw_after(&self, kind: FailureKind) -> Option<Withdrawal> {
        self.on_failure();
        self.withdraw_at(price(kind))
    }

    /// The same, with what the failure has taken from retry throttling.
    #[cfg(feature = "tokio")]
    pub(crate) fn charge(&self, kind: FailureKind) -> (Charged, Option<Withdrawal>) {
        let charged = Charged(self.throttle().map_or(0, |(throttle, _)| throttle.fail()));
        (charged, self.withdraw_at(price(kind)))
    }

    /// The policy around this one counts the failure too: what it took here is given back.
    #[cfg(feature = "tokio")]
    pub(crate) fn uncharge(&self, charged: Charged) {
        if let Some((throttle, most)) = self.throttle() {
            throttle.succeed(charged.0, most);
        }
    }

    fn withdraw_at(&self, price: u64) -> Option<Withdrawal> {
        let source = self.take(price)?;
        Some(Withdrawal {
            budget: self.clone(),
            source,
            made: false,
        })
    }

    fn take(&self, price: u64) -> Option<Source> {
        let (mode, now) = (self.mode(), time::now());
        let taken = match (mode, self.throttle()) {
            (Mode::Off, _) => Some(Source::Nothing),
            (_, Some((throttle, most))) => throttle.admits(most).then_some(Source::Nothing),
            (_, None) => match self.0.account.withdraw(now, self.terms(), price) {
                Some(epoch) => Some(Source::Balance(epoch, price)),
                None if price > 1 => None,
                None => self.0.floor.take(now, now, 1, now).ok().map(Source::Floor),
            },
        };
        if taken.is_none() {
            self.0.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        taken.or((mode == Mode::RecordOnly).then_some(Source::Unpaid))
    }
}

impl Withdrawal {
    /// The attempt is made.
    pub fn spend(mut self) {
        self.send();
    }

    /// The attempt is made, and may still be rejected by a layer below.
    pub(crate) fn send(&mut self) {
        self.made = true;
        self.budget.0.made.fetch_add(1, Ordering::Relaxed);
    }

    /// A layer below rejected the attempt: it was not made, and is given back.
    #[cfg(feature = "tokio")]
    pub(crate) fn rejected(mut self) {
        self.made = false;
        self.budget.0.made.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a budget that is enforced would have suppressed the attempt.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_unpaid(&self) -> bool {
        matches!(self.source, Source::Unpaid)
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        let shared = &self.budget.0;
        match self.source {
            _ if self.made => {}
            Source::Nothing | Source::Unpaid => {}
            Source::Balance(taken, price) => {
                let terms = self.budget.terms();
                shared.account.give_back(time::now(), terms, taken, price);
            }
            Source::Floor(charge) => shared.floor.cancel(&charge),
        }
    }
}

/// What a successful call deposits, until it is known that it is one.
#[cfg(feature = "tower")]
#[derive(Debug)]
pub(crate) struct Deposit {
    budget: Budget,
    successes: u32,
}

#[cfg(feature = "tower")]
impl Deposit {
    pub(crate) fn of(successes: u32, budget: &Budget) -> Self {
        let budget = budget.clone();
        Self { budget, successes }
    }

    /// The call has ended: a success is deposited, and nothing otherwise.
    pub(crate) fn judge(self, outcome: Outcome) {
        match outcome {
            Outcome::Success => (0..self.successes).for_each(|_| self.budget.on_success()),
            failed => self.budget.attempt_failed(failed),
        }
    }
}
