//! A token bucket, one token at a time.

use std::num::NonZeroU32;
use std::time::Duration;

use better_bucket::Bucket;
use governor::Quota as Governor;
use rate_net::DirectLimiter;
use seawall::{Quota, RateLimiter};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};

use crate::floor::{
    COUNTER_AND_EXCHANGE, COUNTER_AND_LOAD, counter_and_exchange, counter_and_load,
};

/// A rate that two threads cannot use up, with the burst of a second.
const LARGE: (u32, u32) = (1_000_000_000, 1_000_000_000);
/// The same with the burst of a microsecond. With a shorter one, threads would reject each other for the time
/// between the clock's reading and the bucket's change.
const SMALL: (u32, u32) = (100_000_000, 100);

const EXACT_ADMITS: &[Limit] = &[
    Limit::Times(1.05, &["governor"]),
    Limit::Above(3.0, COUNTER_AND_EXCHANGE),
];
const EXACT_REJECTS: &[Limit] = &[
    Limit::Times(1.05, &["governor"]),
    Limit::Above(3.0, COUNTER_AND_LOAD),
];

fn governor(quota: Governor, ok: bool) -> Contender {
    let limiter = governor::RateLimiter::direct(quota);
    if !ok {
        let _ = limiter.check();
    }
    Contender::shared(Kind::Peer, "governor", move |n| {
        (0..n)
            .map(|_| u64::from(limiter.check().is_ok() == ok))
            .sum()
    })
}

fn better_bucket(bucket: Bucket, ok: bool) -> Contender {
    Contender::shared(Kind::Peer, "better-bucket", move |n| {
        (0..n).map(|_| u64::from(bucket.try_acquire(1) == ok)).sum()
    })
}

/// rate-net's limiter without keys: its `Decision` says when to retry.
fn rate_net(limiter: DirectLimiter, ok: bool) -> Contender {
    Contender::shared(Kind::Peer, "rate-net direct", move |n| {
        (0..n)
            .map(|_| u64::from(limiter.check().is_allow() == ok))
            .sum()
    })
}

fn ours(name: &'static str, limiter: RateLimiter, ok: bool) -> Contender {
    Contender::shared(Kind::Ours, name, move |n| {
        (0..n).map(|_| u64::from(limiter.allow() == ok)).sum()
    })
}

fn admitting((rate, burst): (u32, u32)) -> Vec<Contender> {
    let nonzero = NonZeroU32::new(rate).unwrap();
    let quota = Governor::per_second(nonzero).allow_burst(NonZeroU32::new(burst).unwrap());
    let second = Duration::from_secs(1);
    let bucket = Bucket::builder().capacity(burst).refill(rate, second);
    let mut contenders = vec![
        governor(quota, true),
        better_bucket(bucket.build().unwrap(), true),
    ];
    if burst == rate {
        // Its burst comes from its rate.
        contenders.push(rate_net(DirectLimiter::per_second(rate), true));
    } else {
        contenders.insert(0, counter_and_exchange());
    }
    let limiter = RateLimiter::builder(Quota::per_second(rate).burst(burst));
    contenders.push(ours("seawall", limiter.build().unwrap(), true));
    contenders
}

/// Empty, and full again long after the run. All but `try_acquire` return no reason; governor's rejection has
/// the time, like [`RateLimiter::peek`].
fn rejecting() -> Vec<Contender> {
    let hour = Duration::from_secs(3_600);
    let quota = Governor::with_period(hour).unwrap();
    let bucket = Bucket::builder().capacity(1).refill(1, hour).initial(0);
    let direct = DirectLimiter::with_quota(rate_net::Quota::rate(1, hour).unwrap());
    let _ = direct.check();
    let limiter = RateLimiter::per_hour(1);
    assert!(limiter.allow());
    let whole = limiter.clone();
    vec![
        counter_and_load(),
        governor(quota, false),
        better_bucket(bucket.build().unwrap(), false),
        rate_net(direct, false),
        ours("seawall", limiter, false),
        // With the rejection of a layer: the policy's name, and when to retry.
        Contender::shared(Kind::Ours, "seawall try_acquire", move |n| {
            (0..n)
                .map(|_| u64::from(whole.try_acquire().is_err()))
                .sum()
        }),
    ]
}

pub(crate) fn run(report: &mut Report) {
    let goals = |limit| {
        vec![Goal {
            of: "seawall",
            limit,
        }]
    };
    for (threads, times) in [(1, 0.45), (2, 0.25)] {
        let name = format!("bucket admit, large burst, {threads} thr");
        report.group(&name, || Group {
            threads,
            admitted: true,
            contenders: admitting(LARGE),
            goals: goals(Limit::Times(times, &["governor"])),
            ..Group::new()
        });
    }
    for threads in [1, 2] {
        let name = format!("bucket admit, small burst, {threads} thr");
        report.group(&name, || Group {
            threads,
            admitted: true,
            contenders: admitting(SMALL),
            goals: goals(Limit::OneOf(EXACT_ADMITS)),
            ..Group::new()
        });
    }
    for threads in [1, 2] {
        let name = format!("bucket reject, {threads} thr");
        report.group(&name, || Group {
            threads,
            admitted: false,
            contenders: rejecting(),
            goals: goals(Limit::OneOf(EXACT_REJECTS)),
            ..Group::new()
        });
    }
}
