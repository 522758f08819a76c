//! Live change under load: rates, limits, thresholds, budgets, timeouts, attempts and modes change
//! some thousand times a second while four threads call, directly and through layers, for ten
//! seconds of real time.
//!
//! With a real clock and real threads no single call is foretold, so all that is asserted holds
//! whatever the scheduler does: between two looks at a [`Log`] a call may have met any of the
//! values announced in between, and no other.

mod calls;
mod counted;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use seawall::Mode;

use self::calls::Calls;
use self::counted::Counted;
use self::record::{Clock, Faults};
use crate::support::{Random, secs};

const THREADS: u64 = 4;

/// Changes of each kind a second, at least; twice as many are tried.
const A_SECOND: u64 = 1_000;

/// How long the test lasts. On a machine so busy that the changes do not keep their pace it lasts
/// until they are made.
const LASTS: Duration = secs(10);

/// By so much at most.
const LATEST: Duration = secs(60);

/// After half of it memory has to be flat.
const WARM: Duration = secs(5);

/// What a change would have to leak to be seen is a few bytes: there are ten thousand and more of
/// each kind while it is looked for.
const FLAT: i64 = 256 * 1024;

/// What every part of the test has at hand.
#[derive(Clone, Debug)]
struct Around {
    clock: Clock,
    faults: Faults,
    /// In every listener and in every rule: whoever is not freed keeps one.
    marker: Arc<()>,
    started: Arc<AtomicUsize>,
    returned: Arc<AtomicUsize>,
    /// How often everything was changed.
    rounds: Arc<AtomicU64>,
}

/// When a part of the test is over.
#[derive(Clone, Copy, Debug)]
struct Until {
    at: Instant,
    rounds: u64,
}

impl Until {
    fn new(began: Instant, lasts: Duration) -> Self {
        Self {
            at: began + lasts,
            rounds: A_SECOND * lasts.as_secs(),
        }
    }
}

impl Around {
    fn is_over(&self, until: Until) -> bool {
        let late = Instant::now().saturating_duration_since(until.at);
        let changed = self.rounds.load(Ordering::SeqCst) >= until.rounds;
        Instant::now() >= until.at && (changed || late > LATEST)
    }

    /// Until `until`, makes calls that each come back or are given up by their caller.
    async fn calls(&self, until: Until, mut call: impl AsyncFnMut()) {
        while !self.is_over(until) {
            self.started.fetch_add(1, Ordering::SeqCst);
            call().await;
            self.returned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// How many changes of each kind were made.
#[derive(Debug, Default)]
struct Changes(BTreeMap<&'static str, u64>);

impl Changes {
    fn made(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }
}

/// Some mode; enforced half of the time.
fn some_mode(random: &mut Random) -> Mode {
    match random.below(4) {
        0 => Mode::Off,
        1 => Mode::RecordOnly,
        _ => Mode::Enforce,
    }
}

#[derive(Debug)]
struct Live {
    around: Around,
    counted: Counted,
    calls: Calls,
}

impl Live {
    fn new() -> Self {
        let around = Around {
            clock: Clock::start(),
            faults: Faults::default(),
            marker: Arc::default(),
            started: Arc::default(),
            returned: Arc::default(),
            rounds: Arc::default(),
        };
        Self {
            counted: Counted::new(&around),
            calls: Calls::new(&around),
            around,
        }
    }

    /// The load of one thread: many callers at once.
    fn load(&self, runtime: &tokio::runtime::Runtime, seed: u64, until: Until) {
        // Each is polled only when it is woken itself, so that a wake-up that is lost is missed.
        let mut callers: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
        callers.extend(self.counted.callers(seed, until));
        callers.extend(self.calls.callers(seed, until));
        let all = runtime.block_on(async {
            // Longer than any wait here.
            let all = async { while callers.next().await.is_some() {} };
            tokio::time::timeout(LATEST + LASTS + secs(20), all).await
        });
        (self.around.faults).check(all.is_ok(), || "some call never came back".to_owned());
    }

    /// Changes everything once in a round, and keeps to its pace also after it was held up.
    fn change(&self, changes: &mut Changes, random: &mut Random, began: Instant, until: Until) {
        while !self.around.is_over(until) {
            let round = self.around.rounds.fetch_add(1, Ordering::SeqCst);
            self.counted.change(changes, random, round);
            self.calls.change(changes, random, round);
            let due = began + Duration::from_micros(round * 500_000 / A_SECOND);
            let ahead = due.saturating_duration_since(Instant::now());
            if !ahead.is_zero() {
                thread::sleep(ahead);
            }
        }
    }
}

// CX19, RL1, RL7, BH5, CB19, RT4; CX14 and D5 by the way.
#[test]
fn cx19_under_load_a_change_loses_nothing_and_mints_nothing() {
    let live = Live::new();
    let began = Instant::now();
    let (warm, end) = (Until::new(began, WARM), Until::new(began, LASTS));
    let (mut changes, mut random) = (Changes::default(), Random::new(7));
    let grown: i64 = thread::scope(|scope| {
        let live = &live;
        let loads: Vec<_> = (0..THREADS)
            .map(|seed| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_time().build().unwrap();
                    live.load(&runtime, 2 * seed, warm);
                    let load = || live.load(&runtime, 2 * seed + 1, end);
                    allocation_counter::measure(load).bytes_current
                })
            })
            .collect();
        live.change(&mut changes, &mut random, began, warm);
        let rest = || live.change(&mut changes, &mut random, began, end);
        let grown = allocation_counter::measure(rest).bytes_current;
        let loads = loads.into_iter().map(|load| load.join().unwrap());
        grown + loads.sum::<i64>()
    });

    let Live {
        around,
        counted,
        calls,
    } = live;
    let Around { faults, marker, .. } = &around;
    faults.check(grown < FLAT, || format!("memory grew by {grown} bytes"));
    let (started, returned) = (&around.started, &around.returned);
    let (started, returned) = (
        started.load(Ordering::SeqCst),
        returned.load(Ordering::SeqCst),
    );
    faults.check(started == returned, || {
        format!("of {started} calls {returned} came back")
    });
    for (kind, made) in &changes.0 {
        let enough = *made >= A_SECOND * LASTS.as_secs();
        faults.check(enough, || format!("{kind}: only {made} changes"));
    }
    counted.finish(&around);
    calls.finish(&around);
    drop((counted, calls));
    // Here, and in `around` itself.
    let kept = Arc::strong_count(marker) - 1;
    faults.check(kept == 0, || {
        format!("{kept} listeners or rules were not freed")
    });
    let faults = faults.take();
    assert!(faults.is_empty(), "{}: {faults:#?}", faults.len());
    let lasted = began.elapsed();
    println!(
        "{started} calls in {lasted:?}, memory {grown:+} bytes, {:?}",
        changes.0
    );
}
