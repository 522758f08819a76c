//! Policies that are used without a service.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use allocation_counter::opt_out;
use seawall::{Backoff, Budget, CircuitBreaker, Mode, Quota, RateLimiter, Trip, Window};

use super::record::{Admission, Changing, Log, ONE, most_above};
use super::{Call, Part, World, add, count, pause};
use crate::support::{Random, locked, ms, secs};

pub(super) fn parts(world: &World) -> Vec<Box<dyn Part>> {
    let tokens = |name, rate, burst, kind| -> Box<dyn Part> {
        let first = Quota::per_second(rate).burst(burst);
        Box::new(Tokens::new(world, name, first, kind))
    };
    vec![
        tokens("small", 100, 2, Kind::Small),
        tokens("large", 1_000, 300, Kind::Large),
        tokens("switched", 300, 3, Kind::Switched),
        tokens("reserved", 500, 3, Kind::Reserved),
        Box::new(Spent::new()),
        Box::new(Outcomes::new(world)),
        Box::new(Saved::new()),
    ]
}

fn below(random: &mut Random, end: u64) -> u32 {
    u32::try_from(random.below(end)).unwrap()
}

/// A limiter and the tokens that it granted.
struct Tokens {
    kind: Kind,
    name: &'static str,
    limiter: Arc<Changing<RateLimiter, Quota>>,
    granted: Mutex<Vec<Admission>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Small,
    /// Large enough for stripes.
    Large,
    /// With modes, pauses and waiters.
    Switched,
    /// By reservation.
    Reserved,
}

impl Tokens {
    fn new(world: &World, name: &'static str, first: Quota, kind: Kind) -> Self {
        Self {
            kind,
            name,
            limiter: Changing::new(world, name, first, |listener| {
                let limiter = RateLimiter::builder(first).name(name);
                limiter.max_wait(ms(5)).on_event(listener).build().unwrap()
            }),
            granted: Mutex::new(Vec::with_capacity(1 << 18)),
        }
    }

    fn granted(&self, earliest: u64, latest: u64, span: RangeInclusive<usize>) {
        let admission = Admission {
            earliest,
            latest,
            span,
        };
        opt_out(|| locked(&self.granted).push(admission));
    }

    fn take(&self, world: &World) {
        let limiter = &self.limiter;
        let from = limiter.settings.before();
        let earliest = world.clock.now();
        let taken = limiter.watch.start().make(|| limiter.policy.try_acquire());
        if taken.is_ok() {
            self.granted(earliest, world.clock.now(), limiter.settings.since(from));
        }
    }

    /// Reserves a token and waits for its instant.
    async fn reserve(&self, world: &World, random: &mut Random) {
        let limiter = &self.limiter;
        let from = limiter.settings.before();
        let start = world.clock.now();
        let mut call = limiter.watch.start();
        let Ok(reservation) = call.make(|| limiter.policy.reserve()) else {
            return tokio::time::sleep(ms(1)).await;
        };
        let read = world.clock.now();
        let wait = reservation.delay();
        let nanos = u64::try_from(wait.as_nanos()).unwrap();
        let latest = world.clock.now() + nanos;
        // A token without a delay may have been granted before the clock was read.
        let earliest = if nanos == 0 { start } else { read + nanos };
        if random.below(5) == 0 {
            tokio::task::yield_now().await;
            return call.within(|| drop(reservation));
        }
        tokio::time::sleep(wait).await;
        call.within(|| reservation.commit());
        // A reservation keeps the instant of its quota and may meet those of a higher one there:
        // RL1 is for reservations whose quota is still in force.
        let span = limiter.settings.since(from);
        if span.start() == span.end() {
            self.granted(earliest, latest, span);
        }
    }

    /// Waits for a token, and gives up on some.
    async fn wait(&self) {
        let mut call = self.limiter.watch.start();
        let acquire = self.limiter.policy.acquire().max_wait(ms(8));
        let _ = tokio::time::timeout(ms(5), call.run(acquire)).await;
        tokio::task::yield_now().await;
    }

