//! Throughput and fairness of each core under 1, 2, 4 and 8 threads. With more threads than cores, the
//! shares include the scheduler's fairness, and the throughput shows whether threads wait for one that
//! does not run.
//!
//! ```text
//! cargo bench --manifest-path benches/Cargo.toml --bench contention -- [--quick] [--record] [FILTER..]
//! ```

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Parser;
use governor::Quota as Governor;
use recloser::Recloser;
use seawall::{Budget, Bulkhead, CircuitBreaker, Quota, RateLimiter, Trip, Window};
use seawall_benches::{Args, Machine, Plan, Sheet, Work, crew, digits, median};
use tokio::sync::Semaphore;
use tower::retry::budget::{Budget as _, TpsBudget};

/// Does the work `n` times and returns how often it was admitted.
type Contender = (&'static str, Box<dyn Fn(u64) -> u64 + Send + Sync>);

type Make = fn() -> Vec<Contender>;

fn each(name: &'static str, run: impl Fn() -> bool + Send + Sync + 'static) -> Contender {
    let run = move |n| (0..n).map(|_| u64::from(run())).sum();
    (name, Box::new(run))
}

/// A rate that eight threads cannot use up.
const LARGE: u32 = 1_000_000_000;

fn limiter(rate: u32, burst: u32) -> Vec<Contender> {
    let quota = Governor::per_second(NonZeroU32::new(rate).unwrap());
    let peer = governor::RateLimiter::direct(quota.allow_burst(NonZeroU32::new(burst).unwrap()));
    let ours = RateLimiter::builder(Quota::per_second(rate).burst(burst));
    let ours = ours.build().unwrap();
    vec![
        each("governor", move || peer.check().is_ok()),
        each("seawall", move || ours.allow()),
    ]
}

fn rejecting() -> Vec<Contender> {
    let peer = governor::RateLimiter::direct(Governor::per_hour(NonZeroU32::MIN));
    let ours = RateLimiter::per_hour(1);
    assert!(peer.check().is_ok() && ours.allow());
    vec![
        each("governor", move || peer.check().is_err()),
        each("seawall", move || !ours.allow()),
    ]
}

fn breaking(trip: Trip) -> Contender {
    let breaker = CircuitBreaker::builder("contended").trip_on(trip);
    let breaker = breaker.build().unwrap();
    each("seawall", move || match breaker.try_acquire() {
        Ok(permit) => {
            permit.success();
            true
        }
        Err(_) => false,
    })
}

fn over_time() -> Vec<Contender> {
    let peer = Recloser::custom().error_rate(0.5).build();
    let window = Window::time(Duration::from_secs(10));
    vec![
        each("recloser", move || peer.call(|| Ok::<_, ()>(())).is_ok()),
        breaking(Trip::failure_rate(0.5).over(window).min_calls(20)),
    ]
}

fn bulkhead() -> Vec<Contender> {
    let peer = Semaphore::new(64);
    let ours = Bulkhead::new(64);
    vec![
        each("tokio::sync::Semaphore", move || {
            peer.try_acquire().map(drop).is_ok()
        }),
        each("seawall", move || {
            let permit = ours.try_acquire();
            permit.map(|permit| permit.release()).is_ok()
        }),
    ]
}

fn budget() -> Vec<Contender> {
    let peer = TpsBudget::default();
    let ours = Budget::percent(10);
    vec![
        each("tower::TpsBudget", move || {
            peer.deposit();
            true
        }),
        each("seawall", move || {
            ours.on_call();
            true
        }),
    ]
}

fn main() {
    let args = Args::parse();
    let machine = Machine::read();
    eprintln!("{machine}\n");
    let header = &[
        "work",
        "threads",
        "million/s",
        "of 1 thread's",
        "least share",
        "most share",
    ];
    let mut sheet = Sheet::new(header, &[1, 2, 3, 4, 5]);
    let works: [(&str, Make); 7] = [
        ("limiter, large burst", || limiter(LARGE, LARGE)),
        ("limiter, small burst", || limiter(LARGE / 10, 100)),
        ("limiter, rejecting", rejecting),
        ("breaker, consecutive failures", || {
            vec![breaking(Trip::consecutive_failures(5))]
        }),
        ("breaker, failure rate over time", over_time),
        ("bulkhead, in and out", bulkhead),
        ("budget, a call", budget),
    ];
    for (name, make) in works {
        if !args.wants(name) {
            continue;
        }
        if args.list {
            println!("{name}");
            continue;
        }
        eprintln!("{name}");
        let (names, mut work): (Vec<_>, Vec<_>) = make()
            .into_iter()
            .map(|(name, run)| (name, Work::Shared(run)))
            .unzip();
        let by_threads = [1, 2, 4, 8].map(|threads| {
            let plan = match threads <= machine.cores() {
                true => Plan::of(&args),
                false => Plan::crowded(&args),
            };
            (threads, crew(&plan, threads, &mut work))
        });
        for (i, contender) in names.iter().enumerate() {
            let alone = by_threads[0].1[i].median();
            for (threads, samples) in &by_threads {
                let sample = &samples[i];
                let share = |of: fn(&(f64, f64)) -> f64| {
                    let shares: Vec<f64> = sample.shares.iter().map(of).collect();
                    format!("{:.2}", median(&shares))
                };
                let mark = if sample.disturbed { "~" } else { "" };
                sheet.push([
                    format!("{name}: {contender}"),
                    threads.to_string(),
                    format!("{mark}{}", digits(1e3 / sample.median())),
                    format!("{:.2} x", alone / sample.median()),
                    share(|shares| shares.0),
                    share(|shares| shares.1),
                ]);
            }
        }
    }
    if !args.list {
        let last =
            "A share of 1 is an even one. ~: the machine was too busy for enough clean turns.";
        sheet.finish("contention", &machine, last, args.record);
    }
}
