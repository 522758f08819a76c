//! The claims under `# Orderings`, over every interleaving that the memory model allows.
//! Time stands still in all models, so nothing is refilled and every count is exact.

use std::time::Duration;

use ::loom::thread;

use super::{Bucket, Striped};
use crate::rate_limit::quota::Quota;
use crate::sync::Arc;
use crate::time::Tick;

const NOW: Tick = Tick(1 << 50);

/// Runs `one` and `other` on two threads over a bucket with `quota`, then `check` with the results.
fn beside<A: Send + 'static, B: 'static>(
    quota: Quota,
    one: fn(&Bucket) -> A,
    other: fn(&Bucket) -> B,
    check: fn(&Bucket, A, B),
) {
    beside_on(move || Bucket::new(NOW, quota), one, other, check);
}

/// The same over the bucket that `make` returns.
fn beside_on<A: Send + 'static, B: 'static>(
    make: impl Fn() -> Bucket + Send + Sync + 'static,
    one: fn(&Bucket) -> A,
    other: fn(&Bucket) -> B,
    check: impl Fn(&Bucket, A, B) + Send + Sync + 'static,
) {
    ::loom::model(move || {
        let bucket = Arc::new(make());
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || one(&bucket))
        };
        let b = other(&bucket);
        let a = thread.join().unwrap();
        check(&bucket, a, b);
    });
}

/// The same where `look` may exchange nothing. Loom remembers one access of each atomic, and a
/// change reads what it writes, so loom tries a change between the loads of another thread only if
/// that thread is spawned and comes second.
fn seen_beside(
    make: impl Fn() -> Bucket + Send + Sync + 'static,
    change: fn(&Bucket),
    look: fn(&Bucket) -> u32,
    check: impl Fn(&Bucket, u32) + Send + Sync + 'static,
) {
    beside_on(make, look, change, move |bucket, seen, ()| {
        check(bucket, seen);
    });
}

fn admit(bucket: &Bucket) -> u32 {
    u32::from(bucket.admit(NOW, 1).is_ok())
}

/// One empty stripe of two tokens, and `left` tokens in the word.
fn one_stripe(left: u32) -> Bucket {
    let bucket = Bucket::striped(NOW, Quota::per_second(1).burst(32), Striped::Always(1));
    assert!(bucket.take(NOW, NOW, 30 - left, NOW).is_ok());
    assert_eq!(admit_via(&bucket, 0) + admit_via(&bucket, 0), 2);
    assert_eq!(bucket.available(NOW), left);
    bucket
}

/// Two stripes of one token each, and two tokens in the word.
fn two_stripes() -> Bucket {
    Bucket::striped(NOW, Quota::per_second(1).burst(4), Striped::Always(2))
}

/// Two empty stripes of one token, and one token in the word.
fn empty_stripes(per_second: u32) -> Bucket {
    let quota = Quota::per_second(per_second).burst(4);
    let bucket = Bucket::striped(NOW, quota, Striped::Always(2));
    assert_eq!(admit_via(&bucket, 0) + admit_via(&bucket, 1), 2);
    assert!(bucket.take(NOW, NOW, 1, NOW).is_ok());
    assert_eq!((bucket.stripes.tokens(), bucket.available(NOW)), (0, 1));
    bucket
}

fn admit_via(bucket: &Bucket, slot: usize) -> u32 {
    u32::from(bucket.admit_from_stripe(slot, || NOW, 1).is_ok())
}

// RL1
#[test]
fn two_admissions_never_exceed_the_burst() {
    beside(Quota::per_second(1), admit, admit, |_, a, b| {
        assert_eq!(a + b, 1)
    });
}

// RL7: the admission is counted at the rate of the generation that it saw.
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

// RL7: the second change rewrites the slot that the admission may be reading. A mixture of the two
// would reject, or count at a third rate.
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

// RL7: the same with a debt, which at the one rate is more than the burst at the other, so a
// mixture would reject.
#[test]
fn two_changes_against_rejection() {
    fn take(bucket: &Bucket) -> u32 {
        u32::from(bucket.take(NOW, NOW, 1, NOW).is_ok())
    }
    fn look(bucket: &Bucket) -> u32 {
        assert_eq!(bucket.available(NOW), 2);
        0
    }
    for (admits, expected) in [(admit as fn(&Bucket) -> u32, 1), (take, 1), (look, 0)] {
        seen_beside(
            || {
                let bucket = Bucket::new(NOW, Quota::per_second(1).burst(3));
                assert!(bucket.admit(NOW, 1).is_ok());
                bucket
            },
            |bucket| {
                bucket.change(NOW, Quota::per_second(1).burst(3));
                bucket.change(NOW, Quota::per_second(1_000).burst(3));
            },
            admits,
            move |bucket, admitted| {
                assert_eq!(admitted, expected);
                assert_eq!(bucket.available(NOW), 2 - admitted);
            },
        );
    }
}

