use std::time::Duration;

use proptest::prelude::*;

use super::{BUCKETS, LONGEST, Latencies, SLICES, Wanted, bucket, upper_edge};
use crate::fuzzing::cases;
use crate::sync::OnceLock;
use crate::testing::ms;
use crate::time::{Tick, nanos};

const WINDOW: Duration = Duration::from_secs(30);
const SLICE: Duration = Duration::from_secs(5);
const START: Tick = Tick(1 << 50);

fn wanted(quantile: f64) -> Wanted {
    Wanted {
        quantile,
        min_samples: 1,
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Tick,
    latency: Duration,
    censored: bool,
}

/// Keeps every sample.
struct Naive(Vec<Sample>);

fn slice(at: Tick) -> u64 {
    at.0 / nanos(SLICE)
}

impl Naive {
    fn in_window(&self, now: Tick) -> Vec<Sample> {
        let seen = |sample: &&Sample| {
            slice(sample.at) <= slice(now) && slice(now) < slice(sample.at) + SLICES
        };
        self.0.iter().filter(seen).copied().collect()
    }

    /// With a clock that steps back: of two latencies of one bucket in two slices that share their
    /// cells, the newer is kept, whichever came first; unless it is so far ahead that no record
    /// can be that late: then the one that came last.
    fn record(&mut self, sample: Sample) {
        let (new, bucket) = (slice(sample.at), edge_of(sample.latency));
        let same = |old: &Sample| {
            let apart = slice(old.at).abs_diff(new);
            apart > 0 && apart % SLICES == 0 && edge_of(old.latency) == bucket
        };
        let ahead = |old: &Sample| slice(old.at).saturating_sub(new);
        let kept = |old: &Sample| same(old) && (1..super::LATEST).contains(&ahead(old));
        if !self.0.iter().any(kept) {
            self.0.retain(|old| !same(old));
            self.0.push(sample);
        }
    }

    /// Efron's form of the same estimator: from left to right, a censored sample passes its weight
    /// to all samples after it. `edge` is what a latency is rounded to.
    fn quantile(&self, now: Tick, q: f64, edge: impl Fn(Duration) -> Duration) -> Option<Duration> {
        let mut samples = self.in_window(now);
        samples.sort_by_cached_key(|sample| (edge(sample.latency), sample.censored));
        let mut weights = vec![1.0 / samples.len() as f64; samples.len()];
        let mut below = 0.0;
        for i in 0..samples.len() {
            let weight = weights[i];
            if samples[i].censored {
                let rest = samples.len() - i - 1;
                weights[i + 1..]
                    .iter_mut()
                    .for_each(|w| *w += weight / rest as f64);
                continue;
            }
            if samples[i].latency > LONGEST {
                return None;
            }
            below += weight;
            if below >= q - 1e-9 {
                return Some(edge(samples[i].latency));
            }
        }
        None
    }
}

/// The edges by addition alone: sixteen of one unit, then sixteen for every doubling.
fn edges() -> Vec<u64> {
    let mut edges = vec![];
    let (mut edge, mut step) = (0, 1u64 << 16);
    loop {
        for i in 0..16 {
            edge += step;
            edges.push(edge);
            if edge > nanos(LONGEST) {
                return edges;
            }
            // The first doubling has the width of one unit too.
            if i == 15 && edge > 16 << 16 {
                step *= 2;
            }
        }
    }
}

fn edge_of(latency: Duration) -> Duration {
    static EDGES: OnceLock<Vec<u64>> = OnceLock::new();
    let edges = EDGES.get_or_init(edges);
    match edges.iter().find(|edge| **edge > nanos(latency)) {
        Some(edge) if latency <= LONGEST => Duration::from_nanos(*edge).min(LONGEST),
        _ => Duration::MAX,
    }
}

#[test]
fn hg1_buckets_and_edges_are_those_of_the_list() {
    let edges = edges();
    assert_eq!(edges.len(), BUCKETS);
    let mut lower = 0;
    for (i, &edge) in edges.iter().enumerate() {
        assert_eq!(bucket(lower), i);
        assert_eq!(bucket(edge - 1), i);
        assert_eq!(nanos(upper_edge(i)), edge.min(nanos(LONGEST)));
        lower = edge;
    }
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let latency = prop_oneof![
        4 => 0u64..2_000_000,
        8 => 1_000_000u64..100_000_000,
        2 => 100_000_000u64..9_000_000_000,
        1 => 9_900_000_000u64..10_100_000_000,
    ];
    let sample = (0u64..60_000, latency, prop::bool::weighted(0.3));
    prop::collection::vec(sample, 1..300).prop_map(|list| {
        let of = |(at, latency, censored)| Sample {
            at: START.after(ms(at)),
            latency: Duration::from_nanos(latency),
            censored,
        };
        let mut list: Vec<Sample> = list.into_iter().map(of).collect();
        list.sort_by_key(|sample| sample.at);
        list
    })
}

fn recorded(samples: &[Sample]) -> Latencies {
    let latencies = Latencies::new(WINDOW);
    for sample in samples {
        latencies.record(sample.at, sample.latency, sample.censored);
    }
    latencies
}

/// How the clock moves: back and forth, sometimes by a whole window, an hour or a month.
fn passes() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => 0i64..200,
        4 => 0i64..9_000,
        2 => -9_000i64..0,
        1 => prop::sample::select(vec![-3_600_000i64, -60_000, -30_000, 30_000, 60_000, 3_600_000, 2_592_000_000]),
    ]
}

