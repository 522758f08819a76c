mod builder;
mod call;

use std::fmt;
use std::time::Duration;

use super::quantile::{LONGEST, Latencies, Wanted};
use crate::budget::Budget;
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::event::{Event, EventKind, Listeners, Subscription};
use crate::keyed::Idle;
use crate::sync::{Arc, AtomicU64, OnceLock, Ordering};
use crate::time::{self, Tick, nanos};

pub use builder::Builder;
pub(super) use call::Call;

/// An extra attempt for calls that take longer than most.
///
/// A handle: clones are the same hedge. See the [module](crate::hedge) for what it does and for
/// its defaults.
#[derive(Clone)]
pub struct Hedge(Arc<Shared>);

struct Shared {
    name: Name,
    /// [`Setting`]. Read by every call, written by changes. Nothing but itself: relaxed.
    setting: AtomicU64,
    /// In nanoseconds. Nothing but itself, as is the next: relaxed.
    min_delay: AtomicU64,
    min_samples: AtomicU64,
    window: Duration,
    /// Not there before a quantile is asked for.
    latencies: OnceLock<Latencies>,
    budget: Budget,
    /// Whether it was asked for: if not, that of the attempt a call runs in goes before it.
    budget_given: bool,
    counts: Counts,
    listeners: Listeners,
}

/// Nothing but themselves: relaxed.
#[derive(Default)]
struct Counts {
    made: AtomicU64,
    won: AtomicU64,
    suppressed: AtomicU64,
    would_hedge: AtomicU64,
}

/// When the next attempt begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    /// After this.
    Fixed(Duration),
    /// After this share of calls has come back.
    Quantile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Setting {
    when: When,
    max_extra: u32,
    mode: Mode,
}

/// 104 days: what the setting's word holds.
const LONGEST_DELAY: u64 = (1 << 53) - 1;

/// Shares are kept to the millionth.
const MILLION: f64 = 1e6;

/// More than anybody needs, and less than its bits hold.
const MOST_EXTRA: u32 = 16;

impl Setting {
    /// `[delay, ns, or quantile, millionths: 53 bits][is a quantile][max extra: 8 bits][mode: 2 bits]`
    fn pack(self) -> u64 {
        let (value, is_quantile) = match self.when {
            When::Fixed(delay) => (nanos(delay).min(LONGEST_DELAY), 0),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to a million.
            When::Quantile(quantile) => ((quantile * MILLION).round() as u64, 1),
        };
        value << 11 | is_quantile << 10 | u64::from(self.max_extra) << 2 | self.mode.to_bits()
    }

    fn unpack(word: u64) -> Self {
        let value = word >> 11;
        let when = match Self::is_by_quantile(word) {
            false => When::Fixed(Duration::from_nanos(value)),
            true => When::Quantile(Self::quantile_of(word)),
        };
        Self {
            when,
            max_extra: Self::max_extra_of(word),
            mode: Mode::from_bits(word),
        }
    }

    /// The quantile of what is packed here, if it has one.
    #[allow(clippy::cast_precision_loss)] // At most a million.
    fn quantile_of(word: u64) -> f64 {
        (word >> 11) as f64 / MILLION
    }

    /// Whether what is packed here has a quantile.
    #[inline]
    fn is_by_quantile(word: u64) -> bool {
        word >> 10 & 1 == 1
    }

    /// The most extra attempts of what is packed here.
    #[inline]
    fn max_extra_of(word: u64) -> u32 {
        (word >> 2 & 0xFF) as u32
    }

    fn check(self, problems: &mut Problems) {
        if let When::Quantile(quantile) = self.when {
            let holds = (0.000_001..=0.999_999).contains(&quantile);
            problems.check(
                holds,
                "quantile",
                quantile,
                "above 0 and below 1, to the millionth",
            );
        }
        let holds = (1..=MOST_EXTRA).contains(&self.max_extra);
        problems.check(holds, "max_extra", self.max_extra, "from 1 to 16");
    }
}

impl Hedge {
    /// A hedge whose extra attempt begins `delay` after the call, named after the place of this
    /// call.
    #[track_caller]
    pub fn fixed(delay: Duration) -> Self {
        Self::builder().delay(delay).assemble()
    }

    /// Starts a hedge; by default it begins its one extra attempt when a call has taken longer
    /// than 95 % of those of the last 30 s.
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(std::panic::Location::caller())
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The budget that its extra attempts are taken from, unless they run inside another
    /// attempt and it was not given one.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// After how long the extra attempt of a call that is made now begins; none where nothing
    /// is hedged, because too few calls have come back, or the quantile is above what is
    /// tracked.
    pub fn delay(&self) -> Option<Duration> {
        self.delay_of(time::now(), self.0.setting.load(Ordering::Relaxed))
    }

    /// Whether it may be forgotten: it has no latency in its window, its own budget owes nothing,
    /// and nobody else has a handle.
    pub(crate) fn idle(&self) -> Idle {
        if Arc::strong_count(&self.0) > 1 {
            return Idle::No;
        }
        let seen = match self.0.latencies.get() {
            Some(latencies) => latencies.samples(time::now()),
            None => (0, 0),
        };
        match (seen, self.0.budget_given) {
            ((0, 0), true) => Idle::Fresh,
            ((0, 0), false) => self.0.budget.idle(),
            _ => Idle::No,
        }
    }

