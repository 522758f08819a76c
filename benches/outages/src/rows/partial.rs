//! A part of the calls fails, or all of them for a part of the time.

use super::{
    ANY, Effect, Goal, LOAD, Load, On, ROW, Row, SERVER, Server, Stragglers, errors, load, on,
    repeated, span, status, whole,
};
use crate::row::Limits;

const SMALL: Load = Load {
    clients: 50,
    ..LOAD
};

const REPLICAS: Server = Server {
    replicas: 3,
    ..SERVER
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "healthy",
        outage: "nothing wrong",
        goal: Goal::new(99.9, 99.4, 1.10, ANY),
        ..ROW
    },
    Row {
        name: "stragglers",
        outage: "1 % of calls take 0.5 s; patience 0.1 s",
        server: Server {
            stragglers: Stragglers {
                share: 0.01,
                take: 0.5,
            },
            ..SERVER
        },
        limits: Limits {
            patience: 0.1,
            ..ROW.limits
        },
        goal: Goal::new(96.0, 92.8, 1.10, ANY),
        ..ROW
    },
    Row {
        name: "errors-5",
        outage: "5 % fast 500s",
        phases: &[whole(20.0, errors(0.05, status(500)))],
        goal: Goal::new(99.9, 99.4, 1.15, 0.8),
        ..ROW
    },
    Row {
        name: "errors-30",
        outage: "30 % fast 500s",
        phases: &[whole(20.0, errors(0.3, status(500)))],
        goal: Goal::new(94.4, 90.8, 1.49, 0.8),
        ..ROW
    },
    Row {
        name: "errors-50",
        outage: "50 % fast 500s",
        phases: &[whole(20.0, errors(0.5, status(500)))],
        goal: Goal::new(70.3, 66.1, 1.55, 0.8),
        ..ROW
    },
    Row {
        name: "errors-70",
        outage: "70 % fast 500s",
        phases: &[whole(20.0, errors(0.7, status(500)))],
        goal: Goal::new(38.7, 35.7, 1.43, 0.8),
        ..ROW
    },
    Row {
        name: "errors-30-503",
        outage: "30 % fast 503s without Retry-After",
        phases: &[whole(20.0, errors(0.3, status(503)))],
        goal: Goal::new(75.0, 70.7, 1.21, 0.8),
        ..ROW
    },
    Row {
        name: "errors-30-small",
        outage: "30 % fast 500s, 50 clients of 4/s each",
        load: SMALL,
        trouble: 30.0,
        phases: &[whole(30.0, errors(0.3, status(500)))],
        goal: Goal::new(94.3, 91.2, 1.49, 0.8),
        ..ROW
    },
    Row {
        name: "errors-30-low",
        outage: "30 % fast 500s, 3 calls/s",
        load: load(3.0, 3.0),
        trouble: 240.0,
        phases: &[whole(240.0, errors(0.3, status(500)))],
        goal: Goal::new(94.3, 90.4, 1.50, 0.8),
        ..ROW
    },
    Row {
        name: "replica-errors",
        outage: "one of three replicas answers 500",
        server: REPLICAS,
        phases: &[on(On::One(0), whole(20.0, errors(1.0, status(500))))],
        goal: Goal::new(93.3, 89.7, 1.54, 0.8),
        ..ROW
    },
    Row {
        name: "replica-hangs",
        outage: "one of three replicas hangs",
        server: REPLICAS,
        phases: &[on(On::One(0), whole(20.0, Effect::Hang))],
        goal: Goal::new(88.1, 81.9, 1.43, 0.8),
        ..ROW
    },
    Row {
        name: "deploy",
        outage: "three replicas restart for 2 s each, 5 s apart",
        server: REPLICAS,
        trouble: 15.0,
        phases: &[
            on(On::One(0), span(0.0, 2.0, Effect::Refuse)),
            on(On::One(1), span(5.0, 2.0, Effect::Refuse)),
            on(On::One(2), span(10.0, 2.0, Effect::Refuse)),
        ],
        goal: Goal::new(95.6, 92.2, 1.28, 0.8),
        ..ROW
    },
    Row {
        name: "bursts",
        outage: "ten bursts of 0.3 s of errors, 3 s apart",
        trouble: 30.0,
        phases: &[repeated(0.3, 3.0, 10, errors(1.0, status(500)))],
        goal: Goal::new(89.6, 86.2, 1.27, 0.8),
        ..ROW
    },
    Row {
        name: "gradual",
        outage: "errors rise from 0 to 100 % in 20 s and fall in 20 s",
        trouble: 40.0,
        phases: &[
            span(
                0.0,
                20.0,
                Effect::Errors {
                    from: 0.0,
                    to: 1.0,
                    answer: status(500),
                },
            ),
            span(
                20.0,
                20.0,
                Effect::Errors {
                    from: 1.0,
                    to: 0.0,
                    answer: status(500),
                },
            ),
        ],
        goal: Goal::new(60.2, 55.8, 1.32, 0.8),
        ..ROW
    },
    Row {
        name: "flap-500ms",
        outage: "500 ms of errors, 500 ms well, 20 times",
        phases: &[repeated(0.5, 1.0, 20, errors(1.0, status(500)))],
        goal: Goal::new(49.8, 46.7, 1.46, 0.8),
        ..ROW
    },
    Row {
        name: "flap-2s",
        outage: "2 s of errors, 2 s well, 6 times",
        trouble: 24.0,
        phases: &[repeated(2.0, 4.0, 6, errors(1.0, status(500)))],
        goal: Goal::new(40.3, 37.1, 1.04, 0.8),
        ..ROW
    },
    Row {
        name: "flap-10s",
        outage: "10 s of errors, 10 s well, twice",
        trouble: 40.0,
        phases: &[repeated(10.0, 20.0, 2, errors(1.0, status(500)))],
        goal: Goal::new(46.6, 43.3, 0.73, 0.8),
        ..ROW
    },
];
