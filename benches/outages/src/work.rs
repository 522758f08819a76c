//! All runs, on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::Contender;
use crate::judge::Entry;
use crate::measure::{Figures, Summary};
use crate::row::Row;
use crate::simulate::run;

/// A row for one contender.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub row: &'static Row,
    pub contender: Contender,
}

/// Runs each job with the seeds from 1 to `seeds`, on `threads` threads. One seed gives the same
/// figures in each run.
#[must_use]
pub fn run_all(jobs: &[Job], seeds: u64, threads: usize) -> Vec<Entry> {
    let seeds = usize::try_from(seeds.max(1)).expect("seeds that fit");
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Figures>>> = Mutex::new(vec![None; jobs.len() * seeds]);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(n / seeds) else {
                        return;
                    };
                    let figures = run(job.row, job.contender, (n % seeds) as u64 + 1);
                    done.lock().expect("no panic")[n] = Some(figures);
                }
            });
        }
    });
    let done: Vec<Figures> = done
        .into_inner()
        .expect("no panic")
        .into_iter()
        .flatten()
        .collect();
    let entries = jobs.iter().zip(done.chunks(seeds));
    entries
        .map(|(job, runs)| Entry {
            row: job.row,
            contender: job.contender,
            summary: Summary::of(runs),
        })
        .collect()
}
