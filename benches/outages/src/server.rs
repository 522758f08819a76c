//! The server: when and how it answers an attempt.
//!
//! Its calendar is worked out when an attempt arrives, so a queue costs no task, and its capacity
//! does not suffer from timers that fire by the millisecond.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::row::{Answer, Capacity, Effect, Phase, Queue, Row, Workers};

/// How long an error takes that costs no work.
const FAST: f64 = 0.001;

tokio::task_local! {
    /// When the call arrived that makes an attempt.
    pub(crate) static ARRIVED: f64;
}

/// A server, which all clients of one run share.
#[derive(Clone, Debug)]
pub(crate) struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    row: &'static Row,
    /// The start of the trouble.
    zero: Instant,
    state: Mutex<State>,
}

/// What an attempt ends with, if it was answered.
pub(crate) enum Reply {
    Served,
    Failed(Answer),
    /// The connection was refused, or lost.
    Refused,
}

impl Server {
    pub(crate) fn new(row: &'static Row, seed: u64, zero: Instant) -> Self {
        let state = Mutex::new(State::new(row, seed));
        Self(Arc::new(Shared { row, zero, state }))
    }

    /// Sends one attempt.
    pub(crate) async fn attempt(&self, host: usize) -> Reply {
        let (reply, at) = {
            let mut state = self.0.state.lock().expect("no panic");
            state.take(self.0.row, self.now(), host)
        };
        match at {
            Some(at) => tokio::time::sleep_until(self.instant(at)).await,
            None => std::future::pending().await,
        }
        reply
    }

    /// How many attempts have arrived in the trouble, of calls that arrived in it.
    pub(crate) fn attempts(&self) -> u64 {
        self.0.state.lock().expect("no panic").attempts
    }

    fn now(&self) -> f64 {
        let now = Instant::now();
        match now.checked_duration_since(self.0.zero) {
            Some(since) => since.as_secs_f64(),
            None => -(self.0.zero - now).as_secs_f64(),
        }
    }

    pub(crate) fn instant(&self, time: f64) -> Instant {
        match time < 0.0 {
            true => self.0.zero - Duration::from_secs_f64(-time),
            false => self.0.zero + Duration::from_secs_f64(time),
        }
    }
}

#[derive(Debug)]
struct State {
    rng: Rng,
    attempts: u64,
    /// When each worker has done all that was given to it.
    free_at: Vec<f64>,
    /// When the calls in the queue start, in their order.
    starts: VecDeque<f64>,
}

impl State {
    fn new(row: &Row, seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            attempts: 0,
            free_at: match row.server.capacity {
                Capacity::Unlimited => Vec::new(),
                Capacity::Workers(workers) => vec![f64::NEG_INFINITY; workers.count],
            },
            starts: VecDeque::new(),
        }
    }

    /// The reply, and when it comes; never if none.
    fn take(&mut self, row: &Row, now: f64, host: usize) -> (Reply, Option<f64>) {
        let trouble = 0.0..row.trouble;
        if trouble.contains(&now) && trouble.contains(&ARRIVED.get()) {
            self.attempts += 1;
        }
        let part = match row.server.replicas {
            1 => host,
            replicas => self.rng.usize(..replicas),
        };
        let phases = || row.phases.iter().filter(move |phase| phase.is_on(part));
        for phase in phases() {
            let Some(progress) = phase.progress(now) else {
                continue;
            };
            match phase.effect {
                Effect::Errors { from, to, answer } => {
                    if self.rng.f64() < from + (to - from) * progress {
                        return (Reply::Failed(answer), Some(now + FAST));
                    }
                }
                Effect::Refuse => return (Reply::Refused, Some(now + FAST)),
                Effect::Hang => return (Reply::Served, None),
                Effect::Speed(_) => {}
            }
        }
        let work = self.work(row);
        let done = match row.server.capacity {
            Capacity::Unlimited => finish(row.phases, now, work),
            Capacity::Workers(workers) => match self.enqueue(row, workers, now, work) {
                Ok(done) => done,
                Err(shed) => return (Reply::Failed(shed), Some(now + FAST)),
            },
        };
        let lost = phases()
            .filter(|phase| matches!(phase.effect, Effect::Refuse))
            .filter_map(|phase| phase.next_start(now))
            .find(|&lost| lost < done);
        match lost {
            Some(lost) => (Reply::Refused, Some(lost)),
            None => (Reply::Served, Some(done)),
        }
    }

    /// How long a call takes at full speed.
    fn work(&mut self, row: &Row) -> f64 {
        let server = &row.server;
        if self.rng.f64() < server.stragglers.share {
            return server.stragglers.take;
        }
        // Box and Muller's transform.
        let radius = (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt();
        let normal = radius * (TAU * self.rng.f64()).cos();
        let sigma = server.sigma;
        server.mean * (sigma * normal - sigma * sigma / 2.0).exp()
    }

    /// When the call is done, unless it is shed.
    fn enqueue(&mut self, row: &Row, workers: Workers, now: f64, work: f64) -> Result<f64, Answer> {
        while self.starts.front().is_some_and(|&start| start <= now) {
            self.starts.pop_front();
        }
        if let Queue::Bounded {
            length,
            shed,
            shed_work,
        } = workers.queue
            && self.starts.len() >= length
        {
            if shed_work > 0.0 {
                self.give(row.phases, now, shed_work);
            }
            return Err(shed);
        }
        let (start, done) = self.give(row.phases, now, work);
        if start > now {
            self.starts.push_back(start);
        }
        Ok(done)
    }

    /// Gives work to the worker that is free first.
    fn give(&mut self, phases: &[Phase], now: f64, work: f64) -> (f64, f64) {
        let first = self.free_at.iter_mut().min_by(|a, b| a.total_cmp(b));
        let free_at = first.expect("at least one worker");
        let start = free_at.max(now);
        *free_at = finish(phases, start, work);
        (start, *free_at)
    }
}

