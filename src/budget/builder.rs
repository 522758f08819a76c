use super::state::{Earns, Terms};
use crate::common::Options;
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::macros::setters;
use crate::rate_limit::Quota;

/// Builds a [`Budget`](super::Budget), or changes one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(super) options: Options,
    pub(super) config: Config,
}

/// One of three replicas that answers every call by an error needs 0.46.
pub(crate) const RATIO: f64 = 0.5;

impl Builder {
    pub(super) fn new(options: Options) -> Self {
        Self::from_config(options, Config::default())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.config.check(&self.options.name)
    }

    /// The defaults. The options stay.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self) -> Self {
        Self::from_config(self.options, Config::default())
    }

    /// Whether all but the name is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.config == other.config && self.options.mode == other.options.mode
    }

    /// What it adds for each deposit.
    #[cfg(feature = "tower")]
    pub(crate) fn ratio_in_force(&self) -> f64 {
        self.config.ratio
    }

    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.options.mode
    }

    /// Its numbers as text.
    #[cfg(feature = "tower")]
    pub(crate) fn text(&self) -> String {
        let (ratio, burst) = (self.config.ratio, self.config.burst);
        let per = match (self.config.max_tokens, self.config.refill) {
            (Some(most), _) => {
                return format!("retry throttling, {most} tokens, {ratio} per success");
            }
            (None, Refill::Calls) => "call",
            (None, Refill::Successes) => "success",
        };
        format!("{ratio} extra attempts per {per}, burst {burst}")
    }

    pub(super) fn from_config(options: Options, config: Config) -> Self {
        Self { options, config }
    }

    setters! {
        /// Sets the name. The default is `budget@` and the call site of the builder.
        name(name: impl Into<Name>) => options.name = name.into();

        /// Sets the mode. The default is [`Mode::Enforce`].
        mode(mode: Mode) => options.mode = mode;

        /// Extra attempts per [deposit](Self::refill), 0 to 1, kept to the thousandth. The default is
        /// 0.5.
        ratio(ratio: f64) => config.ratio = ratio;

        /// How many attempts are available at the start, and kept besides the deposits of the last 4 to
        /// 8 s. The default is 10, the most 1,000,000.
        burst(burst: u32) => config.burst = burst;

        /// How many attempts a second are available when the balance is short, at the price of 1. The
        /// default is 0, none: every extra attempt is paid by successes or by the burst.
        floor(per_second: u32) => config.floor = per_second;
    }

    /// Throttles by the [retry design of gRPC](super#retry-throttling-of-grpc) instead: there are
    /// at most `max_tokens`, 1 to 1,000; each failure takes one, each success gives `token_ratio`,
    /// 0 to 1, and no extra attempt is made while no more than half are left. An extra attempt
    /// costs nothing. Burst, floor and refill have no effect then. The default is off.
    ///
    /// ```
    /// // As `"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}` of a service config.
    /// let budget = seawall::Budget::builder().retry_throttling(10, 0.1).build()?;
    /// assert_eq!(budget.snapshot().balance, 10.0);
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn retry_throttling(mut self, max_tokens: u32, token_ratio: f64) -> Self {
        self.config.max_tokens = Some(max_tokens);
        self.config.ratio = token_ratio;
        self
    }

    /// What adds to the budget. The default is every success.
    pub fn refill(mut self, refill: Refill) -> Self {
        self.config.refill = refill;
        self
    }
}

/// What adds to a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refill {
    /// Every original call that returns, whatever its outcome, before its first extra attempt. A
    /// call that is dropped before adds nothing.
    Calls,
    /// Every original call that has succeeded: during an outage only what was saved remains, and
    /// the floor.
    #[default]
    Successes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) ratio: f64,
    pub(super) burst: u32,
    pub(super) floor: u32,
    pub(super) refill: Refill,
    /// Of retry throttling, which is on with it.
    pub(super) max_tokens: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ratio: RATIO,
            burst: 10,
            floor: 0,
            refill: Refill::default(),
            max_tokens: None,
        }
    }
}

/// The balance's word has room for no more.
const MOST_BURST: u32 = 1_000_000;

impl Config {
    pub(super) fn check(&self, name: &Name) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        let ratio = (0.0..=1.0).contains(&self.ratio);
        problems.check(ratio, "ratio", self.ratio, "0 to 1");
        let allowed = format!("at most {MOST_BURST}");
        problems.check(self.burst <= MOST_BURST, "burst", self.burst, allowed);
        let tokens = self.max_tokens;
        let right = tokens.is_none_or(|tokens| (1..=1_000).contains(&tokens));
        problems.check(right, "max_tokens", tokens, "1 to 1,000");
        problems.finish(name)
    }

    pub(super) fn terms(&self) -> Terms {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Checked: 0 to 1,000.
        let thousandths = (self.ratio * 1_000.0).round() as u64;
        let terms = Terms::new(thousandths, self.burst);
        terms.earning(match (self.max_tokens, self.refill) {
            (Some(_), _) => Earns::Tokens,
            (None, Refill::Calls) => Earns::ByCalls,
            (None, Refill::Successes) => Earns::BySuccesses,
        })
    }

    /// One attempt at a time: what the floor does not give it does not save up.
    pub(super) fn floor(&self) -> Quota {
        Quota::per_second(self.floor).burst(1)
    }
}