    fn set(&self, quota: Quota) {
        let set = |limiter: &RateLimiter| limiter.set_quota(quota).unwrap();
        self.limiter.set(quota, set);
    }

    /// RL1 with the greatest rate and burst of `values`, over all windows in their time.
    fn check(&self, world: &World, values: RangeInclusive<usize>, granted: &[Admission]) {
        let inside =
            |a: &&Admission| a.span.start() >= values.start() && a.span.end() <= values.end();
        let granted: Vec<_> = granted.iter().filter(inside).cloned().collect();
        let most = |of: fn(&Quota) -> u32| {
            let most = |quotas: &[Option<Quota>]| limited(quotas).map(of).max();
            self.limiter
                .settings
                .during(values.clone(), most)
                .unwrap_or_default()
        };
        // All quotas are per second.
        let (rate, burst) = (most(Quota::count), most(Quota::max_burst));
        let above = most_above(rate.into(), &granted);
        world.check(above <= i64::from(burst) * ONE, || {
            let above = above as f64 / ONE as f64;
            format!(
                "{}: {above} above {rate}/s with burst {burst}: {values:?}",
                self.name
            )
        });
    }
}

/// Rounds with low rates and bursts, before as many with high ones.
const STRETCH: usize = 1_500;

fn is_high(round: u64) -> bool {
    round / STRETCH as u64 % 2 == 1
}

/// The quotas that limit anything.
fn limited(quotas: &[Option<Quota>]) -> impl Iterator<Item = &Quota> {
    quotas
        .iter()
        .flatten()
        .filter(|quota| !quota.is_unlimited())
}

impl Part for Tokens {
    fn call<'a>(&'a self, world: &'a World, random: &'a mut Random) -> Call<'a> {
        Box::pin(async move {
            match self.kind {
                Kind::Reserved => return self.reserve(world, random).await,
                Kind::Switched if random.below(2) == 0 => return self.wait().await,
                _ => (0..20).for_each(|_| self.take(world)),
            }
            pause(random).await;
        })
    }

    fn change(&self, _: &World, random: &mut Random, round: u64) {
        let quota = |rate, burst| Quota::per_second(rate).burst(burst);
        match (self.kind, is_high(round)) {
            (Kind::Small, false) => self.set(quota(100 * below(random, 3), 1 + below(random, 4))),
            (Kind::Small, true) => self.set(quota(500 * below(random, 4), 5 + below(random, 15))),
            (Kind::Large, false) => {
                self.set(quota(1_000 + below(random, 500), 200 + below(random, 100)));
            }
            (Kind::Large, true) => {
                self.set(quota(
                    4_000 + below(random, 999),
                    1_000 + below(random, 999),
                ));
            }
            (Kind::Switched, _) => match random.below(8) {
                0 | 1 => self.set(Quota::unlimited()),
                2 => self.limiter.policy.pause_for(ms(1 + random.below(3))),
                3 => self.limiter.policy.resume(),
                _ => self.set(quota(500 * below(random, 4), 1 + below(random, 5))),
            },
            (Kind::Reserved, _) if round % 64 == 0 => {
                self.set(quota(200 + below(random, 800), 1 + below(random, 5)));
            }
            (Kind::Reserved, _) => {}
        }
    }

    /// RL1 over the whole test, and over each stretch.
    fn finish(&self, world: &World) {
        let settings = &self.limiter.settings;
        let always = |span: &RangeInclusive<usize>| {
            settings.during(span.clone(), |quotas| {
                limited(quotas).count() == quotas.len()
            })
        };
        let granted = std::mem::take(&mut *locked(&self.granted));
        let granted: Vec<_> = granted.into_iter().filter(|a| always(&a.span)).collect();
        let all = settings.all(<[_]>::len);
        self.check(world, 0..=all - 1, &granted);
        for start in (0..all).step_by(STRETCH) {
            self.check(world, start..=(start + STRETCH).min(all) - 1, &granted);
        }
        world.check(granted.len() > 10, || {
            format!("{}: granted only {}", self.name, granted.len())
        });
    }
}

