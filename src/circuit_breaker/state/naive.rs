//! The naive model: it keeps every outcome, and computes everything from the whole list.
//!
//! Granularity is as documented: a time window counts whole buckets, a streak whole milliseconds,
//! N failures whole microseconds. A window's time stands still while the clock is behind what it
//! has shown before. A streak that is too old is cut to the recent ones of its last failures, of
//! which it keeps at least [`TIMES`].

use std::time::Duration;

use crate::circuit_breaker::config::{Config, Throttled};
use crate::circuit_breaker::state::State;
use crate::circuit_breaker::trip::{Span, Trip, When};
use crate::rejection::RejectionKind;

const NEVER: u64 = u64::MAX;

/// No rule of these tests needs more failures in a row than these and one.
const TIMES: usize = 7;

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(NEVER)
}

/// An outcome that was counted.
#[derive(Clone, Copy, Debug)]
struct Kept {
    generation: u32,
    at: u64,
    failed: bool,
    /// Whether it is in the rates.
    rated: bool,
    elapsed: Option<Duration>,
    overtaken: bool,
    in_ramp: bool,
}

/// The outcomes that a rule may look at.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// When it was made.
    made: u64,
    /// The first outcome.
    from: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Success,
    Failure(Option<Duration>),
    Throttled(Option<Duration>),
    /// Dropped by a hedge as late.
    Overtaken,
    Ignore,
}

/// A call that the model has admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) generation: u32,
    pub(super) probe: bool,
    pub(super) start: u64,
}

pub(super) struct Naive {
    config: Config,
    kept: Vec<Kept>,
    /// One for each rule, and that of the ramp.
    memories: Vec<Memory>,
    ramp: Memory,
    pub(super) state: State,
    pub(super) generation: u32,
    pub(super) since: u64,
    pub(super) due: u64,
    opened_in_a_row: u32,
    /// In flight, succeeded, failed.
    pub(super) probes: (u32, u32, u32),
    /// When the last probe was admitted.
    last_probe: u64,
    /// The rules that tripped it, oldest first.
    pub(super) tripped: Vec<String>,
}

impl Naive {
    pub(super) fn new(config: Config, now: u64, generation: u32) -> Self {
        let fresh = Memory { made: now, from: 0 };
        Self {
            memories: vec![fresh; config.trips.len()],
            ramp: fresh,
            config,
            kept: Vec::new(),
            state: State::Closed,
            generation,
            since: now,
            due: NEVER,
            opened_in_a_row: 0,
            probes: (0, 0, 0),
            last_probe: now,
            tripped: Vec::new(),
        }
    }

    /// CB19: the state stays, and the outcomes of a rule that has the same window.
    pub(super) fn change(&mut self, config: Config, now: u64) {
        let fresh = Memory {
            made: now,
            from: self.kept.len(),
        };
        if config.ramp != self.config.ramp {
            self.ramp = fresh;
        }
        let mut old: Vec<_> = self.config.trips.iter().zip(&self.memories).collect();
        let mut memories = vec![None; config.trips.len()];
        for alike in [|old: &Trip, new: &Trip| old == new, sees_the_same] {
            for (trip, memory) in config.trips.iter().zip(&mut memories) {
                if memory.is_none() {
                    let at = old.iter().position(|(old, _)| alike(old, trip));
                    *memory = at.map(|at| *old.remove(at).1);
                }
            }
        }
        self.memories = memories
            .iter()
            .map(|memory| memory.unwrap_or(fresh))
            .collect();
        self.config = config;
    }

    fn needed(&self) -> u32 {
        self.config.close_after.unwrap_or(self.config.probes)
    }

    fn enter(&mut self, to: State, now: u64, retry_after: Option<Duration>) {
        let lasts = match to {
            State::Open => {
                self.opened_in_a_row += 1;
                let wait = self.config.open_for.delay(self.opened_in_a_row, 0.0);
                let floor = retry_after
                    .filter(|&floor| floor != Duration::MAX)
                    .unwrap_or_default()
                    .min(self.config.retry_after_cap);
                Some(wait.max(floor))
            }
            State::HalfOpen => None,
            State::Recovering => Some(self.config.ramp.unwrap().over),
            State::Closed => {
                self.opened_in_a_row = 0;
                None
            }
            State::ForcedOpen => None,
        };
        self.state = to;
        self.generation = self.generation.wrapping_add(1);
        self.since = now;
        self.due = lasts.map_or(NEVER, |d| now.saturating_add(nanos(d)));
        self.probes = (0, 0, 0);
    }

