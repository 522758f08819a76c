//! A bucket for each of 10,000 keys, in bounded memory.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::Quota;
use rate_net::{Eviction, RateLimiter};
use seawall::Keyed;
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};

const KEYS: u64 = 10_000;
/// A rate that no thread here can use up, for each key.
const ABUNDANT: u32 = 1_000_000_000;

/// All keys in an unpredictable order. Each turn starts elsewhere.
fn keys(turn: &AtomicU64, n: u64) -> impl Iterator<Item = u64> {
    let begin = turn.fetch_add(n, Ordering::Relaxed);
    (begin..begin + n)
        .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32)
        .map(|i| i % KEYS)
}

fn contender(
    kind: Kind,
    name: &'static str,
    allow: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> Contender {
    let turn = AtomicU64::new(0);
    // All keys have an entry.
    (0..KEYS).for_each(|key| assert!(allow(key)));
    Contender::shared(kind, name, move |n| {
        keys(&turn, n).map(|key| u64::from(allow(key))).sum()
    })
}

/// Not bounded: `retain_recent` has to be called now and then. Its default hasher is that of the standard
/// library, like seawall's.
fn governor() -> [Contender; 2] {
    let quota = Quota::per_second(NonZeroU32::new(ABUNDANT).unwrap());
    let keyed = governor::RateLimiter::dashmap(quota);
    let hasher = ahash::RandomState::new();
    let hashed = governor::RateLimiter::dashmap_with_hasher(quota, hasher);
    [
        contender(Kind::Peer, "governor", move |key| {
            keyed.check_key(&key).is_ok()
        }),
        contender(Kind::Peer, "governor, ahash", move |key| {
            hashed.check_key(&key).is_ok()
        }),
    ]
}

fn rate_net() -> Contender {
    let room = Eviction::capacity(2 * KEYS as usize);
    let limiter = RateLimiter::per_second(ABUNDANT).with_eviction(room);
    contender(Kind::Peer, "rate-net", move |key| {
        limiter.check(key).is_allow()
    })
}

fn seawall() -> Contender {
    let quota = seawall::Quota::per_second(ABUNDANT);
    let keyed = Keyed::limit(KEYS as usize, quota).unwrap();
    contender(Kind::Ours, "seawall", move |key| keyed.allow(&key))
}

fn contenders() -> Vec<Contender> {
    let mut contenders = Vec::from(governor());
    contenders.push(seawall());
    contenders.push(rate_net());
    contenders
}

pub(crate) fn run(report: &mut Report) {
    for threads in [1, 2] {
        let name = format!("bucket, 10,000 keys, {threads} thr");
        let goal = Goal {
            of: "seawall",
            limit: Limit::Times(0.8, &["governor"]),
        };
        report.group(&name, || Group {
            threads,
            admitted: true,
            contenders: contenders(),
            goals: vec![goal],
            ..Group::new()
        });
    }
}