/// A limiter that refills next to nothing during the test: what is available at the end is what
/// was not taken.
struct Spent {
    limiter: RateLimiter,
    taken: AtomicUsize,
}

impl Spent {
    const ALL: u32 = 400_000;

    fn new() -> Self {
        let quota = Quota::per_hour(50).burst(300_000);
        Self {
            // With stripes, a change during the fetch of a lease loses the lease.
            limiter: RateLimiter::builder(quota).striped(false).build().unwrap(),
            taken: AtomicUsize::new(0),
        }
    }
}

impl Part for Spent {
    fn call<'a>(&'a self, _: &'a World, random: &'a mut Random) -> Call<'a> {
        let taken = (0..20).filter(|_| self.limiter.allow()).count();
        add(&self.taken, taken);
        Box::pin(pause(random))
    }

    fn change(&self, _: &World, random: &mut Random, _: u64) {
        let burst = 300_000 + below(random, 100_000);
        let quota = match below(random, 3) {
            0 => Quota::per_second(0),
            n => Quota::per_hour(50 * n),
        };
        self.limiter.set_quota(quota.burst(burst)).unwrap();
    }

    fn finish(&self, world: &World) {
        self.limiter
            .set_quota(Quota::per_hour(50).burst(Self::ALL))
            .unwrap();
        let available = self.limiter.available() as usize;
        let left = (Self::ALL as usize).saturating_sub(count(&self.taken));
        // A hundred an hour is a third of a token in ten seconds.
        let holds = left < Self::ALL as usize && available.abs_diff(left) <= 1;
        world.check(holds, || {
            format!("{available} tokens available, {left} not taken")
        });
    }
}

/// A breaker that never opens, so it still has every outcome at the end.
struct Outcomes {
    breaker: CircuitBreaker,
    calls: AtomicUsize,
    failures: AtomicUsize,
}

impl Outcomes {
    /// The size of one of the windows.
    const LAST: u32 = 10_000;

    /// The first three keep their windows, whatever `n` is.
    fn rules(world: &World, n: u32) -> [Trip; 5] {
        let marker = Arc::clone(&world.marker);
        let never = move |_: &_| Arc::strong_count(&marker) == 0;
        let hour = Window::time(secs(3_600));
        [
            Trip::failure_rate(1.0).over(hour).min_calls(2 + n),
            Trip::slow_rate(1.0, secs(60)).over(hour).min_calls(2 + n),
            Trip::failure_rate(1.0)
                .over(Window::count(Self::LAST))
                .min_calls(2 + n),
            Trip::consecutive_failures(4_000 + n % 95),
            Trip::custom("never", never).over(Window::count(50 + n % 3)),
        ]
    }

    fn new(world: &World) -> Self {
        let breaker = CircuitBreaker::builder("outcomes").trips(Self::rules(world, 0));
        let breaker = breaker.build().unwrap();
        // From here on the failure rate is below 1.
        breaker.try_acquire().unwrap().success();
        Self {
            breaker,
            calls: AtomicUsize::new(1),
            failures: AtomicUsize::new(0),
        }
    }

    fn record(&self, world: &World, random: &mut Random) {
        let permit = match self.breaker.try_acquire() {
            Ok(permit) => permit,
            Err(rejection) => return world.check(false, || format!("outcomes: {rejection}")),
        };
        add(&self.calls, 1);
        if random.below(4) == 0 {
            add(&self.failures, 1);
            permit.failure();
        } else {
            permit.success();
        }
    }
}

