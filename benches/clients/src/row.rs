//! The rows: those of the outage table that can be had on real sockets within half a minute.

use std::time::Duration;

use Effect::{Errors, Flap, Hang, Nothing, Refuse, Slow};

/// How long calls arrive before the trouble, how long it lasts, and how long they arrive after it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub before: Duration,
    pub trouble: Duration,
    pub after: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// That of the outage table.
    pub name: &'static str,
    pub outage: &'static str,
    pub effect: Effect,
    pub workers: Option<Workers>,
    /// Calls per second, and in the trouble.
    pub rate: (u32, u32),
    /// Whether the calls after the trouble are judged as well: where in the trouble none can be
    /// served, or a queue is left.
    pub judged_after: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Effect {
    Nothing,
    /// Answers this share at once by an error.
    Errors {
        share: f64,
        status: u16,
        retry_after: Option<u64>,
    },
    /// Never answers this share.
    Hang {
        share: f64,
    },
    /// Answers 500 for this time, and is well for as long, again and again.
    Flap {
        half: Duration,
    },
    /// Takes so long.
    Slow {
        take: Duration,
    },
    /// Refuses connections, for the trouble or for this time of it, and loses the calls in flight.
    Refuse {
        lasts: Option<Duration>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Workers {
    pub count: usize,
    pub take: Duration,
    /// A call that finds this number of others waiting is answered 503. None for no bound.
    pub queue: Option<usize>,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn errors(share: f64, status: u16) -> Effect {
    Errors {
        share,
        status,
        retry_after: None,
    }
}

/// 40 calls a second.
const fn workers(queue: Option<usize>) -> Option<Workers> {
    Some(Workers {
        count: 2,
        take: ms(50),
        queue,
    })
}

const fn row(name: &'static str, outage: &'static str, effect: Effect) -> Row {
    Row {
        name,
        outage,
        effect,
        workers: None,
        rate: (20, 20),
        judged_after: false,
    }
}

const fn total(name: &'static str, outage: &'static str, effect: Effect) -> Row {
    Row {
        judged_after: true,
        ..row(name, outage, effect)
    }
}

const fn overload(
    name: &'static str,
    outage: &'static str,
    rate: u32,
    queue: Option<usize>,
) -> Row {
    Row {
        workers: workers(queue),
        rate: (20, rate),
        judged_after: true,
        ..row(name, outage, Nothing)
    }
}

pub const ROWS: [Row; 15] = [
    row("healthy", "nothing wrong", Nothing),
    row("errors-5", "5 % fast 500s", errors(0.05, 500)),
    row("errors-30", "30 % fast 500s", errors(0.3, 500)),
    row("errors-50", "50 %", errors(0.5, 500)),
    row(
        "errors-30-503",
        "30 % fast 503s without Retry-After",
        errors(0.3, 503),
    ),
    row(
        "replica-errors",
        "one of three replicas answers 500",
        errors(1.0 / 3.0, 500),
    ),
    row(
        "replica-hangs",
        "one of three replicas hangs",
        Hang { share: 1.0 / 3.0 },
    ),
    row(
        "slow-x10",
        "takes ten times as long",
        Slow { take: ms(100) },
    ),
    row("flap-2s", "2 s of 500s, 2 s well", Flap { half: ms(2_000) }),
    total(
        "restart-2s",
        "connections refused for 2 s",
        Refuse {
            lasts: Some(ms(2_000)),
        },
    ),
    total("outage-500", "500s", errors(1.0, 500)),
    total(
        "outage-refused",
        "connections refused",
        Refuse { lasts: None },
    ),
    total("outage-hang", "hangs", Hang { share: 1.0 }),
    overload(
        "step-2-shed",
        "twice the capacity, sheds by 503",
        80,
        Some(10),
    ),
    overload(
        "step-2-fifo",
        "twice the capacity, unbounded queue",
        80,
        None,
    ),
];
