//! The claims under "Memory ordering", over every interleaving that the memory model allows.

use std::time::Duration;

use ::loom::thread;

use super::{BUCKETS, LONGEST, Latencies, SLICES, Wanted, upper_edge};
use crate::sync::Arc;
use crate::time::Tick;

const WINDOW: Duration = Duration::from_secs(6);
const SLICE: u64 = 1_000_000_000;
const NOW: Tick = Tick(100 * SLICE);
const SHORT: Duration = Duration::from_micros(1);

const WANTED: Wanted = Wanted {
    quantile: 0.5,
    min_samples: 1,
};

/// Runs `one` beside `other`, then `check`.
fn beside<A: Send + 'static, B: 'static>(
    one: fn(&Latencies) -> A,
    other: fn(&Latencies) -> B,
    check: fn(&Latencies, A, B),
) {
    ::loom::model(move || {
        let latencies = Arc::new(Latencies::new(WINDOW));
        let thread = {
            let latencies = Arc::clone(&latencies);
            thread::spawn(move || one(&latencies))
        };
        let b = other(&latencies);
        let a = thread.join().unwrap();
        check(&latencies, a, b);
    });
}

#[test]
fn no_latency_is_lost_to_another() {
    beside(
        |latencies| {
            latencies.record(NOW, SHORT, false);
            latencies.record(NOW, SHORT, true);
        },
        |latencies| {
            latencies.record(NOW, SHORT, true);
            latencies.record(NOW, SHORT, false);
        },
        |latencies, (), ()| assert_eq!(latencies.samples(NOW), (2, 2)),
    );
}

/// The older of the two slices has the same cells as the newer one.
#[test]
fn a_late_latency_never_lands_in_a_newer_slice() {
    const EARLIER: Tick = Tick(NOW.0 - SLICES * SLICE);
    beside(
        |latencies| latencies.record(EARLIER, SHORT, false),
        |latencies| latencies.record(NOW, SHORT, true),
        |latencies, (), ()| assert_eq!(latencies.samples(NOW), (0, 1)),
    );
}

#[test]
fn the_quantile_found_last_is_one_of_those_found() {
    beside(
        |latencies| {
            latencies.record(NOW, LONGEST, false);
            latencies.recent(Tick(NOW.0 + SLICE), WANTED)
        },
        |latencies| latencies.recent(NOW, WANTED),
        |latencies, one, other| {
            let found = latencies.recent(NOW, WANTED);
            assert!(found == one || found == other, "{found:?}");
            // Each is the quantile before the latency is recorded, or after it.
            let longest = Some(upper_edge(BUCKETS - 1));
            for found in [one, other] {
                assert!(found.is_none() || found == longest, "{found:?}");
            }
        },
    );
}
