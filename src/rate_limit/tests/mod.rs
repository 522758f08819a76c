// Tests may read the real clock and spawn.
#![allow(clippy::disallowed_methods)]

#[cfg(feature = "test-util")]
mod queue;
#[cfg(feature = "test-util")]
mod settle;

use std::time::{Duration, Instant};

use super::{RateLimiter, Reservation};
use crate::config::Mode;
use crate::deadline::Deadline;
use crate::event::{Ending, Event, EventKind};
use crate::rate_limit::quota::Quota;
use crate::rejection::{Error, RejectionKind};
use crate::testing::{Recorder, poll_once};

/// An event in short.
fn short(event: &Event<'_>) -> String {
    match event.kind {
        EventKind::Ended { ending, elapsed } => match ending {
            Ending::Admitted if elapsed.is_zero() => "admitted".to_owned(),
            Ending::Admitted => format!("admitted after {elapsed:?}"),
            other => format!("{other:?}"),
        },
        EventKind::Rejected(rejection) => format!("rejected by {}", rejection.policy()),
        EventKind::WouldReject(rejection) => {
            format!("would reject by {}", rejection.policy())
        }
        _ => "something else".to_owned(),
    }
}

/// So slow that no token comes while a test runs.
fn slow(burst: u32) -> RateLimiter {
    let quota = Quota::per_day(1).burst(burst);
    RateLimiter::builder(quota).name("slow").build().unwrap()
}

// CX1, RL1
#[test]
fn cx1_every_clone_is_the_same_limit() {
    let limiter = slow(3);
    let clone = limiter.clone();
    assert!(limiter.allow() && clone.allow() && limiter.allow());
    assert!(!clone.allow() && !limiter.allow());
}

// CX18
#[test]
fn cx18_the_name_is_set_or_the_call_site() {
    let limiter = RateLimiter::per_second(0);
    assert!(
        limiter.name().starts_with("rate_limit@"),
        "{:?}",
        limiter.name()
    );
    assert!(
        limiter.name().contains("rate_limit/tests/mod.rs:"),
        "{:?}",
        limiter.name()
    );
    assert_eq!(limiter.try_acquire().unwrap_err().policy(), limiter.name());
    assert_eq!(slow(1).name().as_str(), "slow");
    let text = format!("{:?}", slow(2));
    assert!(
        text.contains("\"slow\"") && text.contains("burst: 2"),
        "{text}"
    );
}

// RL3, RL6
#[test]
fn rl6_a_rejection_has_a_wait_or_is_impossible() {
    let limiter = slow(2);
    let rejection = limiter.try_acquire_n(3).unwrap_err();
    assert_eq!(
        rejection.kind(),
        RejectionKind::CostAboveBurst { cost: 3, burst: 2 }
    );
    assert_eq!(rejection.retry_after(), None);
    assert!(limiter.try_acquire_n(2).is_ok());
    let rejection = limiter.try_acquire().unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    let day = Duration::from_secs(24 * 3_600);
    let wait = rejection.retry_after().unwrap();
    assert!(
        wait <= day && wait > day - Duration::from_secs(60),
        "{wait:?}"
    );
    assert_eq!(
        RateLimiter::per_second(0)
            .try_acquire()
            .unwrap_err()
            .retry_after(),
        None
    );
    assert!(limiter.allow_n(0) && RateLimiter::per_second(0).allow_n(0));
}

// RL10
#[test]
fn rl10_peek_and_available_take_nothing_and_emit_nothing() {
    let log = Recorder::default();
    let limiter = slow(2);
    let _on = limiter.on_event(log.listener_with(short));
    for _ in 0..10 {
        assert!(limiter.peek().is_ok() && limiter.peek_n(2).is_ok());
        assert!(limiter.peek_n(3).is_err());
        assert_eq!(limiter.available(), 2);
        assert_eq!(limiter.snapshot().available, 2);
    }
    assert!(log.take().is_empty());
}

// CX14
#[test]
fn cx14_every_admission_ends_in_one_event() {
    let log = Recorder::default();
    let limiter = slow(4);
    let on = limiter.on_event(log.listener_with(short));
    assert!(limiter.allow());
    assert_eq!(log.take(), ["admitted"]);
    limiter.reserve().unwrap().commit();
    assert_eq!(log.take(), ["admitted"]);
    // Its instant has come, so it is used.
    drop(limiter.reserve().unwrap());
    limiter.try_charge(1).unwrap().refund();
    assert_eq!(log.take(), ["admitted", "admitted"]);
    assert!(limiter.allow());
    assert!(!limiter.allow());
    assert!(limiter.try_acquire().is_err());
    assert!(limiter.reserve().is_err());
    assert!(limiter.acquire_blocking().is_err());
    let mut seen = log.take();
    assert_eq!(seen.remove(0), "admitted");
    assert_eq!(seen, ["rejected by slow"; 4]);
    drop(on);
    assert!(!limiter.allow());
    assert!(log.take().is_empty());
}

