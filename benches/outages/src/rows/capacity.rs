//! The load stays, and the server becomes slow or loses capacity.

use super::{
    Effect, Goal, OVERLOAD_ATTEMPTS, Queue, ROW, Row, and_after, load, shed, status, whole, workers,
};

/// 80 % of a capacity of 100/s is in use, and for 10 s a part of it is gone.
const CUT: Row = Row {
    server: workers(8, 100.0, Queue::Unbounded),
    load: load(80.0, 80.0),
    trouble: 10.0,
    judged: and_after(40.0),
    admissible_attempts: OVERLOAD_ATTEMPTS,
    ..ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "slow-x10",
        outage: "works ten times as long (100 ms)",
        phases: &[whole(20.0, Effect::Speed(0.1))],
        goal: Goal::new(99.9, 99.4, 1.10, 0.8),
        ..ROW
    },
    Row {
        name: "slow-x10-queue",
        outage: "4 workers of 10 ms at a tenth of their speed for 10 s, unbounded queue",
        server: workers(4, 400.0, Queue::Unbounded),
        trouble: 10.0,
        phases: &[whole(10.0, Effect::Speed(0.1))],
        judged: and_after(20.0),
        goal: Goal::new(65.2, 61.8, 1.13, 1.3),
        admissible_attempts: OVERLOAD_ATTEMPTS,
        ..ROW
    },
    Row {
        name: "cut-70",
        outage: "70 % of the capacity is there for 10 s, unbounded queue",
        phases: &[whole(10.0, Effect::Speed(0.7))],
        goal: Goal::new(88.9, 85.4, 1.13, 2.5),
        ..CUT
    },
    Row {
        name: "cut-40",
        outage: "40 %",
        phases: &[whole(10.0, Effect::Speed(0.4))],
        goal: Goal::new(78.3, 74.5, 1.13, 3.7),
        ..CUT
    },
    Row {
        name: "cut-10",
        outage: "10 %",
        phases: &[whole(10.0, Effect::Speed(0.1))],
        goal: Goal::new(75.7, 72.1, 1.13, 3.1),
        ..CUT
    },
    Row {
        name: "cut-10-shed",
        outage: "10 %, queue of 20 that sheds by 503",
        server: workers(8, 100.0, shed(20, status(503))),
        phases: &[whole(10.0, Effect::Speed(0.1))],
        goal: Goal::new(77.6, 74.2, 1.13, 1.9),
        ..CUT
    },
];
