//! A limiter admits at most what its quotas allow, while they change (RL1).

use std::ops::{Range, RangeInclusive};
use std::sync::Mutex;
use std::time::Duration;

use allocation_counter::opt_out;
use seawall::{Deadline, Quota, RateLimiter};

use super::record::Changing;
use super::{below, done, pause, storm};
use crate::support::{Random, locked, ms, secs};

const HOUR: Duration = secs(3_600);

/// Rounds with low rates and bursts, before as many with high ones.
const STRETCH: u64 = 625;

fn quota(rate: u32, burst: u32) -> Quota {
    Quota::per_second(rate).burst(burst)
}

/// A quota with a rate and a burst of these, the rate in steps.
fn any_quota(random: &mut Random, step: u32, rates: Range<u32>, bursts: Range<u32>) -> Quota {
    let mut one_of = |range: Range<u32>| range.start + below(random, range.len() as u64);
    quota(step * one_of(rates), one_of(bursts))
}

/// A token that was granted between two instants, and what may have been in force.
type Admission = ((u64, u64), RangeInclusive<usize>);

/// A limiter and the tokens that it granted.
struct Tokens {
    limiter: Changing<RateLimiter, Quota>,
    granted: Mutex<Vec<Admission>>,
    /// The crate's own clock is read through it.
    deadline: Deadline,
}

impl Tokens {
    fn new(first: Quota) -> Self {
        let limiter = RateLimiter::builder(first).max_wait(ms(5));
        Self {
            limiter: Changing::new(limiter.build().unwrap(), first),
            granted: Mutex::default(),
            deadline: Deadline::after(HOUR),
        }
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from((HOUR - self.deadline.left()).as_nanos()).unwrap()
    }

    fn granted(&self, earliest: u64, latest: u64, span: RangeInclusive<usize>) {
        opt_out(|| locked(&self.granted).push(((earliest, latest), span)));
    }

    async fn take(&self) {
        let Changing { policy, record } = &self.limiter;
        let (from, earliest) = (record.before(), self.now());
        let token = record.observe(from, async || policy.try_acquire()).await;
        if token.is_ok() {
            self.granted(earliest, self.now(), record.since(from));
        }
    }

    async fn take_some(&self, random: &mut Random) {
        for _ in 0..20 {
            self.take().await;
        }
        pause(random).await;
    }

    /// Reserves a token and waits for its instant, or drops it.
    async fn reserve(&self, random: &mut Random) {
        let Changing { policy, record } = &self.limiter;
        let (from, start) = (record.before(), self.now());
        let reservation = async || {
            let Ok(reservation) = policy.reserve() else {
                return tokio::time::sleep(ms(1)).await;
            };
            let read = self.now();
            let wait = u64::try_from(reservation.delay().as_nanos()).unwrap();
            let latest = self.now() + wait;
            // A token without a delay may have been granted before the clock was read.
            let earliest = if wait == 0 { start } else { read + wait };
            if random.below(5) == 0 {
                return tokio::task::yield_now().await;
            }
            tokio::time::sleep(reservation.delay()).await;
            reservation.commit();
            // A reservation keeps the instant of its quota and may meet those of a higher one
            // there: RL1 is for reservations whose quota is still in force.
            let span = record.since(from);
            if span.start() == span.end() {
                self.granted(earliest, latest, span);
            }
        };
        record.observe(from, reservation).await;
    }

    /// Waits for a token, and gives up on some.
    async fn wait(&self) {
        let Changing { policy, record } = &self.limiter;
        let acquire = record.observe(record.before(), || policy.acquire().max_wait(ms(8)));
        let _ = tokio::time::timeout(ms(5), acquire).await;
        tokio::task::yield_now().await;
    }

    fn set(&self, random: &mut Random, quota: Quota) {
        let set = |limiter: &RateLimiter| done(limiter.set_quota(quota));
        self.limiter.set(quota, set);
        self.limiter.change_mode(random);
    }

    /// RL1 over the whole storm, and over each stretch: with the greatest rate and burst that were
    /// set in it, of the tokens that were granted under a limit.
    fn finish(self) {
        let record = &self.limiter.record;
        let limited = |quota: &Quota| !quota.is_unlimited();
        let mut granted = self.granted.into_inner().unwrap();
        granted.retain(|(_, span)| {
            let quotas = record.enforced(span.clone());
            quotas.is_some_and(|quotas| quotas.iter().all(limited))
        });
        assert!(granted.len() > 10, "granted only {}", granted.len());
        let all = *record.since(0).end();
        let stretches = (0..all).step_by(STRETCH as usize);
        let stretches = stretches.map(|start| start..=(start + STRETCH as usize).min(all));
        for within in stretches.chain([0..=all]) {
            let inside = |span: &RangeInclusive<usize>| {
                within.contains(span.start()) && within.contains(span.end())
            };
            let granted = granted.iter().filter(|(_, span)| inside(span));
            let granted = granted.map(|(between, _)| *between).collect();
            let mut quotas = record.during(within.clone());
            quotas.retain(|(_, quota)| limited(quota));
            let most = |of: fn(&Quota) -> u32| quotas.iter().map(|(_, quota)| of(quota)).max();
            let rate = most(Quota::count).unwrap_or_default();
            let burst = most(Quota::max_burst).unwrap_or_default();
            let above = most_above(rate.into(), granted);
            let holds = above <= i64::from(burst) * ONE;
            assert!(
                holds,
                "{above}e-9 above {rate}/s, burst {burst}: {within:?}"
            );
        }
        self.limiter.finish(|_| {});
    }
}

