//! The one clock reader, and the ticks that everything else counts in.
//!
//! In a normal build time comes from a raw counter where the platform has one (through
//! `quanta`). With the feature `test-util` it comes from `tokio::time::Instant`, so that a test
//! that pauses tokio's clock moves every policy. Durations, never instants, cross to tokio's
//! timers: the two clocks may drift apart, and a wake that is early by drift asks again.
#![allow(clippy::disallowed_methods)]

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::sync::OnceLock;

/// A reading of the clock: nanoseconds since a fixed origin before the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(pub(crate) u64);

/// Where the first reading lies. A runtime that was paused before the first reading shows
/// times before it; with the origin a day earlier they are still different from one another.
const BIAS: u64 = 24 * 3_600 * 1_000_000_000;

impl Tick {
    pub(crate) const ZERO: Self = Self(0);
    /// The instant that never comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// `self + d`, stopping at [`Tick::NEVER`].
    #[inline]
    pub(crate) fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }

    /// How long ago `earlier` was; zero if the clock has stepped back since.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    #[inline]
    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }
}

/// Whole nanoseconds, stopping at 584 years.
#[inline]
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds to a count: whole ones, and what is left in units of 2^-64. So the time is the high
/// half of one product and two sums, with no shift and no bounds to look at: everything that a call
/// does after it has read the clock waits for that.
#[cfg_attr(feature = "test-util", allow(dead_code))]
struct Scale {
    whole: u64,
    rest: u64,
}

#[cfg_attr(feature = "test-util", allow(dead_code))]
impl Scale {
    /// Of a counter of whose counts `nanos` makes nanoseconds, cut to 64 bits.
    fn of(nanos: impl Fn(u64) -> u64) -> Self {
        const FEW: u32 = 32;
        // Enough to tell what was cut from what was not: a count is below four seconds.
        let few = nanos(1 << FEW);
        let fits = |many: &u32| (nanos(1 << many) >> (many - FEW)).abs_diff(few) <= 1;
        let many = (FEW..61).rev().find(fits).unwrap_or(FEW);
        let of_one = (u128::from(nanos(1 << many).max(1)) << u64::BITS) >> many;
        Self {
            whole: (of_one >> u64::BITS) as u64,
            rest: of_one as u64,
        }
    }

    #[inline]
    fn nanos_after(&self, start: u64, counts: u64) -> u64 {
        let rest = (u128::from(counts) * u128::from(self.rest)) >> u64::BITS;
        let whole = counts.wrapping_mul(self.whole).wrapping_add(start);
        whole.wrapping_add(rest as u64)
    }
}

#[cfg(not(feature = "test-util"))]
mod reader {
    use super::{BIAS, OnceLock, Scale, Tick};

    struct Clock {
        counter: quanta::Clock,
        scale: Scale,
        /// [`BIAS`]; as a constant it would be added last, after the product.
        bias: u64,
    }

    static CLOCK: OnceLock<Clock> = OnceLock::new();

    #[inline]
    fn clock() -> &'static Clock {
        CLOCK.get_or_init(|| {
            let counter = quanta::Clock::new();
            let scale = Scale::of(|counts| counter.delta_as_nanos(0, counts));
            Clock {
                counter,
                scale,
                bias: BIAS,
            }
        })
    }

    #[inline]
    pub(super) fn now() -> Tick {
        #[cfg(all(debug_assertions, feature = "tokio"))]
        super::drift::check();
        // No counter has run for 584 years.
        let clock = clock();
        Tick(clock.scale.nanos_after(clock.bias, clock.counter.raw()))
    }

    pub(super) fn std_now() -> std::time::Instant {
        std::time::Instant::now()
    }
}

#[cfg(feature = "test-util")]
mod reader {
    use super::{BIAS, OnceLock, Tick, nanos};

    static FIRST: OnceLock<tokio::time::Instant> = OnceLock::new();

