//! What is counted in tokens, places, outcomes and attempts, asked directly.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use allocation_counter::opt_out;
use futures::future::LocalBoxFuture;
use seawall::bulkhead::Permit;
use seawall::circuit_breaker::State;
use seawall::{
    Backoff, Budget, Bulkhead, CircuitBreaker, Mode, Quota, RateLimiter, Trip, Window, bulkhead,
};

use super::record::{Admission, Clock, Log, Watch, Watching, most_above};
use super::{Around, Changes, Until, some_mode};
use crate::support::{Random, locked, ms, secs};

const ONE: i64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Counted {
    around: Around,
    small: Tokens,
    large: Tokens,
    switched: Tokens,
    reserved: Tokens,
    kept: Kept,
    capacity: Places,
    outcomes: Outcomes,
    tripping: Tripping,
    saved: Saved,
}

/// A limiter, what it was set to (none: it did not limit) and what it granted.
#[derive(Debug)]
struct Tokens {
    limiter: RateLimiter,
    watch: Watch,
    modes: Arc<Log<Mode>>,
    quotas: Log<Option<Quota>>,
    granted: Mutex<Vec<Admission>>,
    /// How often no token was there at once.
    refused: AtomicUsize,
}

impl Tokens {
    fn new(name: &'static str, quota: Quota, around: &Around) -> Self {
        let modes = Arc::new(Log::new(Mode::Enforce));
        let watch = Watch::new(name, &modes, &around.faults);
        let (listener, marker) = (watch.listener(), Arc::clone(&around.marker));
        let limiter = RateLimiter::builder(quota)
            .name(name)
            .on_event(move |event| {
                let _ = &marker;
                listener(event);
            });
        Self {
            limiter: limiter.build().unwrap(),
            watch,
            modes,
            quotas: Log::new(Some(quota)),
            granted: Mutex::new(Vec::with_capacity(1 << 18)),
            refused: AtomicUsize::new(0),
        }
    }

    fn grant(&self, earliest: u64, latest: u64, span: RangeInclusive<usize>) {
        let admission = Admission {
            earliest,
            latest,
            span,
        };
        opt_out(|| locked(&self.granted).push(admission));
    }

    /// Takes a token if one is there.
    fn take(&self, clock: Clock) {
        let from = self.quotas.before();
        let earliest = clock.now();
        let taken = self.watch.begin().make(|| self.limiter.try_acquire());
        match taken {
            Ok(()) => self.grant(earliest, clock.now(), self.quotas.since(from)),
            Err(_) => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
        }
    }

    fn set(&self, quota: Quota) {
        let limited =
            (!quota.is_unlimited() && self.limiter.mode() == Mode::Enforce).then_some(quota);
        self.quotas
            .change(limited, |_| self.limiter.set_quota(quota).unwrap());
    }

    fn set_mode(&self, mode: Mode) {
        let quota = self.limiter.quota();
        let limited = (!quota.is_unlimited() && mode == Mode::Enforce).then_some(quota);
        self.quotas.change(limited, |_| {
            self.modes.change(mode, |mode| self.limiter.set_mode(mode));
        });
    }

    /// A bad quota changes nothing.
    fn set_badly(&self, around: &Around) {
        let before = self.limiter.snapshot().quota;
        let bad = [
            Quota::new(5, secs(0)),
            Quota::per_second(1).burst(0),
            Quota::per_day(1).burst(500),
        ];
        let refused = bad.iter().all(|bad| self.limiter.set_quota(*bad).is_err());
        let kept = self.limiter.snapshot().quota == before;
        (around.faults).check(refused && kept, || {
            format!("{before}: a bad quota was taken")
        });
    }

    /// RL1 over all windows that lie in the time of these values, of what was granted in it.
    fn check(&self, around: &Around, values: RangeInclusive<usize>, granted: &[Admission]) {
        let most = |of: fn(&Quota) -> u32| {
            let most = |quotas: &[Option<Quota>]| quotas.iter().flatten().map(of).max();
            self.quotas.during(values.clone(), most).unwrap()
        };
        // All are given by the second.
        let (rate, burst) = (most(Quota::count), most(Quota::max_burst));
        if granted.is_empty() {
            return;
        }
        let above = most_above(rate.into(), granted);
        (around.faults).check(above <= i64::from(burst) * ONE, || {
            let above = above as f64 / ONE as f64;
            let name = self.limiter.name();
            format!("{name}: {above} more than {rate} a second, the burst is {burst}: {values:?}")
        });
    }

