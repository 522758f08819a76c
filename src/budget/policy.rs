use std::panic::Location;

use super::builder::{Builder, Config};
use super::state::{Account, Earns, ONE, Terms, Throttle};
use crate::common::{Common, Options, listed};
use crate::config::{ConfigError, Live, Mode, Name, PolicyKind};
use crate::context::CallContext;
use crate::macros::{debug_fields, from_ref};
use crate::policy_id;
#[cfg(feature = "tokio")]
use crate::policy_id::PolicyId;
use crate::rate_limit::Bucket;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::time;

/// How many attempts beyond the first all callers together may make.
///
/// A handle: clones are the same budget. Share one between the retries and hedges of a stack.
#[derive(Clone)]
pub struct Budget(pub(super) Arc<Shared>);

pub(super) struct Shared {
    common: Common,
    config: Live<Config>,
    /// Copies of the configuration that a deposit reads: it comes from a call that keeps the
    /// configuration of its retry or hedge, not the budget's. Each publishes nothing but itself:
    /// relaxed.
    terms: AtomicU64,
    /// The most tokens of retry throttling; zero if that is off.
    max_tokens: AtomicU64,
    throttle: Throttle,
    pub(super) account: Account,
    /// Where an attempt is taken from when the balance is short.
    pub(super) floor: Bucket,
    /// Held while the copies are written, so that the last writer writes the last configuration.
    copying: Mutex<()>,
    /// Counts, nothing but themselves: relaxed.
    pub(super) made: AtomicU64,
    pub(super) suppressed: AtomicU64,
}

impl Budget {
    /// Extra attempts of `percent` of all successes; above 100 is 100. The other numbers are the
    /// [defaults](super#defaults).
    #[track_caller]
    pub fn percent(percent: u8) -> Self {
        let ratio = f64::from(percent.min(100)) / 100.0;
        Self::builder().ratio(ratio).assemble()
    }