const ONE: i64 = 1_000_000_000;

/// The most by which a window has more admissions than `rate` a second refill, in billionths of
/// one; RL1 says that it is at most the burst.
///
/// In the order of their latest instants, the admissions from `i` to `j` are surely in the window
/// from the earliest instant of all from `i` on to the latest of `j`.
fn most_above(rate: u64, mut admissions: Vec<(u64, u64)>) -> i64 {
    let signed = |n: u64| i64::try_from(n).unwrap();
    admissions.sort_unstable_by_key(|(_, latest)| *latest);
    let mut least = u64::MAX;
    for (earliest, _) in admissions.iter_mut().rev() {
        least = least.min(*earliest);
        *earliest = least;
    }
    let (mut most, mut best_start) = (i64::MIN, i64::MIN);
    for (n, (earliest, latest)) in (0_i64..).zip(admissions) {
        best_start = best_start.max(signed(rate * earliest) - n * ONE);
        most = most.max(best_start + (n + 1) * ONE - signed(rate * latest));
    }
    most
}

// RL1: the fast search beside the naive one.
#[test]
fn the_fullest_window_is_found() {
    let mut random = Random::new(7);
    for round in 0..400 {
        let (rate, ordered) = (random.below(3), round % 2 == 0);
        let admissions = (0..1 + round % 12).map(|_| {
            let earliest = random.below(20) * 100_000_000;
            let width = if ordered { 1 } else { random.below(4) };
            let latest = earliest + width * 100_000_000;
            (earliest, latest)
        });
        let admissions: Vec<_> = admissions.collect();
        let mut naive = i64::MIN;
        for &(start, _) in &admissions {
            for &(_, end) in admissions.iter().filter(|of| of.1 >= start) {
                let inside = admissions.iter().filter(|of| of.0 >= start && of.1 <= end);
                let refilled = i64::try_from(rate * (end - start)).unwrap();
                naive = naive.max(i64::try_from(inside.count()).unwrap() * ONE - refilled);
            }
        }
        let found = most_above(rate, admissions);
        // Exact if the latest instants have the order of the earliest, and never too much.
        assert!(found == naive || (!ordered && found < naive));
    }
}

fn story(
    first: Quota,
    call: impl AsyncFn(&Tokens, &mut Random) + Sync,
    change: impl Fn(&Tokens, &mut Random, u64),
) {
    let tokens = Tokens::new(first);
    let change = |random: &mut Random, round| change(&tokens, random, round);
    storm(async |random| call(&tokens, random).await, change);
    tokens.finish();
}

#[test]
fn cx19_rl1_a_small_limiter_admits_at_most_the_quotas_in_force() {
    story(quota(100, 2), Tokens::take_some, |tokens, random, round| {
        let quota = match round / STRETCH % 2 {
            0 => any_quota(random, 100, 0..3, 1..5),
            _ => any_quota(random, 500, 0..4, 5..20),
        };
        tokens.set(random, quota);
    });
}

#[test]
fn cx19_rl1_a_striped_limiter_admits_at_most_the_quotas_in_force() {
    story(
        quota(1_000, 300),
        Tokens::take_some,
        |tokens, random, round| {
            let quota = match round / STRETCH % 2 {
                0 => any_quota(random, 1, 1_000..1_500, 200..300),
                _ => any_quota(random, 1, 4_000..5_000, 1_000..2_000),
            };
            tokens.set(random, quota);
        },
    );
}

#[test]
fn cx19_rl4_waiters_are_admitted_or_rejected_under_pauses_and_unlimited_quotas() {
    let call = async |tokens: &Tokens, random: &mut Random| match random.below(2) {
        0 => tokens.wait().await,
        _ => tokens.take_some(random).await,
    };
    story(quota(300, 3), call, |tokens, random, _| {
        let quota = match random.below(8) {
            0 | 1 => Quota::unlimited(),
            2 => return tokens.limiter.policy.pause_for(ms(1 + random.below(3))),
            3 => return tokens.limiter.policy.resume(),
            _ => any_quota(random, 500, 0..4, 1..6),
        };
        tokens.set(random, quota);
    });
}

#[test]
fn cx19_rl1_a_limiter_grants_reservations_at_most_at_its_quota() {
    story(quota(500, 3), Tokens::reserve, |tokens, random, round| {
        if round % 64 == 0 {
            let quota = any_quota(random, 1, 200..1_000, 1..6);
            tokens.set(random, quota);
        }
    });
}
