//! Nothing works for a while.

use super::{Answer, Effect, Goal, LOAD, Load, ROW, Row, and_after, errors, status, whole};

/// Half of the callers are rejected at once.
const P50: f64 = 0.050;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "restart-120ms",
        outage: "connections refused for 120 ms",
        trouble: 0.12,
        phases: &[whole(0.12, Effect::Refuse)],
        judged: and_after(5.0),
        goal: Goal::new(96.0, 92.5, 2.32, 0.8),
        ..ROW
    },
    Row {
        name: "restart-2s",
        outage: "connections refused for 2 s",
        trouble: 2.0,
        phases: &[whole(2.0, Effect::Refuse)],
        judged: and_after(6.0),
        goal: Goal::new(68.7, 62.2, 1.55, 1.9),
        ..ROW
    },
    Row {
        name: "outage-500",
        outage: "100 % 500s for 20 s",
        phases: &[whole(20.0, errors(1.0, status(500)))],
        judged: and_after(10.0),
        goal: Goal::new(31.2, 27.9, 0.30, 2.3).p50(P50),
        ..ROW
    },
    Row {
        name: "outage-refused",
        outage: "connections refused for 20 s",
        phases: &[whole(20.0, Effect::Refuse)],
        judged: and_after(10.0),
        goal: Goal::new(31.2, 27.9, 0.30, 2.3).p50(P50),
        ..ROW
    },
    Row {
        name: "outage-hang",
        outage: "hangs for 20 s",
        phases: &[whole(20.0, Effect::Hang)],
        judged: and_after(10.0),
        goal: Goal::new(29.4, 26.3, 0.30, 3.1).p50(P50),
        ..ROW
    },
    Row {
        name: "outage-503-ra",
        outage: "503 with Retry-After: 5 for 20 s",
        phases: &[whole(
            20.0,
            errors(
                1.0,
                Answer {
                    status: 503,
                    retry_after: Some(5),
                },
            ),
        )],
        judged: and_after(10.0),
        goal: Goal::new(28.8, 26.4, 0.30, 2.5).p50(P50),
        ..ROW
    },
    Row {
        name: "outage-small",
        outage: "hangs for 20 s, 50 clients of 4/s each",
        load: Load {
            clients: 50,
            ..LOAD
        },
        phases: &[whole(20.0, Effect::Hang)],
        judged: and_after(10.0),
        goal: Goal::new(29.7, 27.7, 0.60, 3.7).p50(P50),
        ..ROW
    },
];