impl Part for Outcomes {
    fn call<'a>(&'a self, world: &'a World, random: &'a mut Random) -> Call<'a> {
        (0..20).for_each(|_| self.record(world, random));
        Box::pin(pause(random))
    }

    fn change(&self, world: &World, random: &mut Random, round: u64) {
        let n = below(random, 1_000);
        let rules = Self::rules(world, n);
        let changed = self.breaker.change(move |now| {
            now.trips(rules.clone())
                .probes(1 + n % 5)
                .open_for(Backoff::constant(ms(1 + u64::from(n))))
                .fair_time((n % 2 == 0).then_some(ms(5)))
        });
        world.check(changed.is_ok(), || format!("{changed:?}"));
        if round % 64 == 0 {
            let modes = [Mode::Enforce, Mode::RecordOnly];
            self.breaker.set_mode(modes[n as usize % 2]);
        }
    }

    fn finish(&self, world: &World) {
        let rules = self.breaker.snapshot().rules;
        let counts = rules.iter().map(|rule| {
            let counts = rule.counts;
            (counts.calls as usize, counts.failures as usize)
        });
        let counts: Vec<_> = counts.collect();
        let made = (count(&self.calls), count(&self.failures));
        let last = made.0.min(Self::LAST as usize);
        let holds = counts[0] == made && counts[1] == made && counts[2].0 == last;
        world.check(holds, || {
            format!("outcomes: made {made:?}, counted {counts:?}")
        });
    }
}

/// A budget that keeps everything it earns.
struct Saved {
    budget: Budget,
    /// In thousandths.
    ratios: Log<u64>,
    least: AtomicU64,
    most: AtomicU64,
    spent: AtomicU64,
}

impl Saved {
    const FIRST: u32 = 100_000;

    fn new() -> Self {
        let budget = Budget::builder().ratio(0.1).burst(Self::FIRST).floor(0);
        let budget = budget.build().unwrap();
        // No epoch cuts it.
        budget.change(|now| now.burst(900_000)).unwrap();
        Self {
            budget,
            ratios: Log::new(100),
            least: AtomicU64::new(0),
            most: AtomicU64::new(0),
            spent: AtomicU64::new(0),
        }
    }

    fn withdraw(&self, world: &World, random: &mut Random) {
        let from = self.ratios.before();
        self.budget.on_success();
        let range = |ratios: &[u64]| (ratios.iter().min().copied(), ratios.iter().max().copied());
        let (least, most) = self.ratios.during(self.ratios.since(from), range);
        self.least.fetch_add(least.unwrap(), Ordering::SeqCst);
        self.most.fetch_add(most.unwrap(), Ordering::SeqCst);
        match self.budget.withdraw() {
            // Dropped, it is refunded.
            Some(withdrawal) if random.below(2) == 0 => drop(withdrawal),
            Some(withdrawal) => {
                withdrawal.spend();
                self.spent.fetch_add(1_000, Ordering::SeqCst);
            }
            None => world.check(false, || "the budget is spent".to_owned()),
        }
    }
}

impl Part for Saved {
    fn call<'a>(&'a self, world: &'a World, random: &'a mut Random) -> Call<'a> {
        (0..20).for_each(|_| self.withdraw(world, random));
        Box::pin(pause(random))
    }

    fn change(&self, _: &World, random: &mut Random, _: u64) {
        let ratio = random.below(1_001);
        self.ratios.change(ratio, || {
            self.budget.set_ratio(ratio as f64 / 1_000.0).unwrap();
        });
        let burst = 800_000 + below(random, 100_000);
        self.budget.change(|now| now.burst(burst)).unwrap();
    }

    fn finish(&self, world: &World) {
        let spent = self.spent.load(Ordering::SeqCst);
        let [least, most] = [&self.least, &self.most].map(|earned| {
            let all = u64::from(Self::FIRST) * 1_000 + earned.load(Ordering::SeqCst);
            all.saturating_sub(spent)
        });
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Not negative.
        let balance = (self.budget.snapshot().balance * 1_000.0).round() as u64;
        world.check((least..=most).contains(&balance), || {
            format!("{balance} thousandths saved, earned from {least} to {most}")
        });
    }
}