    #[inline]
    pub(super) fn now() -> Tick {
        let now = tokio::time::Instant::now();
        let first = *FIRST.get_or_init(|| now);
        Tick(match now.checked_duration_since(first) {
            Some(passed) => BIAS.saturating_add(nanos(passed)),
            None => BIAS.saturating_sub(nanos(first - now)),
        })
    }

    pub(super) fn std_now() -> std::time::Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// Reads the clock.
#[inline]
pub(crate) fn now() -> Tick {
    let now = reader::now();
    RECENT.with(|recent| recent.keep(now));
    now
}

/// What this thread last read of the clock. Read anew at the latest for every sixteenth who
/// asks, and with tokio's clock for everybody: a paused one is moved by whole epochs at once.
///
/// For what turns on seconds and where an old reading does no harm: of a thread that has
/// slept it is as old as the sleep.
#[inline]
pub(crate) fn recent() -> Tick {
    if cfg!(feature = "test-util") {
        return now();
    }
    RECENT.with(Recent::get).unwrap_or_else(now)
}

struct Recent {
    tick: Cell<Tick>,
    /// For how many more it may be told.
    left: Cell<u32>,
}

thread_local! {
    static RECENT: Recent = const { Recent { tick: Cell::new(Tick::ZERO), left: Cell::new(0) } };
}

impl Recent {
    const TIMES: u32 = 15;

    #[inline]
    fn keep(&self, now: Tick) {
        self.tick.set(now);
        self.left.set(Self::TIMES);
    }

    /// None if it is to be read anew.
    #[inline]
    fn get(&self) -> Option<Tick> {
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        Some(self.tick.get())
    }
}

/// The tick at which the clock will show `instant`.
pub(crate) fn tick_of(instant: Instant) -> Tick {
    let now = now();
    let std_now = reader::std_now();
    match instant.checked_duration_since(std_now) {
        Some(ahead) => now.after(ahead),
        None => Tick(now.0.saturating_sub(nanos(std_now - instant))),
    }
}

/// The time of day, for dates in headers. Nothing is measured with it.
#[cfg(feature = "http")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Blocks this thread until the clock shows `until`.
pub(crate) fn block_until(until: Tick) {
    loop {
        let left = until.since(now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left);
    }
}

/// Blocks this thread until the clock shows `until`, or until it is unparked; it may also return
/// for no reason.
pub(crate) fn park_until(until: Tick) {
    match until.is_never() {
        true => std::thread::park(),
        false => std::thread::park_timeout(until.since(now())),
    }
}

/// Tells a test that moves tokio's clock that the policies do not follow it (CX17).
#[cfg(all(debug_assertions, feature = "tokio", not(feature = "test-util")))]
mod drift {
    use std::time::{Duration, Instant};

    use crate::sync::OnceLock;

    static TOLD: OnceLock<()> = OnceLock::new();

    pub(super) fn check() {
        if TOLD.get().is_some() {
            return;
        }
        // Without tokio's own `test-util`, and with it while the clock runs, the two are one.
        // The real one last: a thread that is held up between the two has advanced no clock.
        let tokio = tokio::time::Instant::now().into_std();
        let real = Instant::now();
        if tokio > real + Duration::from_millis(1) {
            TOLD.get_or_init(|| {
                eprintln!(
                    "seawall: tokio's clock was advanced, but the policies read the real one. Add to \
                     Cargo.toml: [dev-dependencies] seawall = {{ version = \"*\", features = [\"test-util\"] }}"
                );
            });
        }
    }
}

#[cfg(feature = "tokio")]
pub(crate) use sleep::Sleep;

#[cfg(feature = "tokio")]
mod sleep {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use super::{Tick, now};

    pin_project_lite::pin_project! {
        /// A timer for a [`Tick`], registered with tokio when first polled.
        ///
        /// Ready only when the clock shows the tick: a timer that fires early by drift is set
        /// again. It does not take part in tokio's cooperative budget: a service that spends
        /// the whole budget in every poll would otherwise never time out.
        pub(crate) struct Sleep {
            until: Tick,
            #[pin]
            timer: Option<tokio::task::Unconstrained<tokio::time::Sleep>>,
        }
    }