    /// What it is set to and what it has done. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let setting = self.0.setting.load(Ordering::Relaxed);
        let Setting {
            when,
            max_extra,
            mode,
        } = Setting::unpack(setting);
        let now = time::now();
        let latencies = self.0.latencies.get();
        let (samples, cut_short) = latencies.map_or((0, 0), |latencies| latencies.samples(now));
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Snapshot {
            mode,
            quantile: match when {
                When::Fixed(_) => None,
                When::Quantile(quantile) => Some(quantile),
            },
            delay: self.delay_of(now, setting),
            max_extra,
            samples,
            cut_short,
            made: load(&self.0.counts.made),
            won: load(&self.0.counts.won),
            suppressed: load(&self.0.counts.suppressed),
            would_hedge: load(&self.0.counts.would_hedge),
        }
    }

    /// Whether it is enforced.
    pub fn mode(&self) -> Mode {
        self.setting().mode
    }

    /// Enforces, only records, or switches off, for calls that start from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.change(|setting| Setting { mode, ..setting });
    }

    /// Hedges calls that start from now on after `delay`.
    pub fn set_delay(&self, delay: Duration) {
        let when = When::Fixed(delay);
        self.change(|setting| Setting { when, ..setting });
    }

    /// Hedges calls that start from now on after this share of calls has come back, kept to the
    /// millionth. A hedge that had a fixed delay knows no latencies yet.
    ///
    /// # Errors
    /// If it is not above 0 and below 1; nothing changes then.
    pub fn set_quantile(&self, quantile: f64) -> Result<(), ConfigError> {
        let when = When::Quantile(quantile);
        self.try_change(|setting| Setting { when, ..setting })?;
        self.latencies().forget_found();
        Ok(())
    }

    /// Changes how many extra attempts a call that starts from now on may have.
    ///
    /// # Errors
    /// If it is not from 1 to 16; nothing changes then.
    pub fn set_max_extra(&self, max_extra: u32) -> Result<(), ConfigError> {
        self.try_change(|setting| Setting {
            max_extra,
            ..setting
        })
    }

    /// Changes the least delay that comes of a quantile.
    ///
    /// # Errors
    /// If it is above 10 s; nothing changes then.
    pub fn set_min_delay(&self, min_delay: Duration) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        builder::check_min_delay(min_delay, &mut problems);
        problems.finish(&self.0.name)?;
        let nanos = nanos(min_delay);
        self.0.min_delay.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// Changes from how many calls in the window on their quantile is used.
    ///
    /// # Errors
    /// If it is 0; nothing changes then.
    pub fn set_min_samples(&self, min_samples: u32) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        builder::check_min_samples(min_samples, &mut problems);
        problems.finish(&self.0.name)?;
        let word = &self.0.min_samples;
        word.store(min_samples.into(), Ordering::Relaxed);
        if let Some(latencies) = self.0.latencies.get() {
            latencies.forget_found();
        }
        Ok(())
    }

    /// Calls `listener` for every event of this hedge until the subscription is dropped.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.listeners.add(listener)
    }

    fn setting(&self) -> Setting {
        Setting::unpack(self.0.setting.load(Ordering::Relaxed))
    }

    fn try_change(&self, to: impl Fn(Setting) -> Setting) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        to(self.setting()).check(&mut problems);
        problems.finish(&self.0.name)?;
        self.change(to);
        Ok(())
    }

    fn change(&self, to: impl Fn(Setting) -> Setting) {
        let word = &self.0.setting;
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(to(Setting::unpack(word)).pack())
        });
    }

    fn latencies(&self) -> &Latencies {
        let window = self.0.window;
        (self.0.latencies).get_or_init(|| Latencies::new(window))
    }

    fn min_delay(&self) -> Duration {
        Duration::from_nanos(self.0.min_delay.load(Ordering::Relaxed))
    }

    /// The delay by a setting, packed.
    #[inline]
    fn delay_of(&self, now: Tick, setting: u64) -> Option<Duration> {
        if !Setting::is_by_quantile(setting) {
            return Some(Duration::from_nanos(setting >> 11));
        }
        // What it takes to look anew is put together only then.
        let wanted = || Wanted {
            quantile: Setting::quantile_of(setting),
            min_samples: self.0.min_samples.load(Ordering::Relaxed),
        };
        let found = self.latencies().recent(now, wanted)?;
        Some(found.max(self.min_delay()))
    }

    fn emit(&self, kind: EventKind<'_>) {
        self.0.listeners.emit(&self.0.name, kind);
    }
}

impl From<&Hedge> for Hedge {
    fn from(hedge: &Hedge) -> Self {
        hedge.clone()
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = self.setting();
        f.debug_struct("Hedge")
            .field("name", &self.0.name)
            .field("when", &setting.when)
            .field("max_extra", &setting.max_extra)
            .field("mode", &setting.mode)
            .finish_non_exhaustive()
    }
}

/// What a [`Hedge`] is set to and what it has done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whether it is enforced.
    pub mode: Mode,
    /// The share of calls after which it hedges; none with a fixed delay.
    pub quantile: Option<f64>,
    /// As [`Hedge::delay`].
    pub delay: Option<Duration>,
    /// Extra attempts of one call at most.
    pub max_extra: u32,
    /// Latencies in the window that were seen to their end.
    pub samples: u64,
    /// Latencies in the window that were cut short, and are known to be longer.
    pub cut_short: u64,
    /// Extra attempts made so far.
    pub made: u64,
    /// Extra attempts whose success was returned.
    pub won: u64,
    /// Extra attempts that were not made because the budget was spent.
    pub suppressed: u64,
    /// Extra attempts that would have been made, in [`Mode::RecordOnly`].
    pub would_hedge: u64,
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
