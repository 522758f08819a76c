//! More load than the server can serve. Half of the capacity is in use before and after it.

use super::{
    Answer, Goal, Load, OVERLOAD_ATTEMPTS, Queue, ROW, Row, and_after, load, shed, status, workers,
};

/// A server that sheds, given `times` its capacity.
const STEP: Row = Row {
    trouble: 15.0,
    judged: and_after(10.0),
    admissible_attempts: OVERLOAD_ATTEMPTS,
    ..ROW
};

/// A server that queues without a bound, which takes longer to drain.
const FIFO: Row = Row {
    server: workers(4, 80.0, Queue::Unbounded),
    judged: and_after(30.0),
    ..STEP
};

const fn step(capacity: f64, times: f64) -> Load {
    load(capacity / 2.0, capacity * times)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "step-1.4-shed",
        outage: "1.4 x the capacity of 200/s, queue 40, sheds by 503",
        server: workers(8, 200.0, shed(40, status(503))),
        load: step(200.0, 1.4),
        goal: Goal::new(75.5, 70.1, 1.13, 1.0),
        ..STEP
    },
    Row {
        name: "step-2-shed",
        outage: "2 x",
        server: workers(8, 200.0, shed(40, status(503))),
        load: step(200.0, 2.0),
        goal: Goal::new(56.1, 52.8, 1.13, 1.0),
        ..STEP
    },
    Row {
        name: "step-2-shed-ra",
        outage: "2 x, with Retry-After: 1",
        server: workers(
            8,
            200.0,
            shed(
                40,
                Answer {
                    status: 503,
                    retry_after: Some(1),
                },
            ),
        ),
        load: step(200.0, 2.0),
        goal: Goal::new(56.2, 53.3, 1.13, 1.0),
        ..STEP
    },
    Row {
        name: "step-4-shed",
        outage: "4 x the capacity of 100/s, queue 20",
        server: workers(8, 100.0, shed(20, status(503))),
        load: step(100.0, 4.0),
        goal: Goal::new(30.3, 27.9, 1.13, 1.0),
        ..STEP
    },
    Row {
        name: "step-10-shed",
        outage: "10 x the capacity of 100/s, queue 20",
        server: workers(8, 100.0, shed(20, status(503))),
        load: step(100.0, 10.0),
        goal: Goal::new(12.6, 11.9, 1.13, 1.0),
        ..STEP
    },
    Row {
        name: "step-10-shed-dear",
        outage: "10 x, to shed a call costs 8 ms of work",
        server: workers(
            8,
            100.0,
            Queue::Bounded {
                length: 20,
                shed: status(503),
                shed_work: 0.008,
            },
        ),
        load: step(100.0, 10.0),
        goal: Goal::new(4.6, 4.1, 1.13, 3.5),
        ..STEP
    },
    Row {
        name: "step-4-shed-small",
        outage: "4 x the capacity of 100/s, 40 clients",
        server: workers(8, 100.0, shed(20, status(503))),
        load: Load {
            clients: 40,
            ..step(100.0, 4.0)
        },
        goal: Goal::new(30.2, 28.2, 1.13, 2.0),
        ..STEP
    },
    Row {
        name: "step-1.4-shed-500",
        outage: "1.4 x the capacity of 200/s, sheds by 500",
        server: workers(8, 200.0, shed(40, status(500))),
        load: step(200.0, 1.4),
        goal: Goal::new(75.4, 70.3, 1.45, 1.1),
        ..STEP
    },
    Row {
        name: "step-1.4-fifo",
        outage: "1.4 x the capacity of 80/s, unbounded queue",
        load: step(80.0, 1.4),
        goal: Goal::new(65.7, 58.5, 1.13, 5.3),
        ..FIFO
    },
    Row {
        name: "step-2-fifo",
        outage: "2 x, unbounded queue",
        load: step(80.0, 2.0),
        goal: Goal::new(48.3, 42.6, 1.13, 5.0),
        ..FIFO
    },
    Row {
        name: "step-10-fifo",
        outage: "10 x, unbounded queue",
        load: step(80.0, 10.0),
        goal: Goal::new(11.4, 10.5, 1.13, 3.4),
        ..FIFO
    },
];