proptest! {
    #![proptest_config(cases(32))]

    // With a clock that jumps and steps back, also where the stamps wrap.
    #[test]
    fn hg1_hg5_long_schedules_find_the_naive_quantile(
        list in prop::collection::vec((passes(), 0u64..200_000_000, prop::bool::weighted(0.3)), 1..1_500),
        wraps in any::<bool>(), q in 0.01f64..0.999,
    ) {
        let mut now = if wraps { Tick((1 << 24) * nanos(SLICE) - nanos(WINDOW)) } else { START };
        let (latencies, mut naive) = (Latencies::new(WINDOW), Naive(Vec::new()));
        let mut months = 0;
        for (i, (passes, latency, censored)) in list.into_iter().enumerate() {
            months += u32::from(passes > 3_600_000);
            if months > 12 && passes > 3_600_000 {
                continue;
            }
            now = Tick(now.0.saturating_add_signed(passes * 1_000_000));
            let latency = Duration::from_nanos(latency);
            let sample = Sample { at: now, latency, censored };
            latencies.record(now, latency, censored);
            naive.record(sample);
            if i % 16 == 0 {
                let seen = naive.in_window(now);
                let over = seen.iter().filter(|s| !s.censored).count() as u64;
                prop_assert_eq!(latencies.samples(now), (over, seen.len() as u64 - over));
                prop_assert_eq!(latencies.quantile(now, wanted(q)), naive.quantile(now, q, edge_of));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn hg1_hg5_the_quantile_is_the_naive_one(samples in samples(), q in 0.01f64..0.999) {
        let now = samples.last().unwrap().at;
        let latencies = recorded(&samples);
        let naive = Naive(samples);
        prop_assert_eq!(latencies.quantile(now, wanted(q)), naive.quantile(now, q, edge_of));
        let over = naive.in_window(now).iter().filter(|s| !s.censored).count() as u64;
        prop_assert_eq!(latencies.samples(now).0, over);
    }

    #[test]
    fn hg1_with_nothing_cut_short_it_is_off_by_a_sixteenth_at_most(mut samples in samples(), q in 0.01f64..0.999) {
        samples.iter_mut().for_each(|sample| sample.censored = false);
        let now = samples.last().unwrap().at;
        let latencies = recorded(&samples);
        let exact = Naive(samples).quantile(now, q, |latency| latency);
        let found = latencies.quantile(now, wanted(q));
        match exact {
            None => prop_assert_eq!(found, None),
            Some(exact) => {
                let found = found.unwrap();
                let most = (exact / 16).max(Duration::from_micros(66));
                prop_assert!(exact <= found && found <= exact + most, "{:?} for {:?}", found, exact);
            }
        }
    }
}

#[test]
fn hg1_there_is_no_quantile_before_enough_samples_or_above_the_tracked_range() {
    let latencies = Latencies::new(WINDOW);
    let wanted = Wanted {
        quantile: 0.5,
        min_samples: 3,
    };
    for _ in 0..100 {
        latencies.record(START, ms(10), true);
    }
    latencies.record(START, ms(10), false);
    latencies.record(START, ms(10), false);
    assert_eq!(latencies.quantile(START, wanted), None);
    let latencies = Latencies::new(WINDOW);
    for _ in 0..3 {
        latencies.record(START, LONGEST, false);
    }
    assert_eq!(latencies.quantile(START, wanted), Some(LONGEST));
    for _ in 0..4 {
        latencies.record(START, LONGEST + Duration::from_nanos(1), false);
    }
    assert_eq!(latencies.quantile(START, wanted), None);
}

// After 2^24 slices, which are weeks or years.
#[test]
fn hg1_nothing_is_lost_where_the_stamps_wrap() {
    for before in 0..=2 * SLICES {
        let latencies = Latencies::new(WINDOW);
        let at = |slices| Tick(((1 << 24) - before + slices) * nanos(SLICE));
        for slices in 0..SLICES {
            latencies.record(at(slices), ms(10), false);
        }
        let seen = latencies.samples(at(SLICES - 1));
        assert_eq!(seen, (SLICES, 0), "{before}");
    }
}

#[test]
fn hg1_a_latency_older_than_the_window_does_not_count() {
    let latencies = Latencies::new(WINDOW);
    latencies.record(START, ms(10), false);
    let last = START.after(WINDOW - SLICE);
    assert_eq!(latencies.samples(last), (1, 0));
    assert_eq!(latencies.samples(START.after(WINDOW)), (0, 0));
    // A late one changes nothing in the newer slice that has its cells.
    latencies.record(START.after(WINDOW), ms(10), false);
    latencies.record(START, ms(10), false);
    assert_eq!(latencies.samples(START.after(WINDOW)), (1, 0));
}

#[test]
fn hg1_the_quantile_is_computed_again_after_a_300th_of_the_window() {
    let latencies = Latencies::new(WINDOW);
    latencies.record(START, ms(10), false);
    let first = latencies.recent(START, wanted(0.5)).unwrap();
    (0..10).for_each(|_| latencies.record(START, ms(100), false));
    let almost = START.after(ms(99));
    assert_eq!(latencies.recent(almost, wanted(0.5)), Some(first));
    let second = latencies.recent(START.after(ms(100)), wanted(0.5)).unwrap();
    assert!(second >= ms(100));
}

#[test]
fn hg1_extreme_counts_and_latencies_stay_in_their_bits() {
    let latencies = Latencies::new(WINDOW);
    latencies.record(START, Duration::MAX, false);
    latencies.record(START, Duration::ZERO, true);
    for now in [Tick::ZERO, Tick::NEVER] {
        latencies.record(now, ms(1), false);
        latencies.quantile(now, wanted(0.999_999));
        latencies.recent(now, wanted(0.000_001));
    }
    let cell = super::Cell::new();
    for _ in 0..=super::COUNT {
        cell.add(5, false);
    }
    cell.add(5, true);
    let counts = cell.read(5).unwrap();
    assert_eq!((counts.over, counts.censored), (super::COUNT, 1));
}

/// Runs 20,000 calls of a hedge at its own quantile, over attempts that take `draw`. Returns the
/// quantile at the end and the number of extra attempts.
fn hedged(q: f64, draw: impl Fn(&mut fastrand::Rng) -> Duration) -> (Option<Duration>, u32) {
    let latencies = Latencies::new(WINDOW);
    let wanted = Wanted {
        quantile: q,
        min_samples: 100,
    };
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut now, mut extra) = (START, 0);
    for _ in 0..20_000 {
        now = now.after(ms(10));
        let first = draw(&mut rng);
        match latencies.recent(now, wanted) {
            Some(delay) if first > delay => {
                extra += 1;
                let second = draw(&mut rng);
                let over = first.min(delay + second);
                latencies.record(now, over, over < first);
                latencies.record(now, over - delay, over < delay + second);
            }
            _ => latencies.record(now, first, false),
        }
    }
    (latencies.quantile(now, wanted), extra)
}

fn assert_near(found: Option<Duration>, truth: Duration, within: f64) {
    let ratio = found.expect("a quantile").as_secs_f64() / truth.as_secs_f64();
    assert!((1.0 - within..1.07 + within).contains(&ratio), "{found:?}");
}

#[test]
fn hg5_a_long_tail_that_is_hedged_at_its_quantile_keeps_it() {
    let mean = 0.1;
    let draw = |rng: &mut fastrand::Rng| {
        Duration::from_secs_f64(-mean * (1.0 - rng.f64()).ln()).max(ms(1))
    };
    for (q, within) in [(0.5, 0.1), (0.9, 0.1), (0.95, 0.12)] {
        let (found, extra) = hedged(q, draw);
        assert_near(
            found,
            Duration::from_secs_f64(-mean * (1.0 - q).ln()),
            within,
        );
        let share = f64::from(extra) / 20_000.0;
        assert!(share < (1.0 - q) * 1.15, "{share} at {q}");
    }
}

// The slow attempts lose every race, and still count.
#[test]
fn hg5_two_modes_keep_their_quantiles() {
    let draw = |rng: &mut fastrand::Rng| match rng.f64() {
        f if f < 0.9 => ms(10),
        _ => ms(1_000),
    };
    assert_near(hedged(0.85, draw).0, ms(10), 0.0);
    let (found, extra) = hedged(0.95, draw);
    assert_near(found, ms(1_000), 0.0);
    assert!(extra < 100, "{extra}");
}

#[test]
fn hg5_a_service_that_is_slow_for_all_calls_is_not_hedged() {
    let (found, extra) = hedged(0.95, |rng| ms(500 + rng.u64(0..10)));
    assert_near(found, ms(510), 0.02);
    assert!(extra < 50, "{extra}");
}

proptest! {
    // Also at and around the edges of slices.
    #[test]
    fn hg1_the_slice_is_the_one_of_a_division(
        window in 1..=u64::MAX,
        now in any::<u64>(),
        around in -1..=1_i64,
    ) {
        let latencies = Latencies::new(Duration::from_nanos(window));
        let slice = latencies.slice;
        let edge = (now / slice * slice).saturating_add_signed(around);
        for now in [now, edge, u64::MAX, 0] {
            prop_assert_eq!(latencies.slices(Tick(now)), now / slice);
        }
    }

    #[test]
    fn hg1_the_slice_of_a_few_nanoseconds_is_right(window in 1..=100_u64, now in any::<u64>()) {
        let latencies = Latencies::new(Duration::from_nanos(window));
        prop_assert_eq!(latencies.slices(Tick(now)), now / latencies.slice);
    }
}