    /// Starts a budget with the [defaults](super#defaults).
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(Options::at(PolicyKind::Budget, Location::caller()))
    }

    pub(super) fn new(options: Options, config: Config) -> Self {
        let (now, terms) = (time::now(), config.terms());
        let floor = Bucket::new(now, config.floor());
        // It starts empty, so that it gives nothing before its first second has passed.
        let _ = floor.take(now, now, 1, now);
        Self(policy_id::add(|registration| Shared {
            common: Common::new(options, registration),
            terms: AtomicU64::new(terms.word()),
            max_tokens: AtomicU64::new(config.max_tokens.unwrap_or(0).into()),
            throttle: Throttle::full(config.max_tokens.unwrap_or(0).into()),
            account: Account::new(now, terms),
            floor,
            config: Live::new(config),
            copying: Mutex::default(),
            made: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }))
    }

    /// The budget's name.
    pub fn name(&self) -> &Name {
        self.0.common.name()
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.0.common.mode()
    }

    /// Enforces, only records, or switches off.
    pub fn set_mode(&self, mode: Mode) {
        self.0.common.set_mode(mode);
    }

    /// Changes the ratio, from 0 to 1, kept to the thousandth. The balance stays.
    ///
    /// # Errors
    /// If the ratio is not from 0 to 1. Nothing has changed then.
    pub fn set_ratio(&self, ratio: f64) -> Result<(), ConfigError> {
        self.change(|now| now.ratio(ratio))
    }

    /// Changes the budget while calls run. `change` gets a builder with the current configuration,
    /// and runs again if another change came first. The name and the balance stay.
    ///
    /// # Errors
    /// With every problem of the new configuration. Nothing has changed then.
    ///
    /// ```
    /// let budget = seawall::Budget::percent(10);
    /// budget.change(|now| now.ratio(0.2).burst(20))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        self.common().change(&self.0.config, |options, now| {
            let next = change(Builder::from_config(options, *now));
            Ok((next.options.mode, next.checked()?))
        })?;
        self.copy_config();
        Ok(())
    }

    fn copy_config(&self) {
        let _copying = self.0.copying.lock();
        let config = self.0.config.load();
        self.0.terms.store(config.terms().word(), Ordering::Relaxed);
        let tokens = config.max_tokens.unwrap_or(0);
        if self.0.max_tokens.swap(tokens.into(), Ordering::Relaxed) == 0 {
            self.0.throttle.fill(tokens.into());
        }
        self.0.floor.change(time::now(), config.floor());
    }

    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn id(&self) -> PolicyId {
        self.common().id().expect("every budget has an id")
    }

    /// The budget with this id, while there is a handle to it.
    #[cfg(feature = "tokio")]
    pub(crate) fn find(id: PolicyId) -> Option<Self> {
        policy_id::find(id).map(Self)
    }

    fn common(&self) -> &Common {
        &self.0.common
    }

    /// The configuration and the counts. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let terms = self.terms();
        #[allow(clippy::cast_precision_loss)] // For reading; 40 bits fit.
        let balance = match self.throttle() {
            Some((throttle, most)) => throttle.tokens(most),
            None => self.0.account.balance(time::now(), terms),
        } as f64
            / ONE as f64;
        #[allow(clippy::cast_precision_loss)]
        let ratio = terms.ratio() as f64 / ONE as f64;
        let burst = match self.throttle() {
            Some((_, most)) => most,
            None => terms.burst() / ONE,
        };
        Snapshot {
            balance,
            burst: u32::try_from(burst).unwrap_or(u32::MAX),
            ratio,
            mode: self.mode(),
            made: self.0.made.load(Ordering::Relaxed),
            suppressed: self.0.suppressed.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(super) fn terms(&self) -> Terms {
        Terms::from_word(self.0.terms.load(Ordering::Relaxed))
    }

    /// The tokens of retry throttling and the most of them, if that is on.
    #[inline]
    pub(super) fn throttle(&self) -> Option<(&Throttle, u64)> {
        let most = self.0.max_tokens.load(Ordering::Relaxed);
        (most > 0).then_some((&self.0.throttle, most))
    }

    /// Adds the ratio for an original call, where [calls](super::Refill::Calls) add to the budget. A call
    /// inside an attempt of a retry or hedge adds nothing, so that layers do not multiply.
    ///
    /// Retries and hedges call this themselves; it is for loops of your own.
    #[inline]
    pub fn on_call(&self) {
        self.add(false, true);
    }

    /// Adds the ratio for an original call that has succeeded, at any attempt, where
    /// [successes](super::Refill::Successes) add to the budget, which is the default.
    ///
    /// Retries and hedges call this themselves; it is for loops of your own.
    #[inline]
    pub fn on_success(&self) {
        self.add(true, false);
    }

    /// Adds for a call if it is a `success`, and if it is an original `call` that was not added.
    #[inline]
    pub(crate) fn add(&self, success: bool, call: bool) {
        let terms = self.terms();
        let adds = match terms.earns() {
            Earns::BySuccesses => success,
            Earns::ByCalls => call,
            Earns::Tokens => return self.give_tokens(terms, success),
        };
        if adds {
            self.deposit(terms);
        }
    }

    #[cold]
    fn give_tokens(&self, terms: Terms, success: bool) {
        if success && CallContext::attempt() == 0 {
            if let Some((throttle, most)) = self.throttle() {
                throttle.succeed(terms.ratio(), most);
            }
        }
    }

    /// Takes a token for an attempt that has failed, where
    /// [retry throttling](Builder::retry_throttling) is on. [`withdraw_after`](Self::withdraw_after)
    /// has done so for the failure that it is called with.
    ///
    /// Retries and hedges call this themselves; it is for loops of your own.
    #[inline]
    pub fn on_failure(&self) {
        if let Some((throttle, _)) = self.throttle() {
            throttle.fail();
        }
    }

    /// With an old reading of the clock, the deposit belongs to the epoch before and is cut with
    /// it: the balance is lower than it could be, never higher.
    #[inline]
    fn deposit(&self, terms: Terms) {
        if CallContext::attempt() == 0 {
            self.0.account.deposit(time::recent(), terms);
        }
    }
}

impl Builder {
    /// Builds the budget. Its balance starts with the burst.
    ///
    /// # Errors
    /// With every problem of the configuration.
    pub fn build(self) -> Result<Budget, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    pub(super) fn checked(self) -> Result<Config, ConfigError> {
        self.check()?;
        Ok(self.config)
    }

    pub(super) fn assemble(self) -> Budget {
        Budget::new(self.options, self.config)
    }
}

listed!(Budget, Shared);

from_ref!(Budget);

debug_fields!(Budget, this: name = this.name(), balance = this.snapshot().balance,
    ratio = this.snapshot().ratio);

/// What a [`Budget`] is configured with and what it has done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The attempts that are available now, without those of the floor. With
    /// [retry throttling](Builder::retry_throttling) the tokens that are left.
    pub balance: f64,
    /// The [burst](Builder::burst), which is the balance of an unused budget. With retry throttling
    /// the most tokens.
    pub burst: u32,
    /// Extra attempts per deposit.
    pub ratio: f64,
    /// The mode.
    pub mode: Mode,
    /// Extra attempts made so far.
    pub made: u64,
    /// Extra attempts that were not made because the budget was spent, or in
    /// [`Mode::RecordOnly`] would not have been made.
    pub suppressed: u64,
}
