use std::net::{IpAddr, Ipv4Addr};

#[cfg(feature = "tokio")]
use crate::Hedge;
use crate::event::EventKind;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering::Relaxed};
use crate::{Budget, Bulkhead, CircuitBreaker, ConfigError, Keyed, Mode, Quota, RateLimiter};

fn breakers(capacity: usize) -> Keyed<str, CircuitBreaker> {
    Keyed::new(capacity, |host: &str| CircuitBreaker::builder(host).build()).unwrap()
}

// KY1, KY2
#[test]
fn ky1_each_kind_of_policy_comes_keyed_by_one_interface() -> Result<(), ConfigError> {
    let breakers = breakers(100);
    breakers.get("a").force_open();
    assert!(breakers.get("a").try_acquire().is_err());
    assert!(breakers.get("b").try_acquire().is_ok());
    assert_eq!(breakers.get("a").name().as_str(), "a");
    assert_eq!(breakers.len(), 2);

    let bulkheads = Keyed::new(100, |_: &u64| Ok(Bulkhead::new(1)))?;
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

#[test]
fn ky3_entries_in_use_are_not_evicted_and_the_new_key_overflows() -> Result<(), ConfigError> {
    let events = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&events);
    let overflow = CircuitBreaker::new("overflow");
    let breakers = Keyed::builder(|host: &str| CircuitBreaker::builder(host).build())
        .name("per host")
        .capacity(2)
        .overflow(&overflow)
        .on_event(move |event| {
            assert_eq!(event.policy.as_str(), "per host");
            count.fetch_add(matches!(event.kind, EventKind::Overflow).into(), Relaxed);
        })
        .build()?;
    breakers.get("a").force_open();
    breakers.get("b").force_open();
    assert_eq!(breakers.get("c").name().as_str(), "overflow");
    assert_eq!(breakers.overflow().name().as_str(), "overflow");
    assert_eq!((breakers.len(), breakers.overflowed()), (2, 1));
    assert_eq!(events.load(Relaxed), 1);
    assert!(
        breakers.get("a").try_acquire().is_err(),
        "evicted while open"
    );

    breakers.get("b").release();
    assert_eq!(breakers.get("c").name().as_str(), "c");
    assert!(breakers.find("b").is_none());
    assert!(
        breakers.get("a").try_acquire().is_err(),
        "evicted while open"
    );

    let bulkheads = Keyed::new(1, |_: &str| Ok(Bulkhead::new(1)))?;
    let permit = bulkheads.get("a").try_acquire_owned().unwrap();
    let _ = bulkheads.get("b");
    assert!(
        bulkheads.get("a").try_acquire().is_err(),
        "evicted while in use"
    );
    drop(permit);
    let _ = bulkheads.get("b");
    assert!(bulkheads.find("a").is_none());
    Ok(())
}

#[test]
fn ky3_an_entry_is_not_evicted_while_a_handle_to_it_is_held() {
    let breakers = breakers(1);
    let held = breakers.get("a");
    let _ = breakers.get("b");
    held.force_open();
    assert!(breakers.get("a").try_acquire().is_err());
}

#[test]
fn ky3_a_key_whose_policy_cannot_be_constructed_is_served_by_the_overflow_policy()
-> Result<(), ConfigError> {
    let fields = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&fields);
    let ratio = |key: &u32| f64::from(*key);
    let budgets = Keyed::builder(move |key: &u32| Budget::builder().ratio(ratio(key)).build())
        .on_event(move |event| {
            if let EventKind::ConstructionFailed(error) = event.kind {
                log.lock().push(error.problems()[0].field.clone());
            }
        })
        .overflow(Budget::builder().name("overflow").build()?)
        .build()?;
    assert_eq!(budgets.get(&2).name().as_str(), "overflow");
    assert_eq!(*fields.lock(), ["ratio"]);
    assert!(budgets.is_empty());
    Ok(())
}

