//! Few calls, or long ones: a breaker has little to judge by. Judged is what comes after.

use super::{
    ANY, Arrivals, Goal, Judged, Load, ROW, Row, SERVER, Server, and_after, errors, load, status,
    whole,
};
use crate::row::Limits;

const fn poll(interval: f64) -> Load {
    Load {
        arrivals: Arrivals::Even,
        before: interval * 10.0,
        ..load(1.0 / interval, 1.0 / interval)
    }
}

const fn only_after(trouble: f64, after: f64) -> Judged {
    Judged {
        from: trouble,
        ..and_after(after)
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "long-12s",
        outage: "calls of 12 s at 3/s; 500s for 60 s; judged in the 300 s after",
        server: Server {
            mean: 12.0,
            sigma: 0.0,
            ..SERVER
        },
        load: load(3.0, 3.0),
        trouble: 60.0,
        phases: &[whole(60.0, errors(1.0, status(500)))],
        judged: only_after(60.0, 300.0),
        limits: Limits {
            patience: 60.0,
            total: 60.0,
            attempt: 20.0,
        },
        goal: Goal::new(93.2, 88.5, ANY, 21.1),
        ..ROW
    },
    Row {
        name: "poll-5s",
        outage: "one call every 5 s; 500s for ten polls; judged in the hour after",
        load: poll(5.0),
        trouble: 50.0,
        phases: &[whole(50.0, errors(1.0, status(500)))],
        judged: only_after(50.0, 3600.0),
        goal: Goal::new(99.9, 99.4, ANY, 0.8),
        ..ROW
    },
    Row {
        name: "poll-55s",
        outage: "one call every 55 s",
        load: poll(55.0),
        trouble: 550.0,
        phases: &[whole(550.0, errors(1.0, status(500)))],
        judged: only_after(550.0, 3600.0),
        goal: Goal::new(99.9, 99.4, ANY, 0.8),
        ..ROW
    },
];
