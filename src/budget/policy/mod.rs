mod builder;
mod leave;

use std::fmt;
use std::panic::Location;

use super::state::{Account, ONE};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::context::CallContext;
#[cfg(feature = "tokio")]
use crate::context::ClockReading;
use crate::keyed::Idle;
use crate::rate_limit::{Bucket, Quota};
use crate::registry::Registry;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{self, Tick};

use crate::registry::PolicyId;
pub use builder::Builder;
#[cfg(feature = "tokio")]
pub(crate) use leave::Sent;
use leave::Source;
pub use leave::Withdrawal;

/// How many attempts beyond the first all callers together may make.
///
/// A handle: clones are the same budget. Share one between the retries and hedges of a stack.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

static REGISTRY: Registry<Shared> = Registry::new();

struct Shared {
    name: Name,
    number: PolicyId,
    /// [`Terms`]. Read by every call, written by changes. Nothing but itself: relaxed.
    terms: AtomicU64,
    refill: Refill,
    account: Account,
    /// Asked when the balance is short.
    floor: Bucket,
    /// Counts, nothing but themselves: relaxed.
    made: AtomicU64,
    suppressed: AtomicU64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        REGISTRY.remove(self.number);
    }
}

/// What adds to a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refill {
    /// Every original call.
    #[default]
    Calls,
    /// Every success: an outage then leaves only burst and floor.
    Successes,
}

/// `[burst: 32 bits, attempts][ratio: 16 bits, thousandths][mode: 2 bits]`
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms(u64);

impl Terms {
    pub(super) fn new(ratio: u64, burst: u32, mode: Mode) -> Self {
        Self(u64::from(burst) << 32 | ratio << 2 | mode.to_bits())
    }

    /// In thousandths of an attempt.
    pub(super) fn ratio(self) -> u64 {
        self.0 >> 2 & 0xFFFF
    }

    /// In thousandths of an attempt.
    pub(super) fn burst(self) -> u64 {
        (self.0 >> 32) * ONE
    }

    fn mode(self) -> Mode {
        Mode::from_bits(self.0)
    }
}

/// More is kept as this: the balance's word has room for it.
const MOST_BURST: u32 = 1_000_000;

impl Budget {
    /// Extra attempts of `percent` of all calls; above 100 is 100. A burst of 10, and a floor of
    /// 1 a second.
    #[track_caller]
    pub fn percent(percent: u8) -> Self {
        let ratio = f64::from(percent.min(100)) / 100.0;
        Self::builder().ratio(ratio).assemble()
    }

    /// Starts a budget with numbers of your own; the defaults are 10 %, a burst of 10 and a
    /// floor of 1 a second.
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(Location::caller())
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Whether it may be forgotten: what a new one would start with is there, or nobody has used
    /// it for so long that the floor has given as much.
    pub(crate) fn idle(&self) -> Idle {
        if Arc::strong_count(&self.0) > 1 {
            return Idle::No;
        }
        let (now, terms) = (time::now(), self.terms());
        let idle = self.0.account.idle(now);
        let given = self.0.floor.rate() * idle.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // At most a million attempts.
        let burst = (terms.burst() / ONE) as f64;
        let balance = self.0.account.balance(now, terms);
        match balance >= terms.burst() || given >= burst {
            true => Idle::Fresh,
            false => Idle::No,
        }
    }

    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn number(&self) -> PolicyId {
        self.0.number
    }

    /// The budget with this number, if anybody still has it.
    pub(crate) fn numbered(number: PolicyId) -> Option<Self> {
        REGISTRY.find(number).map(Self)
    }