#[test]
fn ky4_debug_shows_no_key() -> Result<(), ConfigError> {
    let clients = Keyed::<str, _>::limit(10, Quota::per_second(1))?;
    let hosts = Keyed::new(10, |_: &str| Ok(Bulkhead::new(1)))?;
    let _ = (clients.allow("s3cret"), hosts.get("s3cret"));
    let by = hosts.by(|request: &String| Some(request.as_str()));
    let shown = format!("{clients:?} {hosts:?} {by:?} {:?}", clients.get("s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
    Ok(())
}

#[test]
fn ky5_the_policy_may_depend_on_the_key() -> Result<(), ConfigError> {
    let plans = [Quota::per_second(1), Quota::per_second(3)];
    let clients = Keyed::tiers(100, plans, |key: &str| usize::from(key.starts_with("pro")))?;
    assert_eq!(clients.get("free").available(), 1);
    assert_eq!(clients.get("pro").available(), 3);
    assert_eq!(clients.quota(1), Some(plans[1]));
    assert_eq!(clients.quota(2), None);
    let bulkheads = Keyed::new(100, |key: &str| Ok(Bulkhead::new(key.len() as u32)))?;
    assert_eq!(bulkheads.get("four").limit(), 4);
    Ok(())
}

#[test]
fn cx15_an_invalid_configuration_is_rejected_by_field() {
    let fields = |error: ConfigError| -> Vec<String> {
        let problems = error.problems().iter();
        problems.map(|problem| problem.field.clone()).collect()
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

#[test]
fn cx1_clones_have_the_same_entries_and_an_evicted_one_is_constructed_again()
-> Result<(), ConfigError> {
    let hosts = Keyed::new(10, |host: &str| Ok(Bulkhead::new(host.len() as u32)))?;
    let clone = hosts.clone();
    hosts.get("a").set_limit(7).unwrap();
    assert_eq!(clone.get("a").limit(), 7);
    let _ = hosts.get("bb");
    let mut all: Vec<_> = hosts
        .entries()
        .into_iter()
        .map(|(key, policy)| (key, policy.limit()))
        .collect();
    all.sort();
    assert_eq!(all, [("a".to_owned(), 7), ("bb".to_owned(), 2)]);
    assert_eq!(hosts.evict("a").map(|policy| policy.limit()), Some(7));
    assert!(hosts.find("a").is_none());
    assert_eq!(hosts.get("a").limit(), 1);
    Ok(())
}

#[test]
fn cx19_a_change_reaches_a_policy_that_is_being_constructed() -> Result<(), ConfigError> {
    type Bulkheads = Keyed<str, Bulkhead>;
    let limit = Arc::new(AtomicU64::new(1));
    let keyed = Arc::new(crate::sync::OnceLock::<Bulkheads>::new());
    let (limit_now, during) = (Arc::clone(&limit), Arc::clone(&keyed));
    let bulkheads = Keyed::new(10, move |host: &str| {
        let bulkhead = Bulkhead::new(limit_now.load(Relaxed) as u32);
        if host == "new" && limit_now.swap(2, Relaxed) == 1 {
            let keyed = during.get().expect("it is set below");
            keyed.change_all(|bulkhead| bulkhead.set_limit(2).unwrap());
        }
        Ok(bulkhead)
    })?;
    let _ = keyed.set(bulkheads.clone());
    assert_eq!(bulkheads.get("old").limit(), 1);
    assert_eq!(bulkheads.get("new").limit(), 2);
    assert_eq!(bulkheads.get("old").limit(), 2);
    assert_eq!(bulkheads.anonymous().limit(), 2);
    assert_eq!(bulkheads.overflow().limit(), 2);
    assert_eq!(bulkheads.len(), 2);
    Ok(())
}

// KY5
#[test]
fn ky5_calls_without_a_key_are_counted_and_emitted() {
    use crate::event::EventKind;
    use crate::rate_limit::{Quota, RateLimiter};
    use crate::sync::{Arc, Mutex};

    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let keyed: super::Keyed<str, RateLimiter> = RateLimiter::builder(Quota::per_day(1))
        .on_event(move |event| {
            if let EventKind::Keyless { first } = event.kind {
                log.lock().push(first);
            }
        })
        .per_key(10)
        .unwrap();
    let by = || keyed.by(|request: &Option<String>| request.as_deref());
    assert!(by().pick_key(Some("a")).is_ok());
    assert_eq!(keyed.keyless(), 0);
    assert!(by().pick_key(None).is_ok());
    assert!(by().or_skip().pick_key(None).is_ok());
    assert!(by().or_reject().pick_key(None).is_err());
    assert_eq!(keyed.keyless(), 3);
    assert_eq!(*seen.lock(), [true, false, false]);
}

#[test]
fn ky1_make_may_return_clones_of_one_handle_and_its_mode_stays() -> Result<(), ConfigError> {
    let breaker = CircuitBreaker::new("shared");
    let shared = breaker.clone();
    Keyed::new(10, move |_: &str| Ok(shared.clone()))?;
    assert_eq!(breaker.mode(), Mode::Enforce);

    let bulkhead = Bulkhead::new(1);
    let shared = bulkhead.clone();
    let bulkheads = Keyed::new(10, move |_: &str| Ok(shared.clone()))?;
    assert_eq!(bulkhead.mode(), Mode::Enforce);

    let budget = Budget::builder().build()?;
    let shared = budget.clone();
    Keyed::new(10, move |_: &str| Ok(shared.clone()))?;
    assert_eq!(budget.mode(), Mode::Enforce);

    #[cfg(feature = "tokio")]
    {
        let hedge = Hedge::builder().build()?;
        let shared = hedge.clone();
        Keyed::new(10, move |_: &str| Ok(shared.clone()))?;
        assert_eq!(hedge.mode(), Mode::Enforce);
    }

    // A request that skips the policy is admitted while the shared one is full.
    let _permit = bulkhead.try_acquire().unwrap();
    let by = bulkheads
        .by(|request: &Option<&'static str>| *request)
        .or_skip();
    let skipped = by.pick_key(None).unwrap().into_policy();
    assert!(skipped.try_acquire().is_ok());
    assert!(bulkheads.get("a").try_acquire().is_err());
    Ok(())
}

// OB3
#[test]
fn ob3_events_carry_the_key_only_where_keys_are_shown() -> Result<(), ConfigError> {
    for shows in [false, true] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        let make = |host: &str| CircuitBreaker::builder(host.len().to_string()).build();
        let builder = Keyed::<str, CircuitBreaker>::builder(make);
        let keyed = match shows {
            true => builder.show_keys().build()?,
            false => builder.build()?,
        };
        let _subscription = keyed.on_event(move |event| {
            to.lock().push(event.key.map(str::to_owned));
        });
        keyed.get("a.example").force_open();
        keyed.anonymous().force_open();
        let key = shows.then(|| "a.example".to_owned());
        assert_eq!(*seen.lock(), [key, None]);
    }
    Ok(())
}