    fn close(&mut self, now: u64) {
        let to = match self.config.ramp {
            Some(_) => State::Recovering,
            None => State::Closed,
        };
        self.enter(to, now, None);
    }

    fn is_won(&self) -> bool {
        self.probes.1 >= self.needed()
    }

    fn is_lost(&self) -> bool {
        self.probes.2 > self.config.probes - self.needed()
    }

    /// When the probes in flight are given up. The end of time never comes.
    fn gives_up_at(&self) -> Option<u64> {
        let longest = self.config.max_probe_time.unwrap();
        let at = self.last_probe.saturating_add(nanos(longest));
        (at != NEVER).then_some(at)
    }

    pub(super) fn admit(
        &mut self,
        now: u64,
        fraction: f64,
    ) -> Result<Admitted, (RejectionKind, Option<Duration>)> {
        let over = now >= self.due && self.due != NEVER;
        match self.state {
            State::Open if over => self.enter(State::HalfOpen, now, None),
            State::Recovering if over => self.enter(State::Closed, now, None),
            // A change may need less than has succeeded, or more than still can.
            State::HalfOpen if self.is_won() => self.close(now),
            State::HalfOpen if self.is_lost() => self.enter(State::Open, now, None),
            State::HalfOpen
                if self.probes.0 > 0 && self.gives_up_at().is_some_and(|at| now >= at) =>
            {
                // They count as failed, and are of an earlier generation when they end.
                self.probes = (0, self.probes.1, self.probes.2 + self.probes.0);
                self.generation = self.generation.wrapping_add(1);
                if self.is_lost() {
                    self.enter(State::Open, now, None);
                }
            }
            _ => {}
        }
        let mut admitted = Admitted {
            generation: self.generation,
            probe: false,
            start: now,
        };
        match self.state {
            State::Closed => Ok(admitted),
            State::ForcedOpen => Err((RejectionKind::CircuitOpen, None)),
            State::Open => {
                let left = Duration::from_nanos(self.due.saturating_sub(now));
                // The end of time never comes.
                Err((
                    RejectionKind::CircuitOpen,
                    (self.due != u64::MAX).then_some(left),
                ))
            }
            State::HalfOpen => {
                let (in_flight, succeeded, failed) = self.probes;
                if in_flight + succeeded + failed >= self.config.probes {
                    let left = |at: u64| Duration::from_nanos(at.saturating_sub(now));
                    return Err((RejectionKind::HalfOpenFull, self.gives_up_at().map(left)));
                }
                self.probes.0 += 1;
                self.last_probe = now;
                admitted.probe = true;
                Ok(admitted)
            }
            State::Recovering => {
                let passed = now.saturating_sub(self.since) as f64;
                let share = 0.1 + 0.9 * passed / (self.due - self.since) as f64;
                match fraction < share {
                    true => Ok(admitted),
                    false => Err((RejectionKind::Recovering, None)),
                }
            }
        }
    }