// RL7: a call that finds the stripes empty is decided by the word alone. The debt at the slower
// rate is more than the burst at the faster one.
#[test]
fn change_against_rejection_by_empty_stripes() {
    seen_beside(
        || empty_stripes(1_000),
        |bucket| bucket.change(NOW, Quota::per_second(1).burst(4)),
        |bucket| admit_via(bucket, 0),
        |bucket, admitted| {
            assert_eq!(admitted, 1);
            assert_eq!(bucket.available(NOW), 0);
        },
    );
}

// RL7: the same where the second change rewrites the slot that is being read.
#[test]
fn two_changes_against_rejection_by_empty_stripes() {
    seen_beside(
        || empty_stripes(1),
        |bucket| {
            bucket.change(NOW, Quota::per_second(1).burst(4));
            bucket.change(NOW, Quota::per_second(1_000).burst(4));
        },
        |bucket| admit_via(bucket, 0),
        |bucket, admitted| {
            assert_eq!(admitted, 1);
            assert_eq!(bucket.available(NOW), 0);
        },
    );
}

// RL5: the charge returns whole before the admission, or not at all after it.
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

// RL17, RL1: a charge that is made beside the refund of an earlier one knows of it. Else its own refund
// would return a token that time has returned.
#[test]
fn refund_against_charge() {
    ::loom::model(|| {
        let bucket = Arc::new(Bucket::new(NOW, Quota::per_second(1).burst(2)));
        let first = bucket.take(NOW, NOW, 1, NOW).unwrap();
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.refund(&first, 1, NOW))
        };
        let second = bucket.take(NOW, NOW, 1, NOW).unwrap();
        thread.join().unwrap();
        let later = NOW.after(Duration::from_secs(1));
        assert!(bucket.take(later, later, 2, later).is_ok());
        bucket.refund(&second, 1, later);
        assert_eq!(bucket.available(later), 0);
    });
}

// RL1, RL17: the reservation counts on the tokens that come until its instant, or the refund came before.
#[test]
fn refund_against_reservation() {
    ::loom::model(|| {
        let bucket = Arc::new(Bucket::new(NOW, Quota::per_second(1).burst(2)));
        let first = bucket.take(NOW, NOW, 2, NOW).unwrap();
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.refund(&first, 2, NOW))
        };
        let later = NOW.after(Duration::from_secs(2));
        let reserved = bucket.take(NOW, NOW, 2, later).unwrap();
        thread.join().unwrap();
        let left = if reserved.at == later { 0 } else { 2 };
        assert_eq!(bucket.available(later), left);
    });
}

// RL7, RL5: the charge returns before the change, or not at all after it. The change comes a second
// later and makes the rate two thirds, so that the debt ends at the same number in both
// configurations and only the count of changes distinguishes them.
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

// RL15: an admission at the start of a pause is a debt; during the pause there is none.
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

// RL1: of two threads on one stripe only one fetches a lease.
#[test]
fn lease_against_lease() {
    beside_on(
        || one_stripe(6),
        |bucket| admit_via(bucket, 0),
        |bucket| admit_via(bucket, 0),
        |bucket, a, b| {
            assert_eq!(a + b, 2);
            assert_eq!(bucket.available(NOW), 4);
            assert!(bucket.stripes.tokens() <= 2);
        },
    );
}

// RL1: the last token of a stripe.
#[test]
fn spend_against_spend() {
    beside_on(
        || {
            let bucket = two_stripes();
            assert!(bucket.take(NOW, NOW, 2, NOW).is_ok());
            assert_eq!(admit_via(&bucket, 1), 1);
            bucket
        },
        |bucket| admit_via(bucket, 0),
        |bucket| admit_via(bucket, 0),
        |bucket, a, b| {
            assert_eq!(a + b, 1);
            assert_eq!(bucket.available(NOW), 0);
        },
    );
}

// RL1: the last two tokens of a stripe, for a call that costs two and one that costs one.
#[test]
fn spend_of_two_against_spend() {
    beside_on(
        || {
            let bucket = Bucket::striped(NOW, Quota::per_second(1).burst(32), Striped::Always(1));
            assert!(bucket.take(NOW, NOW, 30, NOW).is_ok());
            bucket
        },
        |bucket| u32::from(bucket.admit_from_stripe(0, || NOW, 2).is_ok()) * 2,
        |bucket| admit_via(bucket, 0),
        |bucket, a, b| {
            assert!(a + b >= 1);
            assert_eq!(a + b + bucket.available(NOW), 2);
        },
    );
}

// RL1, RL2: a call that the word rejects checks the other stripes. It may miss a lease that is being
// fetched, which is neither lost nor spent twice.
#[test]
fn lease_against_rejection() {
    beside_on(
        || {
            let bucket = two_stripes();
            assert_eq!(admit_via(&bucket, 0) + admit_via(&bucket, 1), 2);
            bucket
        },
        |bucket| admit_via(bucket, 0),
        |bucket| admit_via(bucket, 1),
        |bucket, a, b| {
            assert!(a + b >= 1);
            assert_eq!(a + b + bucket.available(NOW), 2);
        },
    );
}

