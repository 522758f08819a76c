//! The claims under `# Orderings`, over every interleaving that the memory model allows.
//! Time stands still in all of them, so nothing is refilled and every count is exact.

use std::time::Duration;

use ::loom::thread;

use super::Bucket;
use crate::rate_limit::quota::Quota;
use crate::sync::Arc;
use crate::time::Tick;

const NOW: Tick = Tick(1 << 50);

/// Runs `one` beside `other` over a bucket with `quota`, then `check` with what came of both.
fn beside<A: Send + 'static, B: 'static>(
    quota: Quota,
    one: fn(&Bucket) -> A,
    other: fn(&Bucket) -> B,
    check: fn(&Bucket, A, B),
) {
    ::loom::model(move || {
        let bucket = Arc::new(Bucket::new(NOW, quota));
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || one(&bucket))
        };
        let b = other(&bucket);
        let a = thread.join().unwrap();
        check(&bucket, a, b);
    });
}

fn admit(bucket: &Bucket) -> u32 {
    u32::from(bucket.admit(NOW, 1).is_ok())
}

// RL1
#[test]
fn two_admissions_never_exceed_the_burst() {
    beside(Quota::per_second(1), admit, admit, |_, a, b| {
        assert_eq!(a + b, 1)
    });
}

// RL7: the admission is counted at the rate that its generation names, whichever it saw.
#[test]
fn change_against_admission() {
    beside(
        Quota::per_second(1).burst(3),
        |bucket| bucket.change(NOW, Quota::per_second(1_000).burst(3)),
        |bucket| admit(bucket) + admit(bucket),
        |bucket, (), admitted| {
            assert_eq!(admitted, 2);
            assert_eq!(bucket.available(NOW), 1);
        },
    );
}

// RL7: the second change rewrites the slot that the admission may be reading. A mixture of the
// two would refuse, or count at a third rate.
#[test]
fn two_changes_against_admission() {
    beside(
        Quota::per_second(1).burst(3),
        |bucket| {
            bucket.change(NOW, Quota::per_second(1).burst(3));
            bucket.change(NOW, Quota::per_second(1_000).burst(3));
        },
        |bucket| {
            assert!(bucket.peek(NOW, 3).is_ok());
            admit(bucket)
        },
        |bucket, (), admitted| {
            assert_eq!(admitted, 1);
            assert_eq!(bucket.available(NOW), 2);
        },
    );
}

// RL5: the charge goes back whole before the admission, or not at all after it.
#[test]
fn refund_against_admission() {
    ::loom::model(|| {
        let bucket = Arc::new(Bucket::new(NOW, Quota::per_second(1).burst(3)));
        let charge = bucket.take(NOW, NOW, 2, NOW).unwrap();
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.cancel(&charge))
        };
        assert!(bucket.admit(NOW, 1).is_ok());
        let whole = bucket.available(NOW);
        thread.join().unwrap();
        let left = bucket.available(NOW);
        assert!(left == 0 || left == 2, "{left}");
        assert!(whole <= left, "{whole}, then {left}");
    });
}

// RL7, RL5: the charge goes back before the change, or not at all after it. The change is such
// that the debt ends at the same number in both, which then only the count of changes tells
// apart: it comes a second later, and makes the rate two thirds.
#[test]
fn refund_against_change() {
    ::loom::model(|| {
        let bucket = Arc::new(Bucket::new(NOW, Quota::per_second(1).burst(4)));
        assert!(bucket.admit(NOW, 1).is_ok());
        let charge = bucket.take(NOW, NOW, 2, NOW).unwrap();
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.cancel(&charge))
        };
        let later = NOW.after(Duration::from_secs(1));
        bucket.change(later, Quota::new(2, Duration::from_secs(3)).burst(4));
        thread.join().unwrap();
        let left = bucket.available(later);
        assert!(left == 2 || left == 4, "{left}");
    });
}

// RL15: what was admitted beside the beginning of a pause is owed, and nothing is after it.
#[test]
fn pause_against_admission() {
    beside(
        Quota::per_second(1).burst(2),
        |bucket| {
            bucket.pause(NOW, Tick(NOW.0 + 5_000_000_000));
            admit(bucket)
        },
        admit,
        |bucket, after, _| {
            assert_eq!(after, 0);
            assert_eq!(bucket.available(NOW), 0);
            assert!(bucket.admit(Tick(NOW.0 + 4_999_999_999), 1).is_err());
        },
    );
}
