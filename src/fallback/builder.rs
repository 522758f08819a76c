use std::time::Duration;

use super::state::Settings;
use crate::common::{Options, option_setters};
#[cfg(feature = "serde")]
use crate::config::ConfigError;
use crate::macros::setters;
use crate::outcome::FailureKind;

/// Builds a [`Fallback`](super::Fallback), or changes one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(super) options: Options,
    pub(super) settings: Settings,
}

impl Builder {
    pub(super) fn new(options: Options) -> Self {
        let settings = Settings::default();
        Self { options, settings }
    }

    option_setters!();

    setters! {
        /// How many calls of the fallback run at once: from 1 to a million, by default 64. A call
        /// above it gets its own failure at once. A [`value`](super::value) needs no permit.
        limit(limit: u32) => settings.limit = limit;

        /// How long one call of the fallback may take, by default 1 s, and at most until the deadline
        /// in force. The call gets its own failure then.
        timeout(timeout: Duration) => settings.timeout = timeout;

        /// Which failures the fallback answers. The default is every kind. With none, it answers
        /// rejections only.
        ///
        /// ```
        /// use seawall::classify::FailureKind;
        /// use seawall::fallback::Fallback;
        ///
        /// let fallback = Fallback::builder().failures([FailureKind::Timeout, FailureKind::Unsent]);
        /// # fallback.build()?;
        /// # Ok::<_, seawall::ConfigError>(())
        /// ```
        failures(kinds: impl IntoIterator<Item = FailureKind>) => settings.failures = Some(kinds.into_iter().collect());

        /// Whether the fallback answers calls that a policy below has rejected before they were made.
        /// The default is yes.
        rejections(rejections: bool) => settings.rejections = rejections;
    }

    #[cfg(feature = "serde")]
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.settings.check(&self.options.name)
    }

    /// The defaults. The options stay, and so do the kinds of failures.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self) -> Self {
        let settings = Settings {
            failures: self.settings.failures,
            ..Settings::default()
        };
        Self { settings, ..self }
    }

    /// Whether all but name and listeners is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.settings == other.settings && self.options.mode == other.options.mode
    }
}