    /// RL1 against the largest rate and burst of all, and of each stretch of `bands`.
    fn finish(&self, around: &Around, band: impl Fn(&Quota) -> bool) {
        self.watch.finish();
        let granted = std::mem::take(&mut *locked(&self.granted));
        let limited = |span: &RangeInclusive<usize>| {
            let limited = |quotas: &[Option<Quota>]| quotas.iter().all(Option::is_some);
            self.quotas.during(span.clone(), limited)
        };
        let granted: Vec<_> = granted.into_iter().filter(|a| limited(&a.span)).collect();
        let all = self.quotas.all(<[_]>::len);
        self.check(around, 0..=all - 1, &granted);
        let bands = self.quotas.all(|quotas| {
            let quotas = quotas.iter().enumerate();
            let mut bands: Vec<(bool, RangeInclusive<usize>)> = Vec::new();
            for (at, quota) in quotas.filter_map(|(at, quota)| Some((at, quota.as_ref()?))) {
                let high = band(quota);
                match bands.last_mut() {
                    Some((last, span)) if *last == high => *span = *span.start()..=at,
                    _ => bands.push((high, at..=at)),
                }
            }
            bands
        });
        for (_, band) in bands {
            let within =
                |a: &&Admission| a.span.start() >= band.start() && a.span.end() <= band.end();
            let granted: Vec<_> = granted.iter().filter(within).cloned().collect();
            self.check(around, band, &granted);
        }
        let refused = self.refused.load(Ordering::SeqCst);
        let name = self.limiter.name();
        around.faults.check(refused > 0 && granted.len() > 10, || {
            format!("{name}: granted {}, refused {refused}", granted.len())
        });
    }
}

/// A limiter that gives next to nothing back in the time of the test: what is there at the end
/// is what was not taken.
#[derive(Debug)]
struct Kept {
    limiter: RateLimiter,
    taken: AtomicU64,
}

impl Kept {
    fn quota(random: &mut Random) -> Quota {
        let burst = 300_000 + u32::try_from(random.below(100_000)).unwrap();
        match random.below(3) {
            // What is taken of it is not counted: as good as stopped.
            0 => Quota::per_second(0).burst(burst),
            n => Quota::per_hour(50 * u32::try_from(n).unwrap()).burst(burst),
        }
    }

    fn take(&self) {
        if self.limiter.allow() {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn finish(&self, around: &Around) {
        const ALL: u64 = 400_000;
        let quota = Quota::per_hour(50).burst(u32::try_from(ALL).unwrap());
        self.limiter.set_quota(quota).unwrap();
        let there = u64::from(self.limiter.available());
        let left = ALL.saturating_sub(self.taken.load(Ordering::SeqCst));
        // A hundred an hour is a third of one in ten seconds; a part of one is not there.
        let holds = there + 1 >= left && there <= left + 1;
        around.faults.check(left < ALL && holds, || {
            format!("there are {there} tokens, and were not taken {left}")
        });
    }
}

/// A bulkhead that refuses, and what holds its places.
#[derive(Debug)]
struct Places {
    bulkhead: Bulkhead,
    watch: Watch,
    modes: Arc<Log<Mode>>,
    /// None where it is not enforced.
    limits: Log<Option<u32>>,
    in_flight: AtomicUsize,
    refused: AtomicUsize,
}

/// A place that is held.
#[derive(Debug)]
struct Held<'a> {
    capacity: &'a Places,
    permit: Option<Permit>,
    watching: Watching,
    counted: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.capacity.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        let permit = self.permit.take();
        self.watching.within(|| drop(permit));
    }
}

/// Counts a call that was let in after `from`: not above the greatest limit that may have been in
/// force since. It lasts until `in_flight` is lowered again; false if it was not counted, because
/// nothing limited it.
///
/// All that are counted were in flight when the last of them was let in, and that was after
/// `from` and is now over, so what held for it holds.
pub(super) fn enter_flight(
    name: &str,
    around: &Around,
    limits: &Log<Option<u32>>,
    in_flight: &AtomicUsize,
    from: usize,
) -> bool {
    let limited = |limits: &[Option<u32>]| limits.iter().all(Option::is_some);
    if !limits.during(limits.since(from), limited) {
        return false;
    }
    let together = in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    let most = |limits: &[Option<u32>]| limits.iter().flatten().max().copied();
    let limit = limits.during(limits.since(from), most).unwrap();
    (around.faults).check(together <= limit as usize, || {
        format!("{name}: {together} in flight, the limit was at most {limit}")
    });
    true
}

