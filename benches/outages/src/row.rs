//! What a row of the table is made of. All times are in seconds; zero is the start of the trouble.

/// One outage, and what a client should reach in it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub outage: &'static str,
    pub server: Server,
    pub load: Load,
    /// How long the trouble lasts.
    pub trouble: f64,
    pub phases: &'static [Phase],
    pub judged: Judged,
    pub limits: Limits,
    pub goal: Goal,
    /// A contender that makes more attempts per call than this is no measure for the others.
    pub admissible_attempts: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How long one call takes at full speed: the mean of a lognormal distribution.
    pub mean: f64,
    pub sigma: f64,
    pub stragglers: Stragglers,
    pub capacity: Capacity,
    /// How many servers stand behind one name. Each attempt goes to one of them at random.
    pub replicas: usize,
}

/// Calls that take longer than the others.
#[derive(Clone, Copy, Debug)]
pub struct Stragglers {
    pub share: f64,
    pub take: f64,
}

#[derive(Clone, Copy, Debug)]
pub enum Capacity {
    /// Any number of calls at once.
    Unlimited,
    /// Workers behind a FIFO queue. Work goes on after the caller has left.
    Workers(Workers),
}

#[derive(Clone, Copy, Debug)]
pub struct Workers {
    pub count: usize,
    pub queue: Queue,
}

#[derive(Clone, Copy, Debug)]
pub enum Queue {
    Unbounded,
    /// A call that finds `length` others waiting is shed.
    Bounded {
        length: usize,
        shed: Answer,
        /// How long a worker is busy with a call that is shed.
        shed_work: f64,
    },
}

/// What a server answers if it does not answer 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The `Retry-After` in seconds.
    pub retry_after: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Calls per second before and after the trouble.
    pub rate: f64,
    /// Calls per second in the trouble.
    pub rate_in_trouble: f64,
    pub arrivals: Arrivals,
    /// How long calls arrive before the trouble.
    pub before: f64,
    /// The load is spread evenly over this number of clients.
    pub clients: usize,
    pub hosts: Hosts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    Poisson,
    /// At equal intervals, one of them at the start of the trouble.
    Even,
}

#[derive(Clone, Copy, Debug)]
pub struct Hosts {
    pub count: usize,
    /// The share of the calls that are for the first host; the others share the rest evenly.
    pub first: f64,
}

/// A part of the trouble, which may repeat.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub start: f64,
    pub lasts: f64,
    pub every: f64,
    pub times: u32,
    pub on: On,
    pub effect: Effect,
}

/// Which replica or host.
#[derive(Clone, Copy, Debug)]
pub enum On {
    All,
    One(usize),
    AllBut(usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Answers a share of the calls at once by an error. The share changes evenly over the phase.
    Errors { from: f64, to: f64, answer: Answer },
    /// Refuses connections, and loses the calls in flight.
    Refuse,
    /// Never answers the calls that arrive.
    Hang,
    /// Works at this share of its speed.
    Speed(f64),
}

/// Which calls are judged: those that arrive between these two.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub from: f64,
    /// Counted from the end of the trouble.
    pub after: f64,
    /// Whether calls to the first host are judged.
    pub first_host: bool,
}

/// The caller's patience and the timeouts of its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub patience: f64,
    pub total: f64,
    pub attempt: f64,
}

/// What the client stack should reach by its defaults.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Served, in percent: the median of the seeds, and the worst seed.
    pub served: f64,
    pub worst: f64,
    /// Attempts per call at the server in the trouble, at most.
    pub attempts: f64,
    /// From the end of the trouble to the first good second, at most, in the worst seed.
    pub recovery: f64,
    /// Half of the callers wait at most so long in the trouble.
    pub p50: f64,
}

/// No goal.
pub(crate) const ANY: f64 = f64::INFINITY;

impl Goal {
    pub(crate) const fn new(served: f64, worst: f64, attempts: f64, recovery: f64) -> Self {
        Self {
            served,
            worst,
            attempts,
            recovery,
            p50: ANY,
        }
    }

    pub(crate) const fn p50(mut self, p50: f64) -> Self {
        self.p50 = p50;
        self
    }
}

impl Row {
    /// How long calls arrive after the trouble.
    #[must_use]
    pub fn after(&self) -> f64 {
        self.judged.after.max(15.0)
    }

    /// How many replicas or hosts there are.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.server.replicas.max(self.load.hosts.count)
    }

    /// The share of calls that a server without trouble answers in time.
    #[must_use]
    pub fn healthy(&self) -> f64 {
        let stragglers = self.server.stragglers;
        match stragglers.take > self.limits.patience {
            true => 1.0 - stragglers.share,
            false => 1.0,
        }
    }
}

impl Phase {
    /// How much of the phase has passed at `time`, from 0 to 1; none outside of it.
    pub(crate) fn progress(&self, time: f64) -> Option<f64> {
        let since = time - self.start;
        let round = (since / self.every).floor();
        let within = since - round * self.every;
        let inside = (0.0..f64::from(self.times)).contains(&round) && within < self.lasts;
        inside.then_some(within / self.lasts)
    }

    /// The first start after `time`.
    pub(crate) fn next_start(&self, time: f64) -> Option<f64> {
        let round = ((time - self.start) / self.every).floor() + 1.0;
        let round = round.max(0.0);
        (round < f64::from(self.times)).then_some(self.start + round * self.every)
    }

    pub(crate) fn is_on(&self, part: usize) -> bool {
        match self.on {
            On::All => true,
            On::One(one) => one == part,
            On::AllBut(one) => one != part,
        }
    }
}
