use std::net::{IpAddr, Ipv4Addr};

#[cfg(feature = "tokio")]
use crate::Hedge;
use crate::event::EventKind;
use crate::sync::{Arc, Mutex};
use crate::{
    Budget, Bulkhead, CircuitBreaker, ConfigError, Keyed, Quota, RateLimiter, RejectionKind,
};

// KY1, KY2
#[test]
fn ky1_each_kind_of_policy_comes_keyed_by_one_interface() -> Result<(), ConfigError> {
    let breakers = Keyed::new(100, |host: &str| CircuitBreaker::builder(host).build())?;
    breakers.get("a").force_open();
    assert!(breakers.get("a").try_acquire().is_err());
    assert!(breakers.get("b").try_acquire().is_ok());
    assert_eq!(breakers.get("a").name().as_str(), "a");
    assert_eq!(breakers.used(), 2);

    let bulkheads = Keyed::new(100, |_: &u64| Bulkhead::new(1))?;
    let held = bulkheads.get(&1);
    let _permit = held.try_acquire().unwrap();
    assert!(bulkheads.get(&1).try_acquire().is_err());
    assert!(bulkheads.get(&2).try_acquire().is_ok());

    let budgets = Keyed::new(100, |_: &(u8, u16)| {
        Budget::builder().burst(1).floor(0).build()
    })?;
    budgets.get(&(1, 1)).withdraw().unwrap().spend();
    assert!(budgets.get(&(1, 1)).withdraw().is_none());
    assert!(budgets.get(&(1, 2)).withdraw().is_some());

    #[cfg(feature = "tokio")]
    {
        let hedges = Keyed::new(100, |_: &[u8]| Hedge::builder().build())?;
        hedges.get(b"x").change(|now| now.max_extra(3))?;
        assert_eq!(hedges.get(b"x").snapshot().max_extra, 3);
        assert_eq!(hedges.get(b"y").snapshot().max_extra, 1);
    }

    let limits: Keyed<IpAddr, RateLimiter> = Keyed::limit(100, Quota::per_second(1))?;
    let (a, b) = (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::BROADCAST.into());
    assert!(limits.allow(&a));
    assert!(!limits.allow(&a));
    assert!(limits.get(&b).allow());
    assert!(!limits.allow(&b));
    Ok(())
}

// KY3: an open breaker and a bulkhead in use keep their places; whoever finds none is served by
// the overflow policy, and that is told.
#[test]
fn ky3_what_may_not_be_forgotten_stays_and_the_rest_overflows() -> Result<(), ConfigError> {
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let overflow = CircuitBreaker::new("overflow");
    let breakers = Keyed::builder(|host: &str| CircuitBreaker::builder(host).build())
        .name("per host")
        .capacity(2)
        .overflow(&overflow)
        .on_event(move |event| {
            assert_eq!(event.policy.as_str(), "per host");
            if matches!(event.kind, EventKind::Overflow) {
                *count.lock() += 1;
            }
        })
        .build()?;
    breakers.get("a").force_open();
    breakers.get("b").force_open();
    assert_eq!(breakers.get("c").name().as_str(), "overflow");
    assert_eq!((breakers.used(), breakers.overflowed()), (2, 1));
    assert_eq!(*told.lock(), 1);
    assert!(
        breakers.get("a").try_acquire().is_err(),
        "forgotten while open"
    );

    breakers.get("b").release();
    assert_eq!(breakers.get("c").name().as_str(), "c");
    assert!(breakers.find("b").is_none());
    assert!(
        breakers.get("a").try_acquire().is_err(),
        "forgotten while open"
    );

    let bulkheads = Keyed::new(1, |_: &str| Bulkhead::new(1))?;
    let permit = bulkheads.get("a").try_acquire_owned().unwrap();
    let _ = bulkheads.get("b");
    assert!(
        bulkheads.get("a").try_acquire().is_err(),
        "forgotten while in use"
    );
    drop(permit);
    let _ = bulkheads.get("b");
    assert!(bulkheads.find("a").is_none());
    Ok(())
}