impl Places {
    fn new(around: &Around) -> Self {
        let modes = Arc::new(Log::new(Mode::Enforce));
        let watch = Watch::new("capacity", &modes, &around.faults);
        let (listener, marker) = (watch.listener(), Arc::clone(&around.marker));
        let bulkhead = Bulkhead::builder(4).on_event(move |event| {
            let _ = &marker;
            listener(event);
        });
        Self {
            bulkhead: bulkhead.build().unwrap(),
            watch,
            modes,
            limits: Log::new(Some(4)),
            in_flight: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    fn enter(&self, around: &Around) -> Option<Held<'_>> {
        let from = self.limits.before();
        let mut watching = self.watch.begin();
        let permit = watching.make(|| self.bulkhead.try_acquire_owned());
        let Ok(permit) = permit else {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return None;
        };
        Some(Held {
            capacity: self,
            permit: Some(permit),
            watching,
            counted: enter_flight("capacity", around, &self.limits, &self.in_flight, from),
        })
    }

    fn change(&self, random: &mut Random, round: u64) {
        let limit = u32::try_from(random.below(7)).unwrap();
        let mode = match round % 16 {
            0 => some_mode(random),
            _ => self.bulkhead.mode(),
        };
        let limited = (mode == Mode::Enforce).then_some(limit);
        self.limits.change(limited, |_| {
            self.modes.change(mode, |mode| self.bulkhead.set_mode(mode));
            self.bulkhead.set_limit(limit).unwrap();
        });
    }

    fn finish(&self, around: &Around) {
        self.watch.finish();
        let refused = self.refused.load(Ordering::SeqCst);
        (around.faults).check(refused > 0, || "no place was refused".to_owned());
        all_places_are_free(around, &self.bulkhead);
    }
}

/// Every place and nothing else is there.
pub(super) fn all_places_are_free(around: &Around, bulkhead: &Bulkhead) {
    bulkhead.set_mode(Mode::Enforce);
    bulkhead.set_limit(5).unwrap();
    let bulkhead::Snapshot {
        in_flight, queued, ..
    } = bulkhead.snapshot();
    (around.faults).check((in_flight, queued) == (0, 0), || {
        format!("{in_flight} in flight at the end, {queued} queue")
    });
    let permits: Vec<_> = (0..9).filter_map(|_| bulkhead.try_acquire().ok()).collect();
    (around.faults).check(permits.len() == 5, || format!("{} capacity", permits.len()));
}

/// A breaker that never opens, so that it has every outcome at the end.
#[derive(Debug)]
struct Outcomes {
    breaker: CircuitBreaker,
    calls: AtomicUsize,
    failures: AtomicUsize,
}

impl Outcomes {
    /// As many calls as one of the windows holds.
    const LAST: u32 = 10_000;

    /// The windows stay; what they are asked changes, and the window of a last rule.
    fn rules(around: &Around, n: u32) -> Vec<Trip> {
        let marker = Arc::clone(&around.marker);
        let never = move |_: &_| Arc::strong_count(&marker) == 0;
        vec![
            Trip::failure_rate(1.0)
                .over(Window::time(secs(3_600)))
                .min_calls(2 + n),
            Trip::slow_rate(1.0, secs(60))
                .over(Window::time(secs(3_600)))
                .min_calls(2 + n),
            Trip::failure_rate(1.0)
                .over(Window::count(Self::LAST))
                .min_calls(2 + n),
            Trip::consecutive_failures(4_000 + n % 95),
            Trip::custom("never", never).over(Window::count(50 + n % 3)),
        ]
    }

    fn new(around: &Around) -> Self {
        let breaker = CircuitBreaker::builder("outcomes").trips(Self::rules(around, 0));
        let breaker = breaker.build().unwrap();
        // From here on the failure rate is never 1.
        breaker.try_acquire().unwrap().success();
        Self {
            breaker,
            calls: AtomicUsize::new(1),
            failures: AtomicUsize::new(0),
        }
    }

