//! Twenty hosts, of which one is in more trouble than the others, which are judged.

use super::{
    Effect, Goal, Hosts, IN_TROUBLE, Judged, LOAD, Load, On, Phase, ROW, Row, errors, on, status,
    whole,
};

const OTHERS: Phase = on(On::AllBut(0), whole(20.0, errors(0.05, status(500))));

const HOSTS: Row = Row {
    load: Load {
        hosts: Hosts {
            count: 20,
            first: 0.3,
        },
        ..LOAD
    },
    judged: Judged {
        first_host: false,
        ..IN_TROUBLE
    },
    ..ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "hosts-1-dead",
        outage: "one of 20 hosts, with 30 % of the calls, answers 500, the others 5 % errors",
        phases: &[
            on(On::One(0), whole(20.0, errors(1.0, status(500)))),
            OTHERS,
        ],
        goal: Goal::new(99.9, 99.4, 0.87, 0.8),
        ..HOSTS
    },
    Row {
        name: "hosts-1-hangs",
        outage: "that one hangs",
        phases: &[on(On::One(0), whole(20.0, Effect::Hang)), OTHERS],
        goal: Goal::new(99.9, 99.4, 0.87, 0.8),
        ..HOSTS
    },
    Row {
        name: "hosts-1-flaky",
        outage: "that one has 40 % errors",
        phases: &[
            on(On::One(0), whole(20.0, errors(0.4, status(500)))),
            OTHERS,
        ],
        goal: Goal::new(99.9, 99.4, 1.28, 0.8),
        ..HOSTS
    },
];