    pub(super) fn end(&mut self, call: Admitted, now: u64, how: How) {
        if call.generation != self.generation {
            return;
        }
        let elapsed = Duration::from_nanos(now.saturating_sub(call.start));
        let slow_after = self.config.trips.iter().filter_map(slow_after).min();
        if call.probe {
            self.probes.0 -= 1;
            let slow = slow_after.is_some_and(|after| elapsed > after);
            match how {
                How::Ignore => {}
                How::Success if !slow => {
                    self.probes.1 += 1;
                    if self.is_won() {
                        self.close(now);
                    }
                }
                How::Success | How::Failure(_) | How::Throttled(_) | How::Overtaken => {
                    self.probes.2 += 1;
                    if self.is_lost() {
                        self.enter(State::Open, now, self.floor(how));
                    }
                }
            }
            return;
        }
        if how == How::Ignore {
            return;
        }
        let failed = how != How::Success;
        let rated = self.is_rated(how);
        self.kept.push(Kept {
            generation: self.generation,
            at: now,
            failed,
            rated,
            elapsed: slow_after.is_some().then_some(elapsed),
            overtaken: how == How::Overtaken,
            in_ramp: self.state == State::Recovering,
        });
        let evaluate = failed || slow_after.is_some_and(|after| elapsed > after);
        if !evaluate {
            return;
        }
        let mut rules = self.config.trips.iter().zip(&self.memories);
        let holding = rules.find(|(trip, memory)| self.holds(trip, **memory, now));
        let mut rule = holding.map(|(trip, _)| trip.to_string());
        if rule.is_none() && failed && rated && self.ramp_fails(now) {
            rule = Some("ramp".to_owned());
        }
        if let Some(rule) = rule {
            self.tripped.push(rule);
            self.enter(State::Open, now, self.floor(how));
        }
    }

    fn is_rated(&self, how: How) -> bool {
        !matches!(how, How::Throttled(_)) || self.config.throttled == Throttled::Failure
    }

    /// The delay that the failure requested, if it extends the wait.
    fn floor(&self, how: How) -> Option<Duration> {
        match how {
            How::Failure(retry_after) => retry_after,
            How::Throttled(retry_after) if self.is_rated(how) => retry_after,
            _ => None,
        }
    }

    pub(super) fn force_open(&mut self, now: u64) {
        if self.state != State::ForcedOpen {
            self.enter(State::ForcedOpen, now, None);
        }
    }

    pub(super) fn release(&mut self, now: u64) {
        if self.state == State::ForcedOpen {
            self.enter(State::Closed, now, None);
        }
    }

    pub(super) fn reset(&mut self, now: u64) {
        self.enter(State::Closed, now, None);
    }

    fn of_this_generation(&self, memory: Memory) -> impl DoubleEndedIterator<Item = &Kept> {
        (self.kept[memory.from..].iter()).filter(|kept| kept.generation == self.generation)
    }

    fn holds(&self, trip: &Trip, memory: Memory, now: u64) -> bool {
        let last_failed = self.kept.last().is_some_and(|kept| kept.failed);
        let last_rated = self.kept.last().is_some_and(|kept| kept.rated);
        match trip.when {
            When::Consecutive(n) => {
                let within = trip.within.map_or(NEVER, |d| nanos(d) / 1_000_000);
                let (mut run, mut length, mut first) = (Vec::new(), 0, 0);
                for kept in self.of_this_generation(memory) {
                    let at = kept.at / 1_000_000;
                    let age = |then: u64| at.saturating_sub(then);
                    if !kept.failed {
                        run.clear();
                        length = 0;
                        continue;
                    }
                    if length == 0 {
                        (length, first) = (1, at);
                    } else if age(first) <= within {
                        length += 1;
                    } else {
                        let last = run.iter().rev().take(TIMES).map(|then| age(*then));
                        let recent: Vec<u64> = last.filter(|age| *age <= within).collect();
                        length = 1 + recent.len() as u32;
                        first = at - recent.into_iter().max().unwrap_or(0);
                    }
                    run.push(at);
                }
                let lasted = (now / 1_000_000).saturating_sub(first);
                let least = trip.lasting.map_or(0, |d| nanos(d) / 1_000_000);
                let least = match last_rated {
                    true => least,
                    // Five times as long, unless the rule looks back on less than twice that.
                    false => least.max((5 * least).min(within / 2)),
                };
                last_failed && length >= n && lasted >= least
            }
            When::Failures(n) => {
                let failures = self.of_this_generation(memory).filter(|kept| kept.failed);
                let within = nanos(trip.within.unwrap_or(Duration::from_secs(10)));
                let nth = failures.rev().nth(n as usize - 1);
                let ago = nth.map(|kept| (now / 1_000).saturating_sub(kept.at / 1_000));
                last_failed && ago.is_some_and(|ago| ago <= within / 1_000)
            }
            When::FailureRate(rate) => {
                let (calls, failures, _) = self.window(trip, memory, now, |_| true);
                last_rated && calls >= least(trip) && reaches(trip, rate, failures, calls)
            }
            When::SlowRate(rate, _) => {
                let (calls, _, slow) = self.window(trip, memory, now, |_| true);
                last_rated && calls >= least(trip) && reaches(trip, rate, slow, calls)
            }
            When::Custom(name, _) => {
                let (calls, failures, _) = self.window(trip, memory, now, |_| true);
                // Whatever the outcomes of the rule.
                let all = Memory { made: 0, from: 0 };
                let in_a_row = self
                    .of_this_generation(all)
                    .rev()
                    .take_while(|kept| kept.failed);
                let seen = match name {
                    "row" => in_a_row.count() as u32,
                    _ => failures,
                };
                calls >= least(trip) && seen >= 3
            }
        }
    }

