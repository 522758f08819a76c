#[cfg(feature = "test-util")]
use std::time::Duration;

use crate::event::EventKind;
use crate::keyed::Source;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering::Relaxed};
use crate::{ConfigError, Keyed, Mode, Quota, RateLimiter, RejectionKind};

// RL13, KY1
#[test]
fn rl13_a_limit_per_key_and_one_for_all_keys_are_charged_together() -> Result<(), ConfigError> {
    let in_all = RateLimiter::per_second(3);
    let clients = Keyed::<str, _>::limit(10, Quota::per_second(2))?;
    let both = clients.with_limits([in_all.clone()])?;
    assert!(both.allow("a"));
    assert!(both.allow("a"));
    assert!(!both.allow("a"), "the key's own limit");
    assert_eq!(in_all.available(), 1, "a rejected call is charged to none");
    assert!(both.allow("b"));
    let rejection = both.try_acquire("b").unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    assert_eq!(rejection.policy(), in_all.name());
    assert_eq!(
        clients.get("b").available(),
        1,
        "a rejected call is charged to none"
    );
    assert_eq!(both.get("b").available(), 0);
    Ok(())
}

// With one token left, the second charge of a call would undo the first, again and again.
#[test]
fn rl13_a_keyed_limit_and_one_of_its_keys_are_the_same_limit_twice() -> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_day(1))?;
    let error = clients.with_limits([clients.get("a")]).unwrap_err();
    assert_eq!(error.problems()[0].allowed, "each limit once");
    Ok(())
}

#[test]
fn ky1_a_handle_to_one_key_is_the_limit_of_that_key() -> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_second(2))?;
    let (a, again, b) = (clients.get("a"), clients.get("a"), clients.get("b"));
    let charge = a.try_charge(2).unwrap();
    assert!(!again.allow());
    assert!(b.allow());
    charge.refund();
    assert_eq!(again.available(), 2);
    assert!(RateLimiter::all_of("twice", [a.clone(), again]).is_err());
    assert!(RateLimiter::all_of("two keys", [a, b]).is_ok());
    Ok(())
}

#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn rl15_one_key_is_paused() {
    let hosts = Keyed::<str, _>::limit(10, Quota::per_second(10)).unwrap();
    hosts.get("a").pause_for(Duration::from_secs(5));
    let wait = hosts.try_acquire("a").unwrap_err().retry_after();
    assert_eq!(wait, Some(Duration::from_secs(5)));
    assert!(hosts.allow("b"));
    tokio::time::advance(Duration::from_millis(4_999)).await;
    assert!(!hosts.allow("a"));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(hosts.allow("a"), "one token is there");
    assert!(!hosts.allow("a"), "and no burst");
}

// KY3, CX14
#[test]
fn ky3_the_eviction_of_a_key_in_debt_is_emitted() {
    let events = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&events);
    let clients = RateLimiter::builder(Quota::per_hour(3))
        .name("per client")
        .on_event(move |event| {
            assert_eq!(event.policy.as_str(), "per client");
            count.fetch_add(matches!(event.kind, EventKind::Overflow).into(), Relaxed);
        })
        .per_key::<u32>(4)
        .unwrap();
    // Eight keys have an entry and owe one token each. A key that takes one over owes one more,
    // until the whole burst is owed.
    let admitted = (0..100).filter(|client| clients.allow(client)).count() as u64;
    assert_eq!(clients.len(), 8);
    let evicted = events.load(Relaxed);
    assert!(evicted > 0);
    assert_eq!((admitted, clients.overflowed()), (8 + evicted, evicted));
}

#[test]
fn ky3_as_many_keys_in_debt_as_the_capacity_fit_except_for_one_in_fifty() {
    let clients = Keyed::<u32, _>::limit(10_000, Quota::per_hour(2)).unwrap();
    let admitted = (0..10_000).filter(|client| clients.allow(client)).count();
    let evicted = clients.overflowed();
    assert!(evicted < 200, "{evicted} evicted");
    assert!(
        admitted as u64 >= 10_000 - evicted,
        "{admitted} admitted, {evicted} evicted"
    );
}

// KY3, RL1: twenty made-up keys for each entry give a debtor that keeps coming back no fresh
// burst. While they arrive more slowly than all entries together are repaid, they do not disturb
// a key that stays within its quota.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn ky3_made_up_keys_free_no_debtor_and_disturb_no_good_key() {
    let clients = Keyed::<u64, _>::limit(1_000, Quota::per_second(10)).unwrap();
    let (debtor, good) = (1, 2);
    let (mut to_debtor, mut to_good, mut calls) = (0, 0, 0);
    for step in 0..2_000u64 {
        // Ten seconds, with five calls in each by the good key.
        tokio::time::advance(Duration::from_millis(5)).await;
        if step % 40 == 0 {
            calls += 1;
            to_good += u32::from(clients.allow(&good));
        }
        to_debtor += u32::from(clients.allow(&debtor));
        for n in 0..20 {
            let _ = clients.allow(&(1_000 + step * 20 + n));
        }
    }
    assert!((100..=10 + 100).contains(&to_debtor), "{to_debtor}");
    assert_eq!(to_good, calls);
    assert!(clients.len() <= 2_000, "{}", clients.len());
}