    impl std::fmt::Debug for Sleep {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Sleep")
                .field("until", &self.until)
                .finish_non_exhaustive()
        }
    }

    impl Sleep {
        pub(crate) fn until(until: Tick) -> Self {
            Self { until, timer: None }
        }

        pub(crate) fn deadline(&self) -> Tick {
            self.until
        }

        /// The tick at which the timer was seen to have fired.
        pub(crate) fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Tick> {
            let mut this = self.project();
            if this.until.is_never() {
                return Poll::Pending;
            }
            loop {
                if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                let now = now();
                if now >= *this.until {
                    return Poll::Ready(now);
                }
                let timer = tokio::time::sleep(this.until.since(now));
                this.timer.set(Some(tokio::task::unconstrained(timer)));
            }
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Recent, Scale, Tick, now, tick_of};
    use std::cell::Cell;

    #[test]
    fn the_clock_runs_forward_at_the_rate_of_the_systems() {
        let (tick, instant) = (now(), Instant::now());
        super::block_until(tick.after(Duration::from_millis(20)));
        let (passed, real) = (now().since(tick), instant.elapsed());
        assert!(passed >= Duration::from_millis(20), "{passed:?}");
        let ratio = passed.as_secs_f64() / real.as_secs_f64();
        assert!((0.5..1.5).contains(&ratio), "{passed:?} against {real:?}");
    }

    #[test]
    fn readings_never_go_back_on_one_thread() {
        let mut last = now();
        for _ in 0..10_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }

    #[test]
    fn a_recent_reading_is_told_fifteen_times() {
        let recent = Recent {
            tick: Cell::new(Tick::ZERO),
            left: Cell::new(0),
        };
        assert_eq!(recent.get(), None);
        recent.keep(Tick(7));
        let told = std::iter::from_fn(|| recent.get()).take(20);
        assert_eq!(told.collect::<Vec<_>>(), [Tick(7); 15]);
    }

    #[test]
    fn what_is_recent_is_no_older_than_sixteen_askings() {
        let before = now();
        let asked: Vec<_> = (0..16).map(|_| super::recent()).collect();
        let after = now();
        assert!(asked.iter().all(|&tick| before <= tick && tick <= after));
        let first = now();
        super::block_until(first.after(Duration::from_millis(1)));
        let started = now();
        let asked: Vec<_> = (0..16).map(|_| super::recent()).collect();
        assert!(asked[15] > started);
    }

    /// Counters of so many hertz, from those of a kilohertz to those of more than one to a
    /// nanosecond; 62.5 MHz are just sixteen nanoseconds, whose 2^60 do not fit 64 bits.
    #[test]
    fn a_counter_of_any_frequency_tells_the_time() {
        let rates = [
            1_000,
            19_200_000,
            24_000_000,
            25_000_000,
            54_000_000,
            62_499_999,
            62_500_000,
            62_500_001,
            999_999_999,
            1_000_000_000,
            2_299_998_000,
            6_000_000_000,
        ];
        for hertz in rates {
            let exact = |counts: u64| u128::from(counts) * 1_000_000_000 / hertz;
            let scale = Scale::of(|counts| exact(counts) as u64);
            // From a second to ten years.
            for seconds in [1, 60, 86_400, 315_360_000] {
                let counts = seconds * hertz as u64 + 7;
                let (told, right) = (scale.nanos_after(0, counts), exact(counts) as u64);
                let off = told.abs_diff(right);
                assert!(off <= 1 + right / 1_000_000_000, "{hertz}: {told}, {right}");
            }
        }
    }

    #[test]
    fn ticks_stop_at_the_extremes() {
        assert_eq!(Tick::NEVER.after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick(5).after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick(5).since(Tick(9)), Duration::ZERO);
        assert_eq!(Tick(9).since(Tick(5)), Duration::from_nanos(4));
    }

    #[test]
    fn an_instant_converts_both_ways_round_now() {
        let start = Instant::now();
        assert!(tick_of(start + Duration::from_secs(60)) > now());
        assert!(tick_of(start) <= now());
    }
}