    fn call(&self, around: &Around, random: &mut Random) {
        let permit = match self.breaker.try_acquire() {
            Ok(permit) => permit,
            Err(rejection) => {
                (around.faults).check(false, || format!("outcomes: {rejection}"));
                return;
            }
        };
        self.calls.fetch_add(1, Ordering::SeqCst);
        match random.below(4) {
            0 => {
                self.failures.fetch_add(1, Ordering::SeqCst);
                permit.failure();
            }
            _ => permit.success(),
        }
    }

    fn change(&self, around: &Around, random: &mut Random, round: u64) {
        let n = u32::try_from(random.below(1_000)).unwrap();
        let rules = Self::rules(around, n);
        let change = self.breaker.change(|now| {
            now.trips(rules)
                .probes(1 + n % 5)
                .open_for(Backoff::constant(ms(1 + u64::from(n))))
                .fair_time((n % 2 == 0).then_some(ms(5)))
        });
        (around.faults).check(change.is_ok(), || format!("{change:?}"));
        if round % 8 == 0 {
            let before = rules_of(&self.breaker);
            let none = self.breaker.change(|now| now.trips([]));
            let probes = self
                .breaker
                .change(|now| now.trips([Trip::failures(3)]).probes(0));
            let kept = rules_of(&self.breaker) == before;
            (around.faults).check(none.is_err() && probes.is_err() && kept, || {
                "outcomes: bad rules were taken".to_owned()
            });
        }
        if round % 64 == 0 {
            let mode = [Mode::Enforce, Mode::RecordOnly][usize::from(n % 2 == 0)];
            self.breaker.set_mode(mode);
        }
    }

    fn finish(&self, around: &Around) {
        let snapshot = self.breaker.snapshot();
        let (calls, failures) = (&self.calls, &self.failures);
        let happened = (
            calls.load(Ordering::SeqCst),
            failures.load(Ordering::SeqCst),
        );
        let seen = |at: usize| {
            let counts = snapshot.rules[at].counts;
            (counts.calls as usize, counts.failures as usize)
        };
        for at in 0..2 {
            (around.faults).check(seen(at) == happened, || {
                let rule = &snapshot.rules[at].rule;
                format!("{rule}: has seen {:?} of {happened:?}", seen(at))
            });
        }
        let last = happened.0.min(Self::LAST as usize);
        (around.faults).check(seen(2).0 == last, || {
            format!("outcomes: the last {} of {}", seen(2).0, happened.0)
        });
    }
}

fn rules_of(breaker: &CircuitBreaker) -> Vec<String> {
    let rules = breaker.snapshot().rules.into_iter();
    rules.map(|rule| rule.rule).collect()
}

/// A breaker that opens and closes all the time.
#[derive(Debug)]
struct Tripping {
    breaker: CircuitBreaker,
    watch: Watch,
    modes: Arc<Log<Mode>>,
    rejected: AtomicUsize,
    probed: Arc<AtomicUsize>,
}

impl Tripping {
    fn new(around: &Around) -> Self {
        let modes = Arc::new(Log::new(Mode::Enforce));
        let watch = Watch::new("tripping", &modes, &around.faults);
        let probed = Arc::new(AtomicUsize::new(0));
        let (listener, marker) = (watch.listener(), Arc::clone(&around.marker));
        let half_opened = Arc::clone(&probed);
        let breaker = CircuitBreaker::builder("tripping").on_event(move |event| {
            let _ = &marker;
            if let seawall::event::EventKind::Transition(moved) = event.kind {
                if moved.to == State::HalfOpen {
                    half_opened.fetch_add(1, Ordering::SeqCst);
                }
            }
            listener(event);
        });
        Self {
            breaker: breaker.build().unwrap(),
            watch,
            modes,
            rejected: AtomicUsize::new(0),
            probed,
        }
    }

    /// Some calls at once, which end in any way.
    async fn call(&self, random: &mut Random) {
        let mut permits = VecDeque::new();
        for _ in 0..6 {
            let mut watching = self.watch.begin();
            match watching.make(|| self.breaker.try_acquire_owned()) {
                Ok(permit) => permits.push_back((watching, permit)),
                Err(_) => drop(self.rejected.fetch_add(1, Ordering::SeqCst)),
            }
        }
        tokio::task::yield_now().await;
        while let Some((watching, permit)) = permits.pop_front() {
            watching.within(|| match random.below(8) {
                0..4 => permit.failure(),
                4..6 => permit.success(),
                6 => permit.ignore(),
                _ => drop(permit),
            });
        }
    }