// KY3: a handle keeps its place, so that it does not come apart from what others are given.
#[test]
fn ky3_a_policy_that_somebody_holds_keeps_its_place() -> Result<(), ConfigError> {
    let breakers = Keyed::new(1, |host: &str| CircuitBreaker::builder(host).build())?;
    let held = breakers.get("a");
    let _ = breakers.get("b");
    held.force_open();
    assert!(breakers.get("a").try_acquire().is_err());
    Ok(())
}

// KY5
#[test]
fn ky5_the_policy_may_depend_on_the_key() -> Result<(), ConfigError> {
    let plans = [Quota::per_second(1), Quota::per_second(3)];
    let clients = Keyed::tiers(100, plans, |key: &str| usize::from(key.starts_with("pro")))?;
    assert_eq!(clients.get("free").available(), 1);
    assert_eq!(clients.get("pro").available(), 3);
    assert_eq!(clients.quota(1), Some(plans[1]));
    assert_eq!(clients.quota(2), None);
    let bulkheads = Keyed::new(100, |key: &str| Bulkhead::new(key.len() as u32))?;
    assert_eq!(bulkheads.get("four").limit(), 4);
    Ok(())
}

// CX15
#[test]
fn cx15_what_makes_no_sense_is_refused_by_field() {
    let fields = |error: ConfigError| -> Vec<String> {
        error
            .problems()
            .iter()
            .map(|problem| problem.field.clone())
            .collect()
    };
    let quota = Quota::per_second(1);
    let of = |capacity| {
        Keyed::<str, _>::limit(capacity, quota)
            .map(drop)
            .unwrap_err()
    };
    assert_eq!(fields(of(0)), ["capacity"]);
    assert_eq!(fields(of(usize::MAX)), ["capacity"]);
    let bad = [quota.burst(0), quota.burst(0)];
    let error = Keyed::tiers(0, bad, |_: &str| 0).unwrap_err();
    assert_eq!(fields(error), ["burst", "burst", "capacity"]);
    let error = Keyed::tiers(1, [], |_: &str| 0).unwrap_err();
    assert_eq!(fields(error), ["tiers"]);
    let error = Keyed::tiers(1, [quota; 16], |_: &str| 0).unwrap_err();
    assert_eq!(fields(error), ["tiers"]);
    let error = Keyed::new(0, |_: &str| Budget::builder().ratio(2.0).build()).unwrap_err();
    assert_eq!(fields(error), ["capacity", "ratio"]);
    let clients = Keyed::<str, _>::limit(1, quota).unwrap();
    assert_eq!(fields(clients.set_quota(1, quota).unwrap_err()), ["tier"]);
    assert_eq!(
        fields(clients.set_quota(0, quota.burst(0)).unwrap_err()),
        ["burst"]
    );
    assert_eq!(
        fields(clients.get("a").set_quota(quota).unwrap_err()),
        ["quota"]
    );
}

// KY3: a policy that cannot be made for one key.
#[test]
fn a_key_whose_policy_cannot_be_made_is_served_by_the_overflow_policy() -> Result<(), ConfigError> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let ratio = |key: &u32| f64::from(*key);
    let budgets = Keyed::builder(move |key: &u32| Budget::builder().ratio(ratio(key)).build())
        .on_event(move |event| {
            if let EventKind::ConstructionFailed(error) = event.kind {
                heard.lock().push(error.problems()[0].field.clone());
            }
        })
        .overflow(Budget::builder().name("overflow").build()?)
        .build()?;
    assert_eq!(budgets.get(&2).name().as_str(), "overflow");
    assert_eq!(*told.lock(), ["ratio"]);
    assert_eq!(budgets.used(), 0);
    Ok(())
}