// CX14: the listener may call the policy, and may panic.
#[test]
fn cx14_a_listener_runs_outside_the_machine() {
    let limiter = slow(3);
    let inner = limiter.clone();
    limiter
        .on_event(move |_| {
            let left = inner.available();
            inner.set_quota(Quota::per_day(1).burst(3)).unwrap();
            std::panic::resume_unwind(Box::new(left));
        })
        .forever();
    assert!(limiter.allow());
    assert_eq!(limiter.available(), 2);
}

// CX15
#[test]
fn cx15_a_bad_configuration_names_every_problem() {
    let error = RateLimiter::builder(Quota::new(5, Duration::ZERO).burst(0))
        .name("bad")
        .max_pause(Duration::MAX)
        .build()
        .unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|p| &*p.field).collect();
    assert_eq!(fields, ["period", "burst", "max_pause"]);
    assert_eq!(error.policy().as_str(), "bad");
    assert_eq!(error.problems()[1].value, "0");
}

// CX16
#[test]
fn cx16_record_only_decides_and_rejects_nothing() {
    let log = Recorder::default();
    let limiter = RateLimiter::builder(Quota::per_day(1).burst(2))
        .name("slow")
        .mode(Mode::RecordOnly)
        .on_event(log.listener_with(short))
        .build()
        .unwrap();
    assert!((0..3).all(|_| limiter.allow()));
    let reservation = limiter.reserve().unwrap();
    assert_eq!(reservation.delay(), Duration::ZERO);
    reservation.commit();
    assert!(limiter.peek().is_ok());
    assert_eq!(limiter.snapshot().would_reject, 2);
    let would = "would reject by slow";
    let expected = ["admitted", "admitted", would, "admitted", would, "admitted"];
    assert_eq!(log.take(), expected);
    limiter.set_mode(Mode::Enforce);
    assert!(!limiter.allow());
}

// CX16: a call that would wait is not delayed either.
#[test]
fn cx16_record_only_waits_for_nothing() {
    let quota = Quota::per_second(2).burst(1);
    let limiter = RateLimiter::builder(quota)
        .mode(Mode::RecordOnly)
        .build()
        .unwrap();
    assert!(limiter.allow());
    let reservation = limiter.reserve().unwrap();
    assert_eq!(reservation.delay(), Duration::ZERO);
    reservation.commit();
    assert_eq!(limiter.snapshot().would_reject, 0);
}

// CX19
#[test]
fn cx19_off_admits_everything_and_counts_nothing() {
    let log = Recorder::default();
    let limiter = slow(1);
    let _on = limiter.on_event(log.listener_with(short));
    limiter.set_mode(Mode::Off);
    assert!((0..5).all(|_| limiter.allow_n(9)));
    limiter.reserve_n(9).unwrap().commit();
    drop(limiter.reserve().unwrap());
    assert!(limiter.peek_n(9).is_ok());
    assert_eq!(limiter.available(), u32::MAX);
    assert!(log.take().is_empty());
    limiter.set_mode(Mode::Enforce);
    assert_eq!(limiter.available(), 1);
    assert_eq!(limiter.snapshot().would_reject, 0);
}

// CX19, RL7
#[test]
fn cx19_a_bad_change_changes_nothing() {
    let limiter = slow(5);
    assert!(limiter.allow_n(2));
    let error = limiter
        .set_quota(Quota::per_second(5).burst(0))
        .unwrap_err();
    assert_eq!(error.problems()[0].field, "burst");
    assert_eq!(limiter.quota(), Quota::per_day(1).burst(5));
    assert_eq!(limiter.available(), 3);
    limiter.set_quota(Quota::per_day(2).burst(7)).unwrap();
    assert_eq!(limiter.quota(), Quota::per_day(2).burst(7));
    assert_eq!(limiter.available(), 5);
    limiter.set_quota(Quota::unlimited()).unwrap();
    assert!(limiter.allow_n(u32::MAX));
    limiter.set_quota(Quota::per_second(0)).unwrap();
    assert!(!limiter.allow());
}

