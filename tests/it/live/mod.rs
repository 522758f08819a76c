//! Live change under load: each story changes the settings and modes of its policies thousands of
//! times, while four threads call.
//!
//! A paused clock has one thread, so here the clock and the threads are real and no single outcome
//! is determined. Every assertion holds for any scheduling: between two readings of a
//! [`Record`](record::Record) a call may have met each of the values and each of the modes that
//! were announced in between, and no other.

mod direct;
mod layered;
mod limiter;
mod record;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use futures::stream::{FuturesUnordered, StreamExt};
use seawall::ConfigError;

use crate::support::{Random, catching, ms, secs};

const THREADS: u64 = 4;

/// The callers of each thread.
const CALLERS: u64 = 6;

/// The changes of each of the two phases.
const CHANGES: u64 = 2_500;

/// The least time between two changes.
const PACE: Duration = Duration::from_micros(100);

/// A leak of 13 bytes a change would exceed this.
const FLAT: i64 = 32 * 1024;

/// Makes calls on four threads while `change` runs again and again, with the number of its round.
/// All calls return, and memory is flat in the second phase.
fn storm(call: impl AsyncFn(&mut Random) + Sync, change: impl Fn(&mut Random, u64)) {
    let phase = |phase: u64| -> i64 {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (call, over) = (&call, &over);
            let seeds = THREADS * phase..THREADS * (phase + 1);
            let loads = seeds.map(|seed| scope.spawn(move || measure(|| load(call, over, seed))));
            let loads: Vec<_> = loads.collect();
            let mut random = Random::new(7 + phase);
            let rounds = CHANGES * phase..CHANGES * (phase + 1);
            let changes = || {
                rounds.for_each(|round| {
                    change(&mut random, round);
                    thread::sleep(PACE);
                });
            };
            let changes = catching(|| measure(changes));
            over.store(true, Ordering::SeqCst);
            let loads = loads.into_iter().map(thread::ScopedJoinHandle::join);
            let grown = loads.chain([changes]).map(Result::unwrap);
            grown.map(|grown| grown.bytes_current).sum()
        })
    };
    phase(0);
    let grown = phase(1);
    assert!(grown < FLAT, "memory grew by {grown} bytes");
}

/// The load of one thread: many callers at once. Each is polled only when it is woken itself, so a
/// lost wake-up is seen.
fn load(call: &impl AsyncFn(&mut Random), over: &AtomicBool, seed: u64) {
    let callers = (0..CALLERS).map(|n| async move {
        let mut random = Random::new(seed * CALLERS + n);
        while !over.load(Ordering::SeqCst) {
            call(&mut random).await;
        }
    });
    let all = callers.collect::<FuturesUnordered<_>>().collect::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    // The changes take as long as the machine needs. Only then is there a bound for the calls.
    let hang = async {
        while !over.load(Ordering::SeqCst) {
            tokio::time::sleep(ms(50)).await;
        }
        tokio::time::sleep(secs(120)).await;
    };
    runtime.block_on(async {
        tokio::select! {
            () = all => {}
            () = hang => panic!("a call did not return"),
        }
    });
}

#[track_caller]
fn done(change: Result<(), ConfigError>) {
    change.unwrap();
}

fn below(random: &mut Random, end: u64) -> u32 {
    u32::try_from(random.below(end)).unwrap()
}

fn count(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

fn add(count: &AtomicUsize, n: usize) {
    count.fetch_add(n, Ordering::SeqCst);
}

/// Lets the other callers of the thread run, and now and then the other threads.
async fn pause(random: &mut Random) {
    match random.below(8) {
        0 => tokio::time::sleep(ms(1)).await,
        _ => tokio::task::yield_now().await,
    }
}
