//! Live change under load: quotas, limits, rules, budgets, timeouts, attempts and modes change a
//! thousand times a second and more, while four threads call, directly and through layers, for ten
//! seconds of real time.
//!
//! With a real clock and real threads no single outcome is determined. Every assertion holds for
//! any scheduling: between two readings of a [`Log`](record::Log) a call may have met each of the
//! values that were announced in between, and no other.

mod direct;
mod layered;
mod record;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use seawall::Mode;

use self::record::{Clock, Faults, Switched};
use crate::support::{Random, locked, ms, secs};

const THREADS: u64 = 4;

/// Changes of each part a second, at least; twice as many are tried.
const A_SECOND: u64 = 1_000;

/// How long the test lasts. On a machine that is too busy for the changes it lasts longer, but at
/// most by [`LATEST`].
const LASTS: Duration = secs(10);
const LATEST: Duration = secs(60);

/// Memory is flat after this time.
const WARM: Duration = secs(5);

/// A leak of a few bytes a change would exceed this: there are ten thousand changes of each part.
const FLAT: i64 = 256 * 1024;

/// What all parts share.
struct World {
    clock: Clock,
    faults: Faults,
    /// Every listener and every rule holds a clone, so a leaked one is seen.
    marker: Arc<()>,
    started: AtomicUsize,
    returned: AtomicUsize,
    /// All observed policies.
    policies: Mutex<Vec<Arc<dyn Switched>>>,
    /// How often every part was changed.
    rounds: AtomicU64,
}

/// When calls and changes stop.
#[derive(Clone, Copy, Debug)]
struct Until {
    at: Instant,
    rounds: u64,
}

impl Until {
    fn new(start: Instant, lasts: Duration) -> Self {
        Self {
            at: start + lasts,
            rounds: A_SECOND * lasts.as_secs(),
        }
    }
}

impl World {
    fn new() -> Self {
        Self {
            clock: Clock::start(),
            faults: Faults::default(),
            marker: Arc::default(),
            started: AtomicUsize::new(0),
            returned: AtomicUsize::new(0),
            policies: Mutex::default(),
            rounds: AtomicU64::new(0),
        }
    }

    fn check(&self, holds: bool, fault: impl FnOnce() -> String) {
        self.faults.check(holds, fault);
    }

    fn is_over(&self, until: Until) -> bool {
        let late = Instant::now().saturating_duration_since(until.at);
        let changed = self.rounds.load(Ordering::SeqCst) >= until.rounds;
        Instant::now() >= until.at && (changed || late > LATEST)
    }
}

type Call<'a> = LocalBoxFuture<'a, ()>;

/// Policies with their calls, their changes and what has to hold of both.
trait Part: Sync {
    /// A call, or a few, of a caller with its own numbers.
    fn call<'a>(&'a self, world: &'a World, random: &'a mut Random) -> Call<'a>;
    fn change(&self, world: &World, random: &mut Random, round: u64);
    /// Checks what was recorded, when no call is in flight any more.
    fn finish(&self, _: &World) {}
}

/// The callers of each part on one thread.
const CALLERS: u64 = 3;

/// The load of one thread: many callers at once. Each is polled only when it is woken itself, so a
/// lost wake-up is seen.
fn load(parts: &[Box<dyn Part>], world: &World, seed: u64, until: Until) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let mut callers = FuturesUnordered::new();
    for (n, part) in parts
        .iter()
        .flat_map(|part| (0..CALLERS).map(move |n| (n, part)))
    {
        let mut random = Random::new(seed * CALLERS + n);
        callers.push(async move {
            while !world.is_over(until) {
                add(&world.started, 1);
                part.call(world, &mut random).await;
                add(&world.returned, 1);
            }
        });
    }
    let all = runtime.block_on(async {
        let all = async { while callers.next().await.is_some() {} };
        // Longer than any wait here.
        tokio::time::timeout(LATEST + LASTS + secs(20), all).await
    });
    world.check(all.is_ok(), || "a call did not return".to_owned());
}

/// Changes every part once a round, and catches up after a delay.
fn change(parts: &[Box<dyn Part>], world: &World, random: &mut Random, start: Instant, end: Until) {
    while !world.is_over(end) {
        let round = world.rounds.fetch_add(1, Ordering::SeqCst);
        for part in parts {
            part.change(world, random, round);
        }
        for policy in locked(&world.policies).iter() {
            if random.below(32) == 0 {
                policy.set_any_mode(random);
            }
        }
        let due = start + Duration::from_micros(round * 500_000 / A_SECOND);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn any_mode(random: &mut Random) -> Mode {
    match random.below(4) {
        0 => Mode::Off,
        1 => Mode::RecordOnly,
        _ => Mode::Enforce,
    }
}

fn count(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

fn add(count: &AtomicUsize, n: usize) {
    count.fetch_add(n, Ordering::SeqCst);
}

/// Lets the other callers of the thread run, and now and then the other threads.
async fn pause(random: &mut Random) {
    match random.below(20) {
        0 => tokio::time::sleep(ms(1)).await,
        _ => tokio::task::yield_now().await,
    }
}

// CX19, RL1, RL7, BH5, CB19, RT4, CX14
#[test]
fn cx19_under_load_a_change_loses_nothing_and_mints_nothing() {
    let world = World::new();
    let parts: Vec<Box<dyn Part>> = [direct::parts(&world), layered::parts(&world)]
        .into_iter()
        .flatten()
        .collect();
    let start = Instant::now();
    let (warm, end) = (Until::new(start, WARM), Until::new(start, LASTS));
    let grown: i64 = thread::scope(|scope| {
        let (parts, world) = (&parts, &world);
        let loads: Vec<_> = (0..THREADS)
            .map(|seed| {
                scope.spawn(move || {
                    load(parts, world, 2 * seed, warm);
                    let measured = || load(parts, world, 2 * seed + 1, end);
                    allocation_counter::measure(measured).bytes_current
                })
            })
            .collect();
        let mut random = Random::new(7);
        change(parts, world, &mut random, start, warm);
        let measured = || change(parts, world, &mut random, start, end);
        let grown = allocation_counter::measure(measured).bytes_current;
        let loads = loads.into_iter().map(|load| load.join().unwrap());
        grown + loads.sum::<i64>()
    });

    world.check(grown < FLAT, || format!("memory grew by {grown} bytes"));
    let (started, returned) = (count(&world.started), count(&world.returned));
    world.check(started == returned, || {
        format!("{returned} of {started} calls returned")
    });
    let rounds = world.rounds.load(Ordering::SeqCst);
    world.check(rounds >= end.rounds, || format!("only {rounds} changes"));
    let policies = std::mem::take(&mut *locked(&world.policies));
    policies.iter().for_each(|policy| policy.finish());
    parts.iter().for_each(|part| part.finish(&world));
    drop((parts, policies));
    let leaked = Arc::strong_count(&world.marker) - 1;
    world.check(leaked == 0, || {
        format!("{leaked} listeners or rules leaked")
    });
    let faults = world.faults.take();
    assert!(faults.is_empty(), "{}: {faults:#?}", faults.len());
    println!(
        "{started} calls and {rounds} changes in {:?}, memory {grown:+}",
        start.elapsed()
    );
}