// KY4
#[test]
fn ky4_no_key_is_in_debug() -> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_second(1))?;
    let hosts = Keyed::new(10, |_: &str| Bulkhead::new(1))?;
    let _ = (clients.allow("s3cret"), hosts.get("s3cret"));
    let by = hosts.by(|request: &String| Some(request.as_str()));
    let shown = format!("{clients:?} {hosts:?} {by:?} {:?}", clients.get("s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
    Ok(())
}

// KY1, RL13
#[test]
fn rl13_a_limit_per_key_and_one_in_all_are_charged_together() -> Result<(), ConfigError> {
    let in_all = RateLimiter::per_second(3);
    let clients = Keyed::<str, _>::limit(10, Quota::per_second(2))?;
    let both = clients.with_limits([in_all.clone()])?;
    assert!(both.allow("a"));
    assert!(both.allow("a"));
    assert!(!both.allow("a"), "the key's own limit");
    assert_eq!(in_all.available(), 1, "a refused call is charged to none");
    assert!(both.allow("b"));
    let rejection = both.try_acquire("b").unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    assert_eq!(rejection.policy(), in_all.name());
    assert_eq!(
        clients.get("b").available(),
        1,
        "a refused call is charged to none"
    );
    assert_eq!(both.get("b").available(), 0);
    Ok(())
}

#[test]
fn a_view_of_one_key_is_that_keys_limit() -> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_second(2))?;
    let (a, again, b) = (clients.get("a"), clients.get("a"), clients.get("b"));
    let reservation = a.reserve_n(2).unwrap();
    assert!(!again.allow());
    assert!(b.allow());
    drop(reservation);
    assert_eq!(again.available(), 2);
    assert!(RateLimiter::all_of("twice", [a.clone(), again]).is_err());
    assert!(RateLimiter::all_of("two keys", [a, b]).is_ok());
    Ok(())
}

// CX1
#[test]
fn forgetting_makes_anew_and_all_shows_everybody() -> Result<(), ConfigError> {
    let hosts = Keyed::new(10, |host: &str| Bulkhead::new(host.len() as u32))?;
    let clone = hosts.clone();
    hosts.get("a").set_limit(7).unwrap();
    assert_eq!(clone.get("a").limit(), 7);
    let _ = hosts.get("bb");
    let mut all: Vec<_> = hosts
        .all()
        .into_iter()
        .map(|(key, policy)| (key, policy.limit()))
        .collect();
    all.sort();
    assert_eq!(all, [("a".to_owned(), 7), ("bb".to_owned(), 2)]);
    assert_eq!(hosts.forget("a").map(|policy| policy.limit()), Some(7));
    assert!(hosts.find("a").is_none());
    assert_eq!(hosts.get("a").limit(), 1);
    Ok(())
}

// RL15: what an upstream said of one key.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn rl15_one_key_is_paused() {
    use std::time::Duration;

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
fn ky3_a_key_in_debt_that_loses_its_place_is_told() {
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let clients = RateLimiter::builder(Quota::per_hour(3))
        .name("per client")
        .on_event(move |event| {
            assert_eq!(event.policy.as_str(), "per client");
            *count.lock() += usize::from(matches!(event.kind, EventKind::Overflow));
        })
        .per_key::<u32>(4)
        .unwrap();
    // Eight have a place and owe one. Whoever takes one of those owes one more, until all that
    // there is of a burst is owed.
    let served = (0..100).filter(|client| clients.allow(client)).count();
    assert_eq!(clients.used(), 8);
    let told = *told.lock();
    assert!(told > 0);
    assert_eq!((served, clients.overflowed()), (8 + told, told as u64));
}

// KY3: as many keys as there are places, all in debt: nearly all keep theirs.
#[test]
fn ky3_as_many_keys_as_places_fit_but_for_one_in_fifty() {
    let clients = Keyed::<u32, _>::limit(10_000, Quota::per_hour(2)).unwrap();
    let served = (0..10_000).filter(|client| clients.allow(client)).count();
    let lost = clients.overflowed();
    assert!(lost < 200, "{lost} lost their place");
    assert!(
        served as u64 >= 10_000 - lost,
        "{served} served, {lost} lost their place"
    );
}