    fn change(&self, around: &Around, random: &mut Random, round: u64) {
        let n = u32::try_from(random.below(8)).unwrap();
        let trips = match random.below(4) {
            0 => vec![Trip::consecutive_failures(2 + n)],
            1 => vec![
                Trip::failure_rate(0.5)
                    .over(Window::count(10 + n))
                    .min_calls(5),
            ],
            2 => vec![
                Trip::failures(3 + n).within(ms(50)),
                Trip::slow_rate(0.5, ms(1)),
            ],
            _ => vec![Trip::failure_rate(0.3).over(Window::time(ms(100 + u64::from(n))))],
        };
        let change = self.breaker.change(|now| {
            let now = now.trips(trips).probes(1 + n).close_after(1 + n / 2);
            let now = now.open_for(Backoff::constant(ms(1 + u64::from(n / 4))));
            match n {
                0 => now.ramp(ms(5), 0.5),
                _ => now.no_ramp(),
            }
        });
        (around.faults).check(change.is_ok(), || format!("{change:?}"));
        match round % 200 {
            0 => self.breaker.force_open(),
            7 => self.breaker.release(),
            100 => self.breaker.reset(),
            _ if round % 16 == 0 => {
                let mode = some_mode(random);
                self.modes.change(mode, |mode| self.breaker.set_mode(mode));
            }
            _ => {}
        }
    }

    fn finish(&self, around: &Around) {
        self.watch.finish();
        let (rejected, probed) = (&self.rejected, &self.probed);
        let (rejected, probed) = (
            rejected.load(Ordering::SeqCst),
            probed.load(Ordering::SeqCst),
        );
        (around.faults).check(rejected > 0 && probed > 0, || {
            format!("tripping: rejected {rejected}, half-open {probed} times")
        });
        // Every probe's slot is free, also if it is half-open as it is.
        let breaker = &self.breaker;
        let probes = breaker.snapshot().probes;
        let out = probes.map_or(0, |probes| probes.in_flight);
        (around.faults).check(out == 0, || format!("{out} probes at the end"));
        breaker.set_mode(Mode::Enforce);
        let trips = [Trip::consecutive_failures(1)];
        let change = |now: seawall::circuit_breaker::Builder| {
            let now = now.trips(trips).probes(3).close_after(3);
            now.no_ramp().open_for(Backoff::constant(ms(1)))
        };
        breaker.change(change).unwrap();
        breaker.reset();
        breaker.try_acquire().unwrap().failure();
        while breaker.state() != State::HalfOpen {
            std::thread::yield_now();
        }
        let more = || (0..9).filter_map(|_| breaker.try_acquire().ok());
        let first: Vec<_> = more().take(2).collect();
        // Neither a change nor a mode forgets who probes.
        breaker.change(|now| now.probes(4).close_after(2)).unwrap();
        breaker.set_mode(Mode::RecordOnly);
        breaker.set_mode(Mode::Enforce);
        let probes = first.len() + more().collect::<Vec<_>>().len();
        (around.faults).check(probes == 4, || format!("{probes} probes of 4"));
    }
}

/// A budget in which all is saved that is put in.
#[derive(Debug)]
struct Saved {
    budget: Budget,
    /// In thousandths.
    ratios: Log<u64>,
    least: AtomicU64,
    most: AtomicU64,
    spent: AtomicU64,
}

impl Saved {
    const STARTS: u32 = 100_000;

    fn new() -> Self {
        let budget = Budget::builder().ratio(0.1).burst(Self::STARTS).floor(0);
        let budget = budget.build().unwrap();
        // So that no new epoch cuts it.
        budget.change(|now| now.burst(900_000)).unwrap();
        Self {
            budget,
            ratios: Log::new(100),
            least: AtomicU64::new(0),
            most: AtomicU64::new(0),
            spent: AtomicU64::new(0),
        }
    }

    fn call(&self, around: &Around, random: &mut Random) {
        let from = self.ratios.before();
        self.budget.on_call();
        let span = self.ratios.since(from);
        let range = |ratios: &[u64]| (ratios.iter().min().copied(), ratios.iter().max().copied());
        let (least, most) = self.ratios.during(span, range);
        self.least.fetch_add(least.unwrap(), Ordering::SeqCst);
        self.most.fetch_add(most.unwrap(), Ordering::SeqCst);
        match self.budget.withdraw() {
            // Not made: it goes back.
            Some(leave) if random.below(2) == 0 => drop(leave),
            Some(leave) => {
                leave.spend();
                self.spent.fetch_add(1_000, Ordering::SeqCst);
            }
            None => (around.faults).check(false, || "the budget is spent".to_owned()),
        }
    }