// RL9
#[test]
fn rl9_the_kept_rate_is_never_above_the_configured_one() {
    for n in [1, 3, 10, 9_999_999, u32::MAX] {
        let kept = RateLimiter::per_second(n).kept_rate();
        assert!(kept <= f64::from(n), "{kept} of {n}");
    }
    assert_eq!(RateLimiter::per_second(10).kept_rate(), 10.0);
    assert_eq!(RateLimiter::per_second(0).kept_rate(), 0.0);
    assert_eq!(RateLimiter::unlimited().kept_rate(), f64::INFINITY);
}

/// The largest burst at this rate, which is enough for stripes on any machine.
fn striped() -> RateLimiter {
    let quota = Quota::per_hour(1).burst(9_984);
    RateLimiter::builder(quota).striped(true).build().unwrap()
}

// RL17, CX7
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn cx7_ten_thousand_refunds_end_at_the_starting_balance() {
    let limiter = slow(100);
    assert!(limiter.allow_n(37));
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..10_000 {
        let mut held: Vec<_> = (0..rng.usize(0..4))
            .filter_map(|_| limiter.try_charge(rng.u32(0..20)).ok())
            .collect();
        rng.shuffle(&mut held);
        held.into_iter().for_each(super::OpenCharge::refund);
    }
    assert_eq!(limiter.available(), 63);
}

// RL5, CX7: with nearly all of the burst in the stripes.
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn cx7_ten_thousand_dropped_reservations_end_at_the_starting_balance() {
    for limiter in [slow(100), striped()] {
        while limiter.available() > 0 {
            assert!(limiter.allow());
        }
        limiter
            .change(|now| now.max_wait(Duration::from_secs(1 << 30)))
            .unwrap();
        let left = limiter.reserve().unwrap().delay();
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let mut held: Vec<_> = (0..rng.usize(0..4))
                .filter_map(|_| limiter.reserve_n(rng.u32(1..20)).ok())
                .collect();
            // The last one returns whole, then the one before it.
            while let Some(last) = held.pop() {
                drop(last);
            }
        }
        assert_eq!(limiter.reserve().unwrap().delay(), left);
    }
}