// RL6, RL1: a cost that takes from both stripes, and a call that spends there.
#[test]
fn gathering_against_spend() {
    beside_on(
        || {
            let bucket = two_stripes();
            assert!(bucket.take(NOW, NOW, 2, NOW).is_ok());
            bucket
        },
        |bucket| u32::from(bucket.admit_from_stripe(1, || NOW, 2).is_ok()) * 2,
        |bucket| admit_via(bucket, 0),
        |bucket, a, b| assert_eq!(a + b + bucket.available(NOW), 2),
    );
}

// RL7: a lease that a change overtakes is lost, and never counted twice.
#[test]
fn lease_against_change() {
    beside_on(
        || one_stripe(4),
        |bucket| bucket.change(NOW, Quota::per_second(1_000).burst(32)),
        |bucket| admit_via(bucket, 0),
        |bucket, (), admitted| {
            assert_eq!(admitted, 1);
            let left = bucket.available(NOW);
            assert!(left == 3 || left == 1, "{left}");
        },
    );
}

// RL7: what is spent during a change to a burst without stripes is a debt after it, with at most one
// lease that was being fetched.
#[test]
fn spend_against_change() {
    beside_on(
        two_stripes,
        |bucket| bucket.change(NOW, Quota::per_second(1_000).burst(3)),
        |bucket| admit_via(bucket, 0) + admit_via(bucket, 0),
        |bucket, (), admitted| {
            assert_eq!(admitted, 2);
            assert!(bucket.available(NOW) <= 1);
        },
    );
}

// RL15: neither a leased token nor one that is being leased is spent in a pause.
#[test]
fn spend_against_pause() {
    beside_on(
        || one_stripe(4),
        |bucket| {
            bucket.pause(NOW, Tick(NOW.0 + 5_000_000_000));
            admit_via(bucket, 0)
        },
        |bucket| admit_via(bucket, 0) + admit_via(bucket, 0),
        |bucket, after, _| {
            assert_eq!(after, 0);
            assert_eq!(bucket.available(NOW), 0);
            assert_eq!(admit_via(bucket, 0), 0);
        },
    );
}

// RL15, RL5: tokens held from before a pause are not returned during it.
#[test]
fn gathering_against_pause() {
    beside_on(
        || {
            let bucket = two_stripes();
            assert!(bucket.take(NOW, NOW, 2, NOW).is_ok());
            assert_eq!(admit_via(&bucket, 0), 1);
            bucket
        },
        |bucket| bucket.pause(NOW, Tick(NOW.0 + 5_000_000_000)),
        |bucket| {
            if let Ok(charge) = bucket.take(NOW, NOW, 1, NOW) {
                bucket.cancel(&charge);
            }
        },
        |bucket, (), ()| {
            assert_eq!(bucket.available(NOW), 0);
            assert_eq!(admit_via(bucket, 0) + admit_via(bucket, 1), 0);
        },
    );
}

// RL5, RL1: a token from a stripe returns before the stripe is filled again, or not at all.
#[test]
fn refund_against_lease() {
    ::loom::model(|| {
        let bucket = Bucket::striped(NOW, Quota::per_second(1).burst(32), Striped::Always(1));
        assert!(bucket.take(NOW, NOW, 30, NOW).is_ok());
        let charge = bucket.take(NOW, NOW, 2, NOW).unwrap();
        assert_eq!(admit_via(&bucket, 0), 0);
        let bucket = Arc::new(bucket);
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.cancel(&charge))
        };
        let later = NOW.after(Duration::from_secs(3));
        // The second leaves room in the stripe that a lease has filled.
        assert!(bucket.admit_from_stripe(0, || later, 1).is_ok());
        let second = u32::from(bucket.admit_from_stripe(0, || later, 1).is_ok());
        thread.join().unwrap();
        let left = bucket.available(later) + second;
        assert!(left == 2 || left == 4, "{left}");
        assert!(bucket.stripes.tokens() <= 2);
    });
}

// RL5, RL7: a token from a stripe returns before the change, or not at all after it. The debt ends at
// the same number in both configurations, like in `refund_against_change`.
#[test]
fn refund_against_change_of_stripes() {
    ::loom::model(|| {
        let bucket = Bucket::striped(NOW, Quota::per_second(1).burst(32), Striped::Always(1));
        assert!(bucket.take(NOW, NOW, 30, NOW).is_ok());
        let charge = bucket.take(NOW, NOW, 2, NOW).unwrap();
        let bucket = Arc::new(bucket);
        let thread = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.cancel(&charge))
        };
        // The debt is 16, and the stripe has room for one of the two.
        let later = NOW.after(Duration::from_secs(16));
        bucket.change(later, Quota::new(1, Duration::from_secs(2)).burst(20));
        thread.join().unwrap();
        let left = bucket.available(later);
        assert!(left == 4 || left == 6, "{left}");
    });
}