    fn change(&self, around: &Around, random: &mut Random, round: u64) {
        let ratio = random.below(1_001);
        self.ratios.change(ratio, |ratio| {
            self.budget.set_ratio(ratio as f64 / 1_000.0).unwrap();
        });
        let burst = 800_000 + u32::try_from(random.below(100_000)).unwrap();
        self.budget.change(|now| now.burst(burst)).unwrap();
        if round % 8 == 0 {
            let before = self.budget.snapshot().ratio;
            let bad = [-0.1, 1.1, f64::NAN].map(|ratio| self.budget.set_ratio(ratio).is_err());
            let kept = self.budget.snapshot().ratio == before;
            (around.faults).check(bad == [true; 3] && kept, || {
                "saved: a bad ratio was taken".to_owned()
            });
        }
    }

    fn finish(&self, around: &Around) {
        let all = |of: &AtomicU64| of.load(Ordering::SeqCst);
        let starts = u64::from(Self::STARTS) * 1_000;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Not negative.
        let balance = (self.budget.snapshot().balance * 1_000.0).round() as u64;
        let least = (starts + all(&self.least)).saturating_sub(all(&self.spent));
        let most = (starts + all(&self.most)).saturating_sub(all(&self.spent));
        (around.faults).check((least..=most).contains(&balance), || {
            format!("saved {balance} thousandths, put in from {least} to {most}")
        });
    }
}

/// Half of the time a low band of rates and bursts, then a high one.
fn is_high_time(round: u64) -> bool {
    round / 1_500 % 2 == 1
}

impl Counted {
    pub(super) fn new(around: &Around) -> Self {
        let switched = Quota::per_second(300).burst(3);
        let kept = Quota::per_hour(50).burst(300_000);
        Self {
            small: Tokens::new("small", Quota::per_second(100).burst(2), around),
            large: Tokens::new("large", Quota::per_second(1_000).burst(300), around),
            switched: Tokens::new("switched", switched, around),
            reserved: Tokens::new("reserved", Quota::per_second(500).burst(3), around),
            kept: Kept {
                // In stripes, a change that falls together with the fetching of a lease loses it.
                limiter: RateLimiter::builder(kept).striped(false).build().unwrap(),
                taken: AtomicU64::new(0),
            },
            capacity: Places::new(around),
            outcomes: Outcomes::new(around),
            tripping: Tripping::new(around),
            saved: Saved::new(),
            around: around.clone(),
        }
    }

    pub(super) fn callers(&self, seed: u64, until: Until) -> Vec<LocalBoxFuture<'_, ()>> {
        let mut callers: Vec<LocalBoxFuture<'_, ()>> = vec![Box::pin(self.ask(seed, until))];
        for caller in 0..3 {
            callers.push(Box::pin(self.reserve(seed * 100 + caller, until)));
            callers.push(Box::pin(self.wait(until)));
        }
        callers
    }

    /// Asks everything that answers at once.
    async fn ask(&self, seed: u64, until: Until) {
        let (around, clock) = (&self.around, self.around.clock);
        let mut random = Random::new(seed);
        let mut held = VecDeque::new();
        around
            .calls(until, async || {
                for _ in 0..20 {
                    self.small.take(clock);
                    self.large.take(clock);
                    self.switched.take(clock);
                    self.kept.take();
                    self.outcomes.call(around, &mut random);
                    self.saved.call(around, &mut random);
                    held.extend(self.capacity.enter(around));
                    if held.len() > 3 {
                        held.pop_front();
                    }
                }
                self.tripping.call(&mut random).await;
                match random.below(20) {
                    0 => {
                        held.clear();
                        tokio::time::sleep(ms(1)).await;
                    }
                    _ => tokio::task::yield_now().await,
                }
            })
            .await;
    }