// RL1, RL2: threads together get the whole burst, and so does each alone.
#[test]
fn rl1_threads_share_a_large_burst_to_the_token() {
    for limiter in [striped(), slow(416)] {
        let burst = limiter.available();
        let mut admitted: u32 = std::thread::scope(|scope| {
            let run = || (0..3_000).filter(|_| limiter.allow()).count() as u32;
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        // A thread may have been rejected while another fetched a lease.
        while limiter.allow() {
            admitted += 1;
        }
        assert_eq!(admitted, burst);
        assert_eq!(limiter.available(), 0);
    }
}

// RL13
#[test]
fn rl13_all_admit_or_none_is_charged() {
    let named = |name: &str, quota| RateLimiter::builder(quota).name(name).build().unwrap();
    for few_first in [true, false] {
        let few = named("few", Quota::per_day(1).burst(2));
        let many = named("many", Quota::per_hour(1).burst(10));
        let mut order = [few.clone(), many.clone()];
        if !few_first {
            order.reverse();
        }
        let log = Recorder::default();
        let plan = RateLimiter::all_of("plan", order).unwrap();
        let _on = plan.on_event(log.listener_with(short));
        assert!(plan.allow() && plan.allow());
        for _ in 0..5 {
            assert!(!plan.allow());
            assert!(plan.peek().is_err() && plan.reserve().is_err());
        }
        assert_eq!(many.available(), 8);
        assert_eq!(plan.available(), 0);
        let rejection = plan.try_acquire().unwrap_err();
        assert_eq!(rejection.policy().as_str(), "few");
        assert_eq!(log.take()[..3], ["admitted", "admitted", "rejected by few"]);
        // Both reject: the longest wait counts, and an impossible cost waits for ever.
        assert!(many.allow_n(8));
        let rejection = plan.try_acquire().unwrap_err();
        assert_eq!(rejection.policy().as_str(), "few");
        assert!(rejection.retry_after().unwrap() > Duration::from_secs(7_200));
        let rejection = plan.try_acquire_n(3).unwrap_err();
        assert_eq!(
            rejection.kind(),
            RejectionKind::CostAboveBurst { cost: 3, burst: 2 }
        );
    }
}

// RL13, RL5
#[test]
fn rl13_a_joint_refund_returns_to_every_member() {
    let (a, b) = (slow(5), slow(9));
    let both = RateLimiter::all_of("both", [a.clone(), b.clone()]).unwrap();
    let charge = both.try_charge(4).unwrap();
    assert_eq!((a.available(), b.available()), (1, 5));
    charge.refund();
    assert_eq!((a.available(), b.available()), (5, 9));
    drop(both.reserve_n(4).unwrap());
    assert_eq!((a.available(), b.available()), (1, 5));
}

// RL13, CX16: each limit keeps its mode.
#[test]
fn rl13_a_record_only_member_rejects_nothing() {
    let (a, b, off) = (slow(1), slow(9), slow(1));
    a.set_mode(Mode::RecordOnly);
    off.set_mode(Mode::Off);
    let all = RateLimiter::all_of("all", [a.clone(), b.clone(), off.clone()]).unwrap();
    assert!((0..3).all(|_| all.allow()));
    assert_eq!((a.available(), b.available()), (0, 6));
    assert_eq!(a.snapshot().would_reject, 2);
    off.set_mode(Mode::Enforce);
    assert_eq!(off.available(), 1);
}

// RL13: no member is exceeded, and every admission is charged to both.
#[test]
fn rl13_a_joint_limit_holds_with_threads() {
    let (few, many) = (slow(50), slow(400));
    let both = RateLimiter::all_of("both", [many.clone(), few.clone()]).unwrap();
    let admitted: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|i| {
                // Half of them take from one member directly.
                let limiter = if i % 2 == 0 {
                    both.clone()
                } else {
                    few.clone()
                };
                scope.spawn(move || {
                    let admitted = (0..200).filter(|_| limiter.allow()).count() as u32;
                    if i % 2 == 0 { admitted } else { admitted << 16 }
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let (jointly, alone) = (admitted & 0xffff, admitted >> 16);
    assert!(jointly + alone <= 50, "{jointly} and {alone}");
    assert_eq!(few.available(), 0);
    assert!(many.available() <= 400 - jointly);
}

// RL13, CX15
#[test]
fn rl13_a_joint_limiter_has_one_to_eight_members() {
    let limits = |n| {
        (0..n)
            .map(|_| RateLimiter::per_second(1))
            .collect::<Vec<_>>()
    };
    assert!(RateLimiter::all_of("none", []).is_err());
    assert!(RateLimiter::all_of("nine", limits(9)).is_err());
    let eight = RateLimiter::all_of("eight", limits(8)).unwrap();
    assert!(
        RateLimiter::all_of("again", [eight.clone()])
            .unwrap()
            .allow()
    );
    assert!(!eight.allow());
    assert!(RateLimiter::all_of("more", [eight.clone(), RateLimiter::per_second(1)]).is_err());
    let one = RateLimiter::per_second(1);
    assert!(RateLimiter::all_of("twice", [one.clone(), one]).is_err());
    assert!(eight.set_quota(Quota::per_second(1)).is_err());
}

// RN1, CX11: without a runtime; a rejected call is not made.
#[test]
fn rn1_run_makes_the_call_or_rejects() {
    let limiter = slow(2);
    let run = |outcome: Result<u32, &'static str>| {
        poll_once(limiter.run(|| std::future::ready(outcome))).unwrap()
    };
    assert_eq!(run(Ok(7)), Ok(7));
    assert_eq!(run(Err("no")), Err(Error::Service("no")));
    let mut called = false;
    let rejected = poll_once(limiter.run(|| {
        called = true;
        std::future::ready(Ok::<(), ()>(()))
    }));
    assert!(matches!(rejected, Some(Err(Error::Rejected(_)))));
    assert!(!called);
}

// RN3, RL4: without a runtime, at the instants granted.
#[test]
fn rn3_the_blocking_twin_waits_for_its_token() {
    let quota = Quota::per_second(1_000).burst(1);
    let limiter = RateLimiter::builder(quota).build().unwrap();
    let log = Recorder::default();
    let _on = limiter.on_event(log.listener_with(short));
    let start = Instant::now();
    for _ in 0..6 {
        limiter.acquire_blocking().unwrap();
    }
    #[cfg(not(feature = "test-util"))]
    assert!(start.elapsed() >= Duration::from_millis(5));
    let _ = start;
    let events = log.take();
    assert_eq!(events.len(), 6);
    assert!(
        events.iter().all(|line| line.starts_with("admitted")),
        "{events:?}"
    );
}

#[test]
fn rn3_run_blocking_makes_the_call_or_rejects() {
    let limiter = RateLimiter::per_day(2);
    assert_eq!(limiter.run_blocking(|| Ok::<_, &str>(42)), Ok(42));
    let answer = limiter.run_blocking(|| Err::<(), _>("broken"));
    assert_eq!(answer, Err(Error::Service("broken")));
    let answer = limiter.run_blocking(|| -> Result<(), &str> { unreachable!() });
    let rejection = answer.unwrap_err().into_service().unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
}

// RL4, TO4
#[test]
fn rl4_a_wait_beyond_max_wait_or_the_deadline_is_rejected_at_once() {
    let quota = Quota::per_minute(1);
    let limiter = RateLimiter::builder(quota)
        .max_wait(Duration::from_secs(3_600))
        .build()
        .unwrap();
    assert!(limiter.allow());
    let start = Instant::now();
    Deadline::after(Duration::from_secs(30)).enter(|| {
        assert_eq!(
            limiter.acquire_blocking().unwrap_err().kind(),
            RejectionKind::RateLimited
        );
        assert!(limiter.reserve().is_err());
    });
    Deadline::after(Duration::ZERO).enter(|| {
        assert_eq!(
            limiter.acquire_blocking().unwrap_err().kind(),
            RejectionKind::Expired
        );
    });
    // Nothing was taken: the next token is the same.
    let reservation = limiter.reserve().unwrap();
    assert!(reservation.delay() <= Duration::from_secs(60));
    assert!(start.elapsed() < Duration::from_secs(25));
}

// RL15
#[test]
fn rl15_a_pause_is_capped_and_can_be_ended() {
    let limiter = RateLimiter::builder(Quota::per_day(100))
        .max_pause(Duration::from_secs(5))
        .build()
        .unwrap();
    limiter.pause_for(Duration::MAX);
    let paused = limiter.snapshot().paused.unwrap();
    assert!(paused <= Duration::from_secs(5) && paused > Duration::from_secs(3));
    let rejection = limiter.try_acquire().unwrap_err();
    assert!(rejection.retry_after().unwrap() <= Duration::from_secs(5));
    limiter.resume();
    assert_eq!(limiter.snapshot().paused, None);
    assert!(limiter.allow() && !limiter.allow());
    limiter.pause_until(Instant::now() + Duration::from_secs(1_000));
    assert!(limiter.snapshot().paused.unwrap() <= Duration::from_secs(5));
    limiter.resume();
    limiter.pause_until(Instant::now());
    assert_eq!(limiter.snapshot().paused, None);
}

// CX19
#[test]
fn cx19_a_changed_max_pause_affects_the_next_pause() {
    let secs = Duration::from_secs;
    let limiter = RateLimiter::per_day(100);
    limiter.change(|now| now.max_pause(secs(500))).unwrap();
    limiter.pause_for(Duration::MAX);
    let far = secs(366 * 24 * 3_600);
    let error = limiter.change(|now| now.max_pause(far)).unwrap_err();
    assert_eq!(error.problems()[0].field, "max_pause");
    assert_eq!(limiter.snapshot().max_pause, secs(500));
    limiter.change(|now| now.max_pause(secs(5))).unwrap();
    let paused = limiter.snapshot().paused.unwrap();
    assert!(paused <= secs(500) && paused > secs(400), "{paused:?}");
    limiter.resume();
    limiter.pause_for(Duration::MAX);
    assert!(limiter.snapshot().paused.unwrap() <= secs(5));
}

#[test]
fn cx19_concurrent_changes_of_different_fields_both_stay() {
    let limiter = slow(5);
    let runs = std::cell::Cell::new(0);
    limiter
        .change(|now| {
            if runs.replace(runs.get() + 1) == 0 {
                limiter.set_quota(Quota::per_day(2).burst(9)).unwrap();
            }
            now.max_wait(Duration::ZERO).mode(Mode::RecordOnly)
        })
        .unwrap();
    let snapshot = limiter.snapshot();
    assert_eq!(runs.get(), 2);
    assert_eq!(snapshot.quota, Quota::per_day(2).burst(9));
    assert_eq!(snapshot.max_wait, Duration::ZERO);
    assert_eq!(snapshot.mode, Mode::RecordOnly);
    assert_eq!(snapshot.available, 9);
}

#[test]
fn cx19_a_change_checks_everything_and_keeps_charges_if_the_quota_stays() {
    let limiter = slow(5);
    let charge = limiter.try_charge(2).unwrap();
    limiter.change(|now| now.max_wait(Duration::ZERO)).unwrap();
    charge.refund();
    assert_eq!(limiter.available(), 5);
    let bad = |now: super::Builder| {
        now.quota(Quota::per_second(1).burst(0))
            .max_pause(Duration::MAX)
            .mode(Mode::Off)
    };
    let error = limiter.change(bad).unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|p| &*p.field).collect();
    assert_eq!(fields, ["burst", "max_pause"]);
    assert_eq!(limiter.mode(), Mode::Enforce);
    let joint = RateLimiter::all_of("joint", [limiter]).unwrap();
    joint.change(|now| now.max_wait(Duration::ZERO)).unwrap();
    let error = joint.change(|now| now.quota(Quota::per_second(1)));
    assert_eq!(error.unwrap_err().problems()[0].field, "quota");
}

#[cfg(feature = "tokio")]
#[test]
fn rl1_a_reading_of_the_clock_is_used_once() {
    use crate::time::{self, Tick};
    let mut clock = super::ask::fresh_after(|| Tick::ZERO);
    let now = time::now();
    assert_eq!(clock(), Tick::ZERO);
    assert!(clock() >= now && clock() >= now);
}

// CX10
#[test]
fn cx10_limiter_reservation_and_future_are_send_and_sync() {
    fn both<T: Send + Sync + Unpin>() {}
    both::<RateLimiter>();
    both::<Reservation>();
    #[cfg(feature = "tokio")]
    {
        fn sent<T: Send + Sync>() {}
        sent::<super::Acquire>();
    }
}

#[cfg(feature = "test-util")]
mod waiting {
    use std::future::{Future, poll_fn};
    use std::pin::{Pin, pin};
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::{Instant, advance, sleep};

    use super::{RateLimiter, Recorder, short};
    use crate::config::Mode;
    use crate::deadline::Deadline;
    use crate::rate_limit::quota::Quota;
    use crate::rejection::RejectionKind;
    use crate::testing::ms;

    fn one_in_100_ms() -> RateLimiter {
        let quota = Quota::per_second(10).burst(1);
        RateLimiter::builder(quota).name("ten").build().unwrap()
    }

    /// Polls once, so that the wait starts.
    async fn begin<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    // RL4
    #[tokio::test(start_paused = true)]
    async fn rl4_first_come_first_served_at_the_instants_granted() {
        let limiter = one_in_100_ms();
        let start = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let limiter = limiter.clone();
            let task = async move {
                limiter.acquire().await.unwrap();
                start.elapsed()
            };
            tasks.push(tokio::task::spawn(task));
            tokio::task::yield_now().await;
        }
        for (i, task) in (0..).zip(tasks) {
            let at = task.await.unwrap();
            // tokio's timers count whole milliseconds and fire at most two late.
            assert!(at >= ms(100 * i) && at <= ms(100 * i + 2), "{i}: {at:?}");
        }
    }

    // RL4, CX9: one poll to set the timer and one when it fires, however long and however many.
    #[tokio::test(start_paused = true)]
    async fn rl4_a_wait_is_a_constant_number_of_polls() {
        let limiter = one_in_100_ms();
        let mut polls = Vec::new();
        for _ in 0..9 {
            let limiter = limiter.clone();
            polls.push(tokio::task::spawn(async move {
                let mut acquire = pin!(limiter.acquire());
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    acquire.as_mut().poll(cx)
                })
                .await
                .unwrap();
                polls
            }));
        }
        for task in polls {
            let polls = task.await.unwrap();
            assert!(polls <= 3, "{polls}");
        }
    }

    // RL4, TO4
    #[tokio::test(start_paused = true)]
    async fn rl4_a_token_that_cannot_come_in_time_is_rejected_at_once_and_not_taken() {
        let limiter = one_in_100_ms();
        limiter.acquire().await.unwrap();
        let start = Instant::now();
        let rejection = limiter.acquire().max_wait(ms(99)).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::RateLimited);
        assert_eq!(rejection.retry_after(), Some(ms(100)));
        let late = Deadline::after(ms(99)).scope(limiter.acquire()).await;
        assert_eq!(late.unwrap_err().retry_after(), Some(ms(100)));
        let gone = Deadline::after(ms(0)).scope(limiter.acquire()).await;
        assert_eq!(gone.unwrap_err().kind(), RejectionKind::Expired);
        let costly = limiter.acquire().cost(2).await.unwrap_err();
        assert_eq!(
            costly.kind(),
            RejectionKind::CostAboveBurst { cost: 2, burst: 1 }
        );
        assert_eq!(start.elapsed(), ms(0));
        Deadline::after(ms(110))
            .scope(limiter.acquire().max_wait(ms(100)))
            .await
            .unwrap();
        assert!(start.elapsed() <= ms(102));
    }

    // CX19, RL4
    #[tokio::test(start_paused = true)]
    async fn cx19_a_changed_max_wait_affects_the_next_waiter() {
        let limiter = one_in_100_ms();
        limiter.acquire().await.unwrap();
        let mut waiting = pin!(limiter.acquire());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        // It takes `max_wait` when it is first polled.
        let made_before = limiter.acquire();
        limiter.change(|now| now.max_wait(ms(150))).unwrap();
        assert_eq!(limiter.snapshot().max_wait, ms(150));
        let rejection = made_before.await.unwrap_err();
        assert_eq!(rejection.retry_after(), Some(ms(200)));
        assert!(limiter.reserve().is_err());
        limiter.change(|now| now.max_wait(ms(0))).unwrap();
        waiting.await.unwrap();
        limiter.change(|now| now.max_wait(ms(200))).unwrap();
        limiter.acquire().await.unwrap();
    }

    // RL4, RL5, CX7, CX14
    #[tokio::test(start_paused = true)]
    async fn rl5_a_dropped_waiter_costs_nothing_and_a_dropped_reservation_only_the_last() {
        let limiter = one_in_100_ms();
        let log = Recorder::default();
        let _on = limiter.on_event(log.listener_with(short));
        limiter.acquire().await.unwrap();
        {
            let mut acquire = pin!(limiter.acquire());
            assert!(begin(acquire.as_mut()).await.is_pending());
            advance(ms(30)).await;
        }
        assert_eq!(log.take(), ["admitted", "Dropped"]);
        let wait = limiter.try_acquire().unwrap_err().retry_after();
        assert_eq!(wait, Some(ms(70)));
        log.take();
        let first = limiter.reserve().unwrap();
        let second = limiter.reserve().unwrap();
        drop(first);
        assert_eq!(second.delay(), ms(170));
        let third = limiter.reserve().unwrap();
        assert_eq!(third.delay(), ms(270));
        drop(third);
        assert_eq!(log.take(), ["Dropped", "Dropped"]);
        assert_eq!(limiter.reserve().unwrap().delay(), ms(270));
        // At its instant it is used, not returned.
        advance(ms(170)).await;
        drop(second);
        assert_eq!(limiter.reserve().unwrap().delay(), ms(100));
    }

    // RL5: case 29
    #[tokio::test(start_paused = true)]
    async fn rl5_a_reservation_that_is_slept_for_and_dropped_is_used() {
        let limiter = one_in_100_ms();
        let start = Instant::now();
        for _ in 0..100 {
            let reservation = limiter.reserve().unwrap();
            sleep(reservation.delay()).await;
        }
        assert!(start.elapsed() >= ms(9_900), "{:?}", start.elapsed());
    }

    // CX14
    #[tokio::test(start_paused = true)]
    async fn cx14_a_waiter_ends_in_one_event_with_its_wait() {
        let limiter = one_in_100_ms();
        let log = Recorder::default();
        let _on = limiter.on_event(log.listener_with(short));
        limiter.acquire().await.unwrap();
        limiter.acquire().await.unwrap();
        let events = log.take();
        assert_eq!(events, ["admitted", "admitted after 100ms"]);
    }

    // CX17, RL3
    #[tokio::test(start_paused = true)]
    async fn cx17_the_limiter_follows_the_paused_clock() {
        let limiter = RateLimiter::per_second(2);
        assert!(limiter.allow_n(2));
        let wait = limiter.try_acquire().unwrap_err().retry_after().unwrap();
        assert_eq!(wait, ms(500));
        advance(wait - Duration::from_nanos(1)).await;
        assert!(!limiter.allow());
        advance(Duration::from_nanos(1)).await;
        assert!(limiter.allow());
        advance(Duration::from_secs(3_600)).await;
        assert_eq!(limiter.available(), 2);
    }

    // RL2: by default a large burst has stripes and a small one none; the builder forces either.
    #[tokio::test(start_paused = true)]
    async fn rl2_whether_a_limiter_has_stripes_can_be_forced() {
        let (small, large) = (Quota::per_second(100), Quota::per_second(10_000));
        let built = |quota, striped| {
            let builder = RateLimiter::builder(quota);
            builder.striped(striped).build().unwrap()
        };
        for (limiter, has_stripes) in [
            (RateLimiter::per_second(100), false),
            (RateLimiter::builder(small).build().unwrap(), false),
            (built(small, true), true),
            (built(large, false), false),
            (RateLimiter::builder(large).build().unwrap(), true),
            (RateLimiter::per_second(10_000), true),
        ] {
            let burst = limiter.quota().max_burst();
            while limiter.allow() {}
            advance(Duration::from_secs(60)).await;
            // After an idle time the stripes' share is missing.
            let idle = limiter.available();
            assert_eq!(idle < burst, has_stripes, "{idle} of {burst}");
            let least = if burst == 100 {
                burst / 2
            } else {
                burst - burst / 16
            };
            assert!((least..=burst).contains(&idle), "{idle} of {burst}");
        }
    }

    // RL15, RL4: a pause that starts during the wait is known to be too long, or waited for.
    #[tokio::test(start_paused = true)]
    async fn rl15_a_pause_reaches_the_waiters_at_once() {
        let limiter = one_in_100_ms();
        limiter.acquire().await.unwrap();
        let start = Instant::now();
        let log = Recorder::default();
        let _on = limiter.on_event(log.listener_with(short));
        let (mut short, mut long) = (
            pin!(limiter.acquire().max_wait(ms(300))),
            pin!(limiter.acquire().max_wait(ms(5_000))),
        );
        assert!(begin(short.as_mut()).await.is_pending());
        assert!(begin(long.as_mut()).await.is_pending());
        limiter.pause_for(ms(1_000));
        let rejection = short.await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::RateLimited);
        assert_eq!(rejection.retry_after(), Some(ms(1_000)));
        assert_eq!(start.elapsed(), ms(0));
        long.await.unwrap();
        assert!(start.elapsed() >= ms(1_000) && start.elapsed() < ms(1_003));
        assert_eq!(log.take().len(), 2);
        assert!(!limiter.allow());

        // Its end reaches them too.
        let mut waiter = pin!(limiter.acquire().max_wait(ms(5_000)));
        limiter.pause_for(ms(3_000));
        assert!(begin(waiter.as_mut()).await.is_pending());
        let resumed = Instant::now();
        limiter.resume();
        waiter.await.unwrap();
        // The token of before the pause is still owed.
        assert!(resumed.elapsed() <= ms(101), "{:?}", resumed.elapsed());
    }

    // RL13, RL4: one instant for all members, charged to each.
    #[tokio::test(start_paused = true)]
    async fn rl13_several_limits_are_waited_for_as_one() {
        let fast = RateLimiter::builder(Quota::per_second(10).burst(3))
            .build()
            .unwrap();
        let slow = RateLimiter::builder(Quota::per_second(2).burst(1))
            .build()
            .unwrap();
        let both = RateLimiter::all_of("both", [fast.clone(), slow.clone()]).unwrap();
        both.acquire().await.unwrap();
        let reservation = both.reserve().unwrap();
        assert_eq!(reservation.delay(), ms(500));
        // The fast member was charged for the same instant, not for now.
        advance(ms(500)).await;
        reservation.commit();
        assert_eq!((fast.available(), slow.available()), (2, 0));
        assert_eq!(both.try_acquire().unwrap_err().retry_after(), Some(ms(500)));
    }

    // RL4, CX19: case 27
    #[tokio::test(start_paused = true)]
    async fn cx19_a_raised_quota_and_a_changed_mode_reach_every_waiter_at_once() {
        let limiter = RateLimiter::builder(Quota::per_minute(1))
            .max_wait(Duration::from_secs(3_600))
            .build()
            .unwrap();
        limiter.acquire().await.unwrap();
        let start = Instant::now();
        let mut waiters: Vec<_> = (0..9).map(|_| Box::pin(limiter.acquire())).collect();
        for waiter in &mut waiters {
            assert!(begin(waiter.as_mut()).await.is_pending());
        }
        limiter.set_quota(Quota::per_second(500).burst(1)).unwrap();
        let off = waiters.split_off(4);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert!(start.elapsed() <= ms(10), "{:?}", start.elapsed());
        limiter.set_mode(Mode::Off);
        for waiter in off {
            waiter.await.unwrap();
        }
        assert!(start.elapsed() <= ms(10), "{:?}", start.elapsed());
    }

    #[test]
    fn cx11_an_available_token_needs_no_runtime() {
        let limiter = one_in_100_ms();
        assert!(matches!(super::poll_once(limiter.acquire()), Some(Ok(()))));
    }
}

// RL13, RL9: a charge that a member's word cannot hold is rejected, not tried for ever.
#[test]
fn rl13_a_joint_limit_rejects_an_instant_too_late_for_one_member() {
    let days = |days: u64| Duration::from_secs(days * 24 * 3_600);
    let far = |name: &str, each: u64, burst| {
        let far = RateLimiter::builder(Quota::new(1, days(each)).burst(burst));
        far.name(name).max_wait(Duration::MAX).build().unwrap()
    };
    let one = RateLimiter::all_of("one", [far("only", 1, 400)]).unwrap();
    let queue: Vec<_> = (0..4).map(|_| one.reserve_n(400).unwrap()).collect();
    assert!(one.reserve_n(400).is_err());
    drop(queue);

    // `slow` has room at that instant, `long` has not.
    let (long, slow) = (far("long", 1, 300), far("slow", 4, 100));
    let both = RateLimiter::all_of("both", [long.clone(), slow]).unwrap();
    let _queue: Vec<_> = (0..5).map(|_| long.reserve_n(300).unwrap()).collect();
    assert!(both.reserve_n(100).is_err());
}
