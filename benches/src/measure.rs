use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::sched::Times;

/// Makes this number of operations and returns how many ended as expected.
pub enum Work {
    Alone(Box<dyn FnMut(u64) -> u64>),
    Shared(Box<dyn Fn(u64) -> u64 + Send + Sync>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Seawall.
    Ours,
    Peer,
    /// A lower bound: shown, and not compared.
    Floor,
}

/// One contender's turns.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Nanoseconds per operation of each kept turn: wall time over the operations of all threads.
    pub ns: Vec<f64>,
    /// See [`Turn::shares`].
    pub shares: Vec<(f64, f64)>,
    pub allocations: f64,
    /// Turns that were dropped, because the machine was busy.
    pub dropped: usize,
    /// Too few turns were clean, so the least disturbed ones are among the kept.
    pub disturbed: bool,
    /// The share of the operations that did not end as expected.
    pub astray: f64,
}

impl Sample {
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.ns)
    }
}

#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// One turn.
pub struct Turn {
    pub ns: f64,
    /// The least and the greatest share of one thread, where 1 is an even share.
    pub shares: (f64, f64),
    /// The share of the turn in which all threads could run.
    pub overlap: f64,
}

/// How turns are taken.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// How long one contender runs in a turn: long for a clock reading, and short for the scheduler.
    pub turn: Duration,
    /// A turn with less overlap is dropped.
    pub clean: f64,
    /// How long rounds are made at most, clean or not, once there are enough.
    pub patience: Duration,
}

impl Plan {
    #[must_use]
    pub fn of(args: &Args) -> Self {
        Self {
            rounds: args.rounds(),
            turn: Duration::from_micros(if args.quick { 500 } else { 3_000 }),
            clean: 0.95,
            patience: Duration::from_secs(if args.quick { 1 } else { 15 }),
        }
    }

    /// For more threads than cores: turns that are long enough for all threads to run many times.
    #[must_use]
    pub fn crowded(args: &Args) -> Self {
        Self {
            rounds: args.rounds().min(9),
            turn: Duration::from_millis(if args.quick { 20 } else { 100 }),
            clean: f64::NEG_INFINITY,
            patience: Duration::ZERO,
        }
    }
}

impl Work {
    pub(crate) fn run(&mut self, operations: u64) -> u64 {
        match self {
            Self::Alone(run) => run(operations),
            Self::Shared(run) => run(operations),
        }
    }

    /// Warms up, and finds how many operations fill a turn. It tries again, because the scheduler may spoil a
    /// first guess.
    fn calibrate(&mut self, turn: Duration) -> u64 {
        let mut operations = 1;
        let mut fitting = 0;
        while fitting < 3 {
            let before = Times::read();
            let start = Instant::now();
            self.run(operations);
            let waited = Times::read().since(before).waited;
            let took = start.elapsed().saturating_sub(waited);
            let fill = turn.as_secs_f64() / took.as_secs_f64().max(1e-9);
            match fill {
                ..=1.5 => fitting += 1,
                ..=4.0 => {
                    operations = (operations as f64 * fill) as u64;
                    fitting += 1;
                }
                _ => {
                    operations *= 3;
                    fitting = 0;
                }
            }
        }
        operations
    }

    fn allocations(&mut self, at_most: u64) -> f64 {
        let operations = at_most.min(1_000);
        let counted = allocation_counter::measure(|| {
            self.run(operations);
        });
        counted.count_total as f64 / operations as f64
    }
}

/// Contenders in turn on the calling thread. An operation is a `batch` of calls.
pub fn alone(plan: &Plan, processor: bool, batch: u64, contenders: &mut [Work]) -> Vec<Sample> {
    let mut samples = vec![Sample::default(); contenders.len()];
    let mut operations = Vec::new();
    for (work, sample) in contenders.iter_mut().zip(&mut samples) {
        let fill = work.calibrate(plan.turn);
        sample.allocations = work.allocations(fill) / batch as f64;
        operations.push(fill);
    }
    let mut turns: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
    rounds(plan, &mut turns, |i| {
        let before = Times::read();
        let start = Instant::now();
        let expected = contenders[i].run(operations[i]);
        let took = start.elapsed();
        let times = Times::read().since(before);
        samples[i].astray += 1.0 - expected as f64 / operations[i] as f64;
        let spent = if processor { times.ran } else { took };
        Turn {
            ns: spent.as_secs_f64() * 1e9 / (operations[i] * batch) as f64,
            shares: (1.0, 1.0),
            overlap: 1.0 - times.waited.as_secs_f64() / took.as_secs_f64(),
        }
    });
    for (sample, turns) in samples.iter_mut().zip(turns) {
        sample.keep(plan, turns);
    }
    samples
}

/// Contenders in turn, as the caller measures them. Their allocations are not counted.
pub fn taken(plan: &Plan, contenders: usize, take: impl FnMut(usize) -> Turn) -> Vec<Sample> {
    let mut turns: Vec<Vec<Turn>> = (0..contenders).map(|_| Vec::new()).collect();
    rounds(plan, &mut turns, take);
    let sample = |turns| {
        let mut sample = Sample {
            allocations: f64::NAN,
            ..Sample::default()
        };
        sample.keep(plan, turns);
        sample
    };
    turns.into_iter().map(sample).collect()
}

/// One thread in a turn.
#[derive(Clone, Copy)]
struct Stint {
    start: Instant,
    end: Instant,
    operations: u64,
    expected: u64,
    waited: Duration,
}