    /// What it is set to and what it has done. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let terms = self.terms();
        #[allow(clippy::cast_precision_loss)] // For reading; 40 bits fit.
        let balance = self.0.account.balance(time::now(), terms) as f64 / ONE as f64;
        #[allow(clippy::cast_precision_loss)]
        let ratio = terms.ratio() as f64 / ONE as f64;
        Snapshot {
            balance,
            ratio,
            mode: terms.mode(),
            made: self.0.made.load(Ordering::Relaxed),
            suppressed: self.0.suppressed.load(Ordering::Relaxed),
        }
    }

    /// Whether it is enforced.
    pub fn mode(&self) -> Mode {
        self.terms().mode()
    }

    /// Enforces, only records, or switches off.
    pub fn set_mode(&self, mode: Mode) {
        self.change(|terms| terms & !3 | mode.to_bits());
    }

    /// Changes the ratio (0 to 1), kept to the thousandth. What is in the balance stays.
    ///
    /// # Errors
    /// If it is not a number from 0 to 1; nothing changes then.
    pub fn set_ratio(&self, ratio: f64) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        check_ratio(ratio, &mut problems);
        problems.finish(&self.0.name)?;
        self.change(|terms| terms & !(0xFFFF << 2) | thousandths(ratio) << 2);
        Ok(())
    }

    /// Changes how many attempts are kept over an epoch; above 1,000,000 is that.
    pub fn set_burst(&self, burst: u32) {
        let burst = u64::from(burst.min(MOST_BURST));
        self.change(|terms| terms & 0xFFFF_FFFF | burst << 32);
    }

    /// Changes how many attempts a second there are when the balance is short.
    pub fn set_floor(&self, per_second: u32) {
        self.0.floor.change(time::now(), floor(per_second));
    }

    #[inline]
    fn terms(&self) -> Terms {
        Terms(self.0.terms.load(Ordering::Relaxed))
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        let terms = &self.0.terms;
        let _ = terms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |terms| {
            Some(to(terms))
        });
    }

    /// An original call is made: adds its ratio, unless it is itself an attempt of somebody
    /// further up: layers do not multiply what they earn.
    ///
    /// Retries and hedges call it by themselves; this is for loops of your own.
    #[inline]
    pub fn on_call(&self) {
        if self.0.refill == Refill::Calls {
            self.deposit(time::recent);
        }
    }

    /// As [`on_call`](Self::on_call), by a layer that may know the time of the call.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn on_call_at(&self, clock: &ClockReading) {
        if self.0.refill == Refill::Calls {
            self.deposit(|| clock.recent());
        }
    }

    /// An original call has succeeded, at whichever attempt: adds its ratio where successes do.
    #[inline]
    pub fn on_success(&self) {
        if self.0.refill == Refill::Successes {
            self.deposit(time::recent);
        }
    }

    /// Of an old reading a deposit is put to the epoch before: it is cut with that, and at worst
    /// there is less than there might be.
    #[inline]
    fn deposit(&self, recent: impl FnOnce() -> Tick) {
        if CallContext::attempt() == 0 {
            self.0.account.deposit(recent(), self.terms());
        }
    }

    /// Leave for one extra attempt; none if the budget is spent. Where the balance is short, the
    /// floor is asked.
    ///
    /// ```
    /// let budget = seawall::Budget::percent(10);
    /// budget.on_call();
    /// # fn call() -> Result<u32, ()> { Err(()) }
    /// let mut answer = call();
    /// if answer.is_err() {
    ///     if let Some(leave) = budget.withdraw() {
    ///         leave.spend();
    ///         answer = call();
    ///     }
    /// }
    /// # let _ = answer;
    /// ```
    pub fn withdraw(&self) -> Option<Withdrawal> {
        let terms = self.terms();
        let now = time::now();
        let source = match terms.mode() {
            Mode::Off => Some(Source::Nothing),
            mode => {
                let source = self.0.account.withdraw(now, terms).map(Source::Balance);
                let source = source.or_else(|| {
                    let charge = self.0.floor.take(now, now, 1, now).ok()?;
                    Some(Source::Floor(charge))
                });
                if source.is_none() {
                    self.0.suppressed.fetch_add(1, Ordering::Relaxed);
                }
                match mode {
                    Mode::RecordOnly => source.or(Some(Source::Nothing)),
                    _ => source,
                }
            }
        };
        source.map(|source| Withdrawal {
            budget: self.clone(),
            source,
        })
    }
}

fn check_ratio(ratio: f64, problems: &mut Problems) {
    let holds = (0.0..=1.0).contains(&ratio);
    problems.check(holds, "ratio", ratio, "0 to 1");
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Checked: 0 to 1,000.
fn thousandths(ratio: f64) -> u64 {
    (ratio * 1_000.0).round() as u64
}

/// One at a time: what the floor does not give it does not save up.
fn floor(per_second: u32) -> Quota {
    Quota::per_second(per_second).burst(1)
}

impl From<&Budget> for Budget {
    fn from(budget: &Budget) -> Self {
        budget.clone()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        f.debug_struct("Budget")
            .field("name", &self.0.name)
            .field("balance", &snapshot.balance)
            .field("ratio", &snapshot.ratio)
            .finish_non_exhaustive()
    }
}

/// What a [`Budget`] is set to and what it has done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Attempts that may be made now, the floor's not counted.
    pub balance: f64,
    /// Extra attempts per call.
    pub ratio: f64,
    /// Whether it is enforced.
    pub mode: Mode,
    /// Extra attempts made so far.
    pub made: u64,
    /// Extra attempts that were not made, or in [`Mode::RecordOnly`] would not have been,
    /// because it was spent.
    pub suppressed: u64,
}

#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;