    /// Reserves tokens, and waits for their instants.
    async fn reserve(&self, seed: u64, until: Until) {
        let (tokens, clock) = (&self.reserved, self.around.clock);
        let mut random = Random::new(seed);
        self.around
            .calls(until, async || {
                let from = tokens.quotas.before();
                let asked = clock.now();
                let mut watching = tokens.watch.begin();
                let Ok(reservation) = watching.make(|| tokens.limiter.reserve()) else {
                    tokens.refused.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(ms(1)).await;
                    return;
                };
                let read = clock.now();
                let wait = reservation.delay();
                let nanos = u64::try_from(wait.as_nanos()).unwrap();
                let latest = clock.now() + nanos;
                // What need not be waited for may have been granted before it was read.
                let earliest = match nanos {
                    0 => asked,
                    _ => {
                        tokens.refused.fetch_add(1, Ordering::SeqCst);
                        read + nanos
                    }
                };
                if random.below(5) == 0 {
                    tokio::task::yield_now().await;
                    watching.within(|| drop(reservation));
                    return;
                }
                tokio::time::sleep(wait).await;
                watching.within(|| reservation.commit());
                let span = tokens.quotas.since(from);
                // Whoever waits keeps the instant of the rate he came under, and may meet those
                // of a higher one there: RL1 is for those whose rate is still in force.
                if span.start() == span.end() {
                    tokens.grant(earliest, latest, span);
                }
            })
            .await;
    }

    /// Waits for tokens of a limiter that is paused and switched off, and gives up on some.
    async fn wait(&self, until: Until) {
        let tokens = &self.switched;
        self.around
            .calls(until, async || {
                let mut watching = tokens.watch.begin();
                let mut acquire = Box::pin(tokens.limiter.acquire().max_wait(ms(8)));
                // The mode is read in the first poll.
                let first = futures::future::poll_fn(|cx| {
                    let first = watching.make(|| acquire.as_mut().poll(cx));
                    std::task::Poll::Ready(first)
                });
                if first.await.is_pending() {
                    let rest = futures::future::poll_fn(|cx| {
                        watching.within(|| acquire.as_mut().poll(cx))
                    });
                    let _ = tokio::time::timeout(ms(5), rest).await;
                }
                watching.within(|| drop(acquire));
                tokio::task::yield_now().await;
            })
            .await;
    }

    pub(super) fn change(&self, changes: &mut Changes, random: &mut Random, round: u64) {
        let around = &self.around;
        let high = is_high_time(round);
        let below = |random: &mut Random, end| u32::try_from(random.below(end)).unwrap();
        let quota = match high {
            false => Quota::per_second(100 * below(random, 3)).burst(1 + below(random, 4)),
            true => Quota::per_second(500 * below(random, 4)).burst(5 + below(random, 15)),
        };
        self.small.set(quota);
        changes.made("rate, small burst");
        let quota = match high {
            false => Quota::per_second(1_000 + below(random, 500)).burst(200 + below(random, 100)),
            true => Quota::per_second(4_000 + below(random, 999)).burst(1_000 + below(random, 999)),
        };
        self.large.set(quota);
        changes.made("rate, large burst");
        self.kept.limiter.set_quota(Kept::quota(random)).unwrap();
        changes.made("rate, kept");
        match random.below(8) {
            0 => self.switched.set_mode(some_mode(random)),
            1 => self.switched.set(Quota::unlimited()),
            2 => self.switched.limiter.pause_for(ms(1 + random.below(3))),
            3 => self.switched.limiter.resume(),
            _ => {
                let quota = Quota::per_second(500 * below(random, 4)).burst(1 + below(random, 5));
                self.switched.set(quota);
            }
        }
        changes.made("rate, mode and pause");
        if round % 64 == 0 {
            let quota = Quota::per_second(200 + below(random, 800)).burst(1 + below(random, 5));
            self.reserved.set(quota);
        }
        if round % 256 == 0 {
            self.reserved.set_mode(some_mode(random));
        }
        self.capacity.change(random, round);
        changes.made("limit, refusing");
        self.outcomes.change(around, random, round);
        changes.made("thresholds, closed");
        self.tripping.change(around, random, round);
        changes.made("thresholds, tripping");
        self.saved.change(around, random, round);
        changes.made("budget, saved");
        if round % 8 == 0 {
            self.small.set_badly(around);
            self.large.set_badly(around);
        }
    }

    pub(super) fn finish(&self, around: &Around) {
        self.small.finish(around, |quota| quota.max_burst() >= 5);
        self.large
            .finish(around, |quota| quota.max_burst() >= 1_000);
        self.switched.finish(around, |_| true);
        self.reserved.finish(around, |_| true);
        self.kept.finish(around);
        self.capacity.finish(around);
        self.outcomes.finish(around);
        self.tripping.finish(around);
        self.saved.finish(around);
    }
}