// RL2, RL3: a slow limit has its whole burst at any instant, and is exact about the next token.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn rl2_a_slow_limit_admits_its_whole_burst_at_once() {
    for quota in [Quota::per_day(3), Quota::per_hour(5), Quota::per_minute(7)] {
        let clients = Keyed::<u32, _>::limit(1_000, quota).unwrap();
        let plain = RateLimiter::builder(quota).build().unwrap();
        for client in 0..50 {
            tokio::time::advance(Duration::from_nanos(1_234_567)).await;
            for left in (0..quota.max_burst()).rev() {
                assert!(clients.allow(&client), "{quota}, client {client}");
                assert_eq!(clients.get(&client).available(), left);
            }
            let wait = clients.try_acquire(&client).unwrap_err().retry_after();
            if client == 0 {
                while plain.try_acquire().is_ok() {}
                assert_eq!(wait, plain.try_acquire().unwrap_err().retry_after());
            }
        }
    }
}

// RL7, RL13
#[test]
fn rl7_a_changed_quota_of_joint_keyed_limits_is_for_the_anonymous_limiter_too()
-> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_day(2))?;
    let both = clients.with_limits([RateLimiter::per_day(100)])?;
    both.set_quota(0, Quota::per_day(5).burst(5))?;
    assert_eq!(both.get("a").available(), 5);
    assert_eq!(both.anonymous().quota().max_burst(), 5);
    Ok(())
}

#[test]
fn cx14_the_anonymous_limiter_has_the_listeners_and_options_of_all_keys() -> Result<(), ConfigError>
{
    let events = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&events);
    let day = std::time::Duration::from_secs(24 * 3_600);
    let clients: Keyed<str, RateLimiter> = RateLimiter::builder(Quota::per_day(1))
        .max_pause(day)
        .on_event(move |_| {
            count.fetch_add(1, Relaxed);
        })
        .per_key(10)?;
    assert!(clients.anonymous().allow());
    assert!(!clients.anonymous().allow());
    assert_eq!(events.load(Relaxed), 2);
    assert_eq!(clients.anonymous().snapshot().max_pause, day);
    Ok(())
}

// CX16, KY5
#[test]
fn cx16_a_missing_key_is_recorded_but_not_rejected_in_record_only_mode() -> Result<(), ConfigError>
{
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    let clients: Keyed<str, RateLimiter> = RateLimiter::builder(Quota::per_day(1))
        .on_event(move |event| {
            if !matches!(event.kind, EventKind::Keyless { .. }) {
                log.lock()
                    .push(matches!(event.kind, EventKind::WouldReject(_)));
            }
        })
        .per_key(10)?;
    let by = clients.by(|_: &u8| -> Option<&str> { None }).or_reject();
    assert!(by.pick(&1).is_err());
    clients.set_mode(Mode::RecordOnly);
    for _ in 0..3 {
        assert!(by.pick(&1).is_ok_and(|picked| picked.into_policy().allow()));
    }
    clients.set_mode(Mode::Off);
    assert!(by.pick(&1).is_ok());
    assert_eq!(*events.lock(), [false, true, true, true]);
    assert_eq!(clients.get("any").snapshot().would_reject, 3);
    Ok(())
}

// RL13, KY3: the second key evicts the first one and inherits its debt.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn rl13_two_new_keys_that_share_the_last_entry_are_rejected_together() {
    let quota = Quota::per_second(1).burst(3);
    let clients = Keyed::<u64, _>::limit(4, quota).unwrap();
    let wait = || tokio::time::advance(Duration::from_secs(4));
    for _ in 0..3 {
        for client in 0..7 {
            assert!(clients.allow_n(&client, 2));
        }
        wait().await;
    }
    assert!(clients.allow(&7));
    wait().await;
    assert_eq!(clients.len(), 8, "every entry is used");
    let both = RateLimiter::all_of("both", [clients.get(&8), clients.get(&9)]).unwrap();
    let rejection = both.try_acquire_n(2).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    assert_eq!(rejection.retry_after(), Some(Duration::from_secs(1)));
    // RL4: a call that waits looks again when the shared entry could have the rest.
    let start = crate::time::now();
    let two = || both.acquire().cost(2).max_wait(Duration::from_secs(2));
    let mut waiting = crate::testing::Task::new(two());
    assert!(waiting.run().is_pending());
    assert!(waiting.polls() <= 3, "{}", waiting.polls());
    drop(waiting);
    let rejection = two().await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    let took = crate::time::now().since(start);
    assert!((1_000..2_001).contains(&took.as_millis()), "{took:?}");
    assert!(both.allow_n(1), "one entry has tokens for both");
}
