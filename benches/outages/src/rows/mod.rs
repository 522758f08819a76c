//! The rows, by kind of trouble.

mod capacity;
mod few_calls;
mod hosts;
mod overload;
mod partial;
mod total;

use crate::row::{
    ANY, Answer, Arrivals, Capacity, Effect, Goal, Hosts, Judged, Limits, Load, On, Phase, Queue,
    Row, Server, Stragglers, Workers,
};

/// All rows, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Row> {
    let kinds = [
        partial::ROWS,
        total::ROWS,
        overload::ROWS,
        capacity::ROWS,
        few_calls::ROWS,
        hosts::ROWS,
    ];
    kinds.into_iter().flatten()
}

/// What a row has unless it says otherwise.
const ROW: Row = Row {
    name: "",
    outage: "",
    server: SERVER,
    load: LOAD,
    trouble: 20.0,
    phases: &[],
    judged: IN_TROUBLE,
    limits: Limits {
        patience: 3.0,
        total: 3.0,
        attempt: 1.0,
    },
    goal: Goal::new(0.0, 0.0, ANY, ANY),
    admissible_attempts: ANY,
};

const SERVER: Server = Server {
    mean: 0.010,
    sigma: 0.5,
    stragglers: Stragglers {
        share: 0.0,
        take: 0.0,
    },
    capacity: Capacity::Unlimited,
    replicas: 1,
};

const LOAD: Load = load(200.0, 200.0);

const IN_TROUBLE: Judged = Judged {
    from: 0.0,
    after: 0.0,
    first_host: true,
};

/// The most attempts per call that an overloaded server should be given.
const OVERLOAD_ATTEMPTS: f64 = 1.13;

const fn load(rate: f64, rate_in_trouble: f64) -> Load {
    Load {
        rate,
        rate_in_trouble,
        arrivals: Arrivals::Poisson,
        before: 15.0,
        clients: 1,
        hosts: Hosts {
            count: 1,
            first: 1.0,
        },
    }
}

/// Judged are the calls that arrive in the trouble and this number of seconds after it.
const fn and_after(after: f64) -> Judged {
    Judged {
        after,
        ..IN_TROUBLE
    }
}

const fn status(status: u16) -> Answer {
    Answer {
        status,
        retry_after: None,
    }
}

const fn errors(share: f64, answer: Answer) -> Effect {
    Effect::Errors {
        from: share,
        to: share,
        answer,
    }
}

/// For the whole of the trouble's seconds.
const fn whole(seconds: f64, effect: Effect) -> Phase {
    span(0.0, seconds, effect)
}

const fn span(start: f64, lasts: f64, effect: Effect) -> Phase {
    Phase {
        start,
        lasts,
        every: lasts,
        times: 1,
        on: On::All,
        effect,
    }
}

const fn repeated(lasts: f64, every: f64, times: u32, effect: Effect) -> Phase {
    Phase {
        every,
        times,
        ..span(0.0, lasts, effect)
    }
}

const fn on(on: On, phase: Phase) -> Phase {
    Phase { on, ..phase }
}

/// A server that serves `capacity` calls per second by `count` workers.
const fn workers(count: usize, capacity: f64, queue: Queue) -> Server {
    Server {
        mean: count as f64 / capacity,
        capacity: Capacity::Workers(Workers { count, queue }),
        ..SERVER
    }
}

const fn shed(length: usize, shed: Answer) -> Queue {
    Queue::Bounded {
        length,
        shed,
        shed_work: 0.0,
    }
}