/// When work that starts at `start` is done, at the speed of the time.
fn finish(phases: &[Phase], start: f64, mut work: f64) -> f64 {
    let mut time = start;
    loop {
        let (mut speed, mut until) = (1.0, f64::INFINITY);
        for phase in phases {
            let Effect::Speed(share) = phase.effect else {
                continue;
            };
            let end = phase.start + phase.lasts;
            if (phase.start..end).contains(&time) {
                speed = share;
                until = end.min(until);
            } else if time < phase.start {
                until = phase.start.min(until);
            }
        }
        let done = time + work / speed;
        if done <= until {
            return done;
        }
        work -= (until - time) * speed;
        time = until;
    }
}

#[cfg(test)]
mod tests {
    use super::{ARRIVED, Reply, State, finish};
    use crate::row::Row;

    fn row(name: &str) -> &'static Row {
        crate::rows::all()
            .find(|row| row.name == name)
            .expect("a row")
    }

    /// Replies to attempts at equal intervals, from this number of seconds after the start of the trouble.
    fn replies(row: &Row, from: f64, interval: f64, count: u32) -> Vec<(Reply, Option<f64>)> {
        let mut state = State::new(row, 1);
        let at = |n| from + f64::from(n) * interval;
        let mut take = |n| ARRIVED.sync_scope(at(n), || state.take(row, at(n), 0));
        (0..count).map(&mut take).collect()
    }

    #[test]
    fn work_takes_longer_while_the_speed_is_low() {
        // A tenth of the speed from 0 to 10 s.
        let phases = row("cut-10").phases;
        let cases = [
            (-1.0, 0.5, -0.5),
            (-1.0, 1.1, 1.0),
            (9.0, 0.3, 10.2),
            (-1.0, 3.0, 11.0),
            (12.0, 0.5, 12.5),
        ];
        for (start, work, expected) in cases {
            let done = finish(phases, start, work);
            assert!((done - expected).abs() < 1e-9, "{start}, {work}: {done}");
        }
    }

    #[test]
    fn a_full_queue_serves_the_capacity_and_sheds_the_rest() {
        // 400 calls per second for 20 s, of which 200 can be served, and 48 wait or are served.
        let replies = replies(row("step-2-shed"), 0.0, 1.0 / 400.0, 8_000);
        let served = replies
            .iter()
            .filter(|(reply, _)| matches!(reply, Reply::Served));
        let served = served.count();
        assert!((3_900..4_200).contains(&served), "{served}");
    }

    #[test]
    fn an_unbounded_queue_makes_each_call_wait_longer() {
        // 160 calls per second for 10 s, of which 80 can be served.
        let replies = replies(row("step-2-fifo"), 0.0, 1.0 / 160.0, 1_600);
        let last = replies.last().and_then(|(_, at)| *at).expect("a reply");
        assert!((19.0..21.0).contains(&last), "{last}");
    }

    #[test]
    fn a_refusal_loses_the_calls_in_flight() {
        let mut replies = replies(row("restart-2s"), -0.001, 1.0, 4).into_iter();
        let (reply, at) = replies.next().expect("the first");
        assert!(matches!(reply, Reply::Refused), "in flight");
        assert_eq!(at, Some(0.0));
        let refused = replies.map(|(reply, _)| matches!(reply, Reply::Refused));
        assert_eq!(refused.collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_hanging_replica_never_answers_a_third_of_the_attempts() {
        let replies = replies(row("replica-hangs"), 0.0, 0.001, 3_000);
        let hanging = replies.iter().filter(|(_, at)| at.is_none()).count();
        assert!((900..1_100).contains(&hanging), "{hanging}");
    }
}