/// Operations between two reads of the flag that ends a turn.
const CHUNK: u64 = 256;

/// Contenders in turn on `threads` threads at once. All contenders use the same threads, which start each
/// turn together. A turn ends for all at once.
pub fn crew(plan: &Plan, threads: usize, contenders: &mut [Work]) -> Vec<Sample> {
    let mut samples = vec![Sample::default(); contenders.len()];
    for (work, sample) in contenders.iter_mut().zip(&mut samples) {
        let fill = work.calibrate(plan.turn);
        sample.allocations = work.allocations(fill);
    }
    let shared: Vec<_> = contenders
        .iter()
        .map(|work| match work {
            Work::Shared(run) => run,
            Work::Alone(_) => panic!("several threads need work that they can share"),
        })
        .collect();
    const DONE: usize = usize::MAX;
    let job = AtomicUsize::new(DONE);
    let ready = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let gate = Barrier::new(threads + 1);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (job, ready, stop, gate, shared) = (&job, &ready, &stop, &gate, &shared);
            let send = send.clone();
            scope.spawn(move || {
                loop {
                    gate.wait();
                    let job = job.load(Ordering::SeqCst);
                    if job == DONE {
                        break;
                    }
                    let run = shared[job];
                    // The barrier wakes one thread after the other: they meet here again.
                    ready.fetch_add(1, Ordering::SeqCst);
                    while ready.load(Ordering::SeqCst) < threads {
                        std::hint::spin_loop();
                    }
                    let before = Times::read();
                    let start = Instant::now();
                    let (mut operations, mut expected) = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        expected += run(CHUNK);
                        operations += CHUNK;
                    }
                    let end = Instant::now();
                    let stint = Stint {
                        start,
                        end,
                        operations,
                        expected,
                        waited: Times::read().since(before).waited,
                    };
                    let _ = send.send(stint);
                }
            });
        }
        let mut turns: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
        rounds(plan, &mut turns, |i| {
            job.store(i, Ordering::SeqCst);
            ready.store(0, Ordering::SeqCst);
            stop.store(false, Ordering::SeqCst);
            gate.wait();
            while ready.load(Ordering::SeqCst) < threads {
                std::thread::yield_now();
            }
            std::thread::sleep(plan.turn);
            stop.store(true, Ordering::SeqCst);
            let stints: Vec<Stint> = receive.iter().take(threads).collect();
            let (turn, astray) = turn(&stints);
            samples[i].astray += astray;
            turn
        });
        job.store(DONE, Ordering::SeqCst);
        gate.wait();
        for (sample, turns) in samples.iter_mut().zip(turns) {
            sample.keep(plan, turns);
        }
    });
    samples
}

/// A turn of several threads, and the share of operations that ended otherwise.
fn turn(stints: &[Stint]) -> (Turn, f64) {
    let first = stints.iter().map(|stint| stint.start).min().unwrap();
    let last = stints.iter().map(|stint| stint.end).max().unwrap();
    let all_from = stints.iter().map(|stint| stint.start).max().unwrap();
    let all_to = stints.iter().map(|stint| stint.end).min().unwrap();
    let waited = stints.iter().map(|stint| stint.waited).max().unwrap();
    let span = (last - first).as_secs_f64();
    let together = all_to.saturating_duration_since(all_from).as_secs_f64();
    let rates: Vec<f64> = stints
        .iter()
        .map(|s| s.operations as f64 / (s.end - s.start).as_secs_f64().max(1e-9))
        .collect();
    let sum: f64 = rates.iter().sum();
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let even = stints.len() as f64 / sum;
    let operations: u64 = stints.iter().map(|stint| stint.operations).sum();
    let expected: u64 = stints.iter().map(|stint| stint.expected).sum();
    let turn = Turn {
        ns: 1e9 / sum,
        shares: (least * even, most * even),
        overlap: (together - waited.as_secs_f64()) / span,
    };
    (turn, 1.0 - expected as f64 / operations as f64)
}

/// Turns of all contenders in rounds, until each has enough clean ones.
fn rounds(plan: &Plan, turns: &mut [Vec<Turn>], mut take: impl FnMut(usize) -> Turn) {
    let enough = |turns: &[Vec<Turn>]| {
        turns.iter().all(|turns| {
            turns
                .iter()
                .filter(|turn| turn.overlap >= plan.clean)
                .count()
                >= plan.rounds
        })
    };
    let began = Instant::now();
    for round in 1.. {
        for (i, turns) in turns.iter_mut().enumerate() {
            turns.push(take(i));
        }
        let out_of_patience = round >= plan.rounds && began.elapsed() >= plan.patience;
        if enough(turns) || out_of_patience {
            break;
        }
    }
}

impl Sample {
    fn keep(&mut self, plan: &Plan, mut turns: Vec<Turn>) {
        let made = turns.len();
        self.astray /= made as f64;
        let clean = turns
            .iter()
            .filter(|turn| turn.overlap >= plan.clean)
            .count();
        self.disturbed = clean < plan.rounds;
        turns.sort_by(|a, b| b.overlap.total_cmp(&a.overlap));
        turns.truncate(clean.max(plan.rounds));
        self.dropped = made - turns.len();
        self.ns = turns.iter().map(|turn| turn.ns).collect();
        self.shares = turns.iter().map(|turn| turn.shares).collect();
    }
}