// KY3, RL1: keys that are made up, twenty for each place, give a debtor who keeps coming back no
// fresh burst. As long as they come more slowly than the places together are repaid, they leave
// alone who stays within his quota.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn ky3_made_up_keys_free_no_debtor_and_disturb_nobody() {
    use std::time::Duration;

    let clients = Keyed::<u64, _>::limit(1_000, Quota::per_second(10)).unwrap();
    let (debtor, good) = (1, 2);
    let (mut got, mut served, mut asked) = (0, 0, 0);
    for step in 0..2_000u64 {
        // Ten seconds, with five calls in each by the good one.
        tokio::time::advance(Duration::from_millis(5)).await;
        if step % 40 == 0 {
            asked += 1;
            served += u32::from(clients.allow(&good));
        }
        got += u32::from(clients.allow(&debtor));
        for n in 0..20 {
            let _ = clients.allow(&(1_000 + step * 20 + n));
        }
    }
    assert!(got <= 10 + 100, "{got}");
    assert!(got >= 100, "{got}");
    assert_eq!(served, asked);
    assert!(clients.used() <= 2_000, "{}", clients.used());
}

// RL2, RL3: a slow limit has its whole burst at any instant, and says to the nanosecond when the
// next one comes.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn rl2_a_slow_limit_admits_its_whole_burst_at_once() {
    use std::time::Duration;

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

// RL13: with one token left, the second charge of a call would undo the first, again and again.
#[test]
fn rl13_a_keyed_limit_and_one_of_its_keys_are_the_same_limit_twice() -> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_day(1))?;
    let error = clients.with_limits([clients.get("a")]).unwrap_err();
    assert_eq!(error.problems()[0].allowed, "each limit once");
    Ok(())
}

// RL7, RL13
#[test]
fn rl7_the_quota_of_keys_with_a_limit_in_all_changes_for_all_who_have_none_too()
-> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_day(2))?;
    let both = clients.with_limits([RateLimiter::per_day(100)])?;
    both.set_quota(0, Quota::per_day(5).burst(5))?;
    assert_eq!(both.get("a").available(), 5);
    assert_eq!(both.anonymous().quota().max_burst(), 5);
    Ok(())
}

// CX14: what has name, mode and listeners in common with all keys.
#[test]
fn cx14_who_has_no_key_is_heard_and_paused_as_the_others_are() -> Result<(), ConfigError> {
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let day = std::time::Duration::from_secs(24 * 3_600);
    let clients: Keyed<str, RateLimiter> = RateLimiter::builder(Quota::per_day(1))
        .max_pause(day)
        .on_event(move |_| *count.lock() += 1)
        .per_key(10)?;
    assert!(clients.anonymous().allow());
    assert!(!clients.anonymous().allow());
    assert_eq!(*told.lock(), 2);
    assert_eq!(clients.anonymous().snapshot().max_pause, day);
    Ok(())
}

// CX16, KY5
#[test]
fn cx16_a_limiter_that_only_records_refuses_nobody_for_want_of_a_key() -> Result<(), ConfigError> {
    use crate::keyed::Source;
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let clients: Keyed<str, RateLimiter> = RateLimiter::builder(Quota::per_day(1))
        .on_event(move |event| {
            log.lock()
                .push(matches!(event.kind, EventKind::WouldReject(_)));
        })
        .per_key(10)?;
    let by = clients.by(|_: &u8| -> Option<&str> { None }).or_refuse();
    assert!(by.pick(&1).is_err());
    clients.set_mode(crate::Mode::RecordOnly);
    for _ in 0..3 {
        assert!(by.pick(&1).is_ok_and(|picked| picked.into_policy().allow()));
    }
    clients.set_mode(crate::Mode::Off);
    assert!(by.pick(&1).is_ok());
    assert_eq!(*told.lock(), [false, true, true, true]);
    assert_eq!(clients.get("any").snapshot().would_reject, 3);
    Ok(())
}