    /// Calls, failures and slow calls.
    fn window(
        &self,
        trip: &Trip,
        memory: Memory,
        now: u64,
        of: impl Fn(&Kept) -> bool,
    ) -> (u32, u32, u32) {
        let window: Vec<&Kept> = match trip.window.0 {
            Span::Calls(n) => self
                .of_this_generation(memory)
                .filter(|kept| kept.rated)
                .rev()
                .take(n as usize)
                .collect(),
            Span::Time { length, buckets } => {
                let bucket = nanos(length) / u64::from(buckets);
                let mut latest = memory.made / bucket;
                let mut numbered = Vec::new();
                for kept in self.kept[memory.from..]
                    .iter()
                    .filter(|kept| kept.rated && of(kept))
                {
                    latest = latest.max(kept.at / bucket);
                    numbered.push((latest, kept));
                }
                let latest = latest.max(now / bucket);
                (numbered.into_iter())
                    .filter(|(number, kept)| {
                        kept.generation == self.generation && latest - number < u64::from(buckets)
                    })
                    .map(|(_, kept)| kept)
                    .collect()
            }
        };
        let is_slow = |kept: &&&Kept| match slow_after(trip) {
            Some(after) => kept.overtaken || kept.elapsed.is_some_and(|elapsed| elapsed > after),
            None => false,
        };
        (
            window.len() as u32,
            window.iter().filter(|kept| kept.failed).count() as u32,
            window.iter().filter(is_slow).count() as u32,
        )
    }

    fn ramp_fails(&self, now: u64) -> bool {
        let Some(ramp) = self.config.ramp else {
            return false;
        };
        if self.state != State::Recovering {
            return false;
        }
        let over_twice = crate::circuit_breaker::Window::time(ramp.over * 2);
        let trip = Trip::failure_rate(0.5).over(over_twice);
        let (calls, failures, _) = self.window(&trip, self.ramp, now, |kept| kept.in_ramp);
        calls >= 10 && f64::from(failures) / f64::from(calls) > ramp.reopen_at
    }
}

fn least(trip: &Trip) -> u32 {
    let whole = match trip.window.0 {
        Span::Calls(n) => n,
        Span::Time { .. } => 20,
    };
    trip.min_calls.unwrap_or(whole.min(20))
}

/// With confidence, by the lower bound of the Wilson score interval in its usual form.
fn reaches(trip: &Trip, rate: f64, part: u32, calls: u32) -> bool {
    let n = f64::from(calls);
    let share = f64::from(part) / n;
    let Some(z) = trip.confidence else {
        return share >= rate;
    };
    let square = z * z / n;
    let margin = z * (share * (1.0 - share) / n + square / (4.0 * n)).sqrt();
    (share + square / 2.0 - margin) / (1.0 + square) > rate
}

fn slow_after(trip: &Trip) -> Option<Duration> {
    match trip.when {
        When::SlowRate(_, after) => Some(after),
        _ => None,
    }
}

fn sees_the_same(old: &Trip, new: &Trip) -> bool {
    match (&old.when, &new.when) {
        (When::Consecutive(_), When::Consecutive(_)) => true,
        (When::Failures(old), When::Failures(new)) => old == new,
        (When::SlowRate(..), When::SlowRate(..)) => {
            slow_after(old) == slow_after(new) && old.window == new.window
        }
        (When::FailureRate(_) | When::Custom(..), When::FailureRate(_) | When::Custom(..)) => {
            old.window == new.window
        }
        _ => false,
    }
}
