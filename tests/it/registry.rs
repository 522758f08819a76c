//! The registry: what it lists, finds, steers and says of the health of the process.
//!
//! Other tests make policies at the same time, so that each looks only at names of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall::event::EventKind;
use seawall::registry::{self, Policy, PolicyKind, State, Status};
use seawall::{
    Backoff, Budget, Bulkhead, CircuitBreaker, ClientStack, Fallback, Hedge, Keyed, Mode, Quota,
    RateLimiter, Retry, ServerStack, Timeout, circuit_breaker,
};

use crate::support::{ms, secs};

/// The names and kinds of the policies whose names start with `prefix`.
fn listed(prefix: &str) -> Vec<(String, &'static str, bool)> {
    let policies = registry::policies().into_iter();
    policies
        .filter(|policy| policy.name().starts_with(prefix))
        .map(|policy| {
            (
                policy.name().to_string(),
                policy.kind().label(),
                policy.is_keyed(),
            )
        })
        .collect()
}

fn one(name: &str) -> Policy {
    let mut found = registry::find(name);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn ob3_every_kind_of_policy_is_listed_from_its_build_to_the_drop_of_its_last_handle() {
    let name = |kind: &str| format!("every {kind}");
    let budget = Budget::builder().name(name("budget")).build().unwrap();
    let all = (
        Timeout::builder(secs(1)).name(name("timeout")).build(),
        RateLimiter::builder(Quota::per_second(1))
            .name(name("limiter"))
            .build(),
        CircuitBreaker::builder(name("breaker")).build(),
        Bulkhead::builder(1).name(name("bulkhead")).build(),
        Retry::builder().name(name("retry")).budget(&budget).build(),
        Hedge::builder().name(name("hedge")).budget(&budget).build(),
        Fallback::builder().name(name("fallback")).build(),
    );
    let kinds = [
        ("budget", "budget"),
        ("timeout", "timeout"),
        ("limiter", "rate_limit"),
        ("breaker", "circuit_breaker"),
        ("bulkhead", "bulkhead"),
        ("retry", "retry"),
        ("hedge", "hedge"),
        ("fallback", "fallback"),
    ];
    assert_eq!(
        listed("every "),
        kinds.map(|(of, kind)| (name(of), kind, false))
    );
    for (of, kind) in kinds {
        let policy = one(&name(of));
        policy.set_mode(Mode::RecordOnly);
        let snapshot = policy.snapshot();
        let seen = (snapshot.kind.label(), snapshot.mode, &*snapshot.name);
        assert_eq!(seen, (kind, Mode::RecordOnly, &*name(of)));
    }
    assert_eq!(all.3.as_ref().unwrap().mode(), Mode::RecordOnly);
    let clone = all.1.clone();
    drop((all, budget));
    assert_eq!(listed("every "), [(name("limiter"), "rate_limit", false)]);
    drop(clone);
    assert_eq!(listed("every "), []);
}

#[test]
fn ob3_two_policies_of_one_name_are_two_entries_whose_handles_are_the_policies() {
    let first = CircuitBreaker::new("two of one name");
    let second = Bulkhead::builder(7)
        .name("two of one name")
        .build()
        .unwrap();
    let found = registry::find("two of one name");
    let [Policy::CircuitBreaker(breaker), Policy::Bulkhead(bulkhead)] = &*found else {
        panic!("{found:?}");
    };
    breaker.force_open();
    bulkhead.set_limit(8).unwrap();
    assert_eq!(
        (first.state(), second.limit()),
        (circuit_breaker::State::ForcedOpen, 8)
    );
}

#[test]
fn ob3_the_parts_of_a_stack_are_found_under_its_name() {
    let client = ClientStack::new("listed client");
    let names = |kinds: &[(&str, &'static str, bool)], of: &str| {
        let named = kinds
            .iter()
            .map(|(part, kind, keyed)| (format!("{of}.{part}"), *kind, *keyed));
        named.collect::<Vec<_>>()
    };
    let mut found = listed("listed client");
    found.sort();
    let parts = [
        ("attempt_timeout", "timeout", false),
        ("breaker", "circuit_breaker", true),
        ("budget", "budget", true),
        ("bulkhead", "bulkhead", true),
        ("hedge", "hedge", false),
        ("rate_limit", "rate_limit", false),
        ("retry", "retry", false),
        ("total_timeout", "timeout", false),
    ];
    assert_eq!(found, names(&parts, "listed client"));
    assert_eq!(one("listed client.hedge").mode(), Mode::Off);
    drop(client);
    let server = ServerStack::new("listed server", 9);
    let mut found = listed("listed ");
    found.sort();
    let parts = [
        ("bulkhead", "bulkhead", false),
        ("rate_limit", "rate_limit", false),
        ("timeout", "timeout", false),
    ];
    assert_eq!(found, names(&parts, "listed server"));
    drop(server);
}

#[test]
fn ob3_a_keyed_policy_is_one_entry_with_the_states_of_its_breakers() {
    let make = |host: &str| CircuitBreaker::builder(format!("host {host}")).build();
    let per_host = Keyed::<str, CircuitBreaker>::builder(make)
        .name("one entry")
        .capacity(50);
    let per_host = per_host.build().unwrap();
    for host in 0..20 {
        per_host.get(&format!("{host}")).force_open();
    }
    per_host.get("healthy").try_acquire().unwrap().success();
    assert_eq!(
        listed("one entry"),
        [("one entry".to_owned(), "circuit_breaker", true)]
    );
    assert_eq!(listed("host "), []);
    let State::Keyed(snapshot) = one("one entry").snapshot().state else {
        panic!("it is keyed");
    };
    let states = snapshot.states.unwrap();
    // The anonymous and the overflow breaker have had no call.
    assert_eq!(
        (states.forced_open, states.closed, snapshot.keys),
        (20, 1, 21)
    );
    assert_eq!((snapshot.capacity, snapshot.not_closed.len()), (50, 10));
    let named = &snapshot.not_closed[0];
    assert_eq!(
        &*named.name,
        format!("host {}", named.key.as_ref().unwrap())
    );

    let Policy::Keyed(keyed) = one("one entry") else {
        panic!("it is keyed");
    };
    let Some(Policy::CircuitBreaker(breaker)) = keyed.policy_of("7") else {
        panic!("it has an entry");
    };
    breaker.reset();
    assert!(per_host.get("7").try_acquire().is_ok());
    assert!(keyed.policy_of("unknown").is_none());
    assert!(keyed.typed::<str, CircuitBreaker>().is_some());
    assert!(keyed.typed::<u32, CircuitBreaker>().is_none());
    drop((keyed, breaker));
    drop(per_host);
    assert_eq!(listed("one entry"), []);
}

#[test]
fn ob3_the_mode_of_a_keyed_policy_is_that_of_existing_and_new_keys() {
    let make = |_: &u32| Bulkhead::builder(1).build();
    let keyed = Keyed::builder(make).name("modes of keys").build().unwrap();
    let existing = keyed.get(&1);
    one("modes of keys").set_mode(Mode::Off);
    let modes = [
        existing.mode(),
        keyed.get(&2).mode(),
        keyed.anonymous().mode(),
    ];
    assert_eq!(modes, [Mode::Off; 3]);
    assert_eq!(
        (keyed.overflow().mode(), keyed.mode()),
        (Mode::Off, Mode::Off)
    );

    let limits = RateLimiter::builder(Quota::per_second(1)).name("modes of limits");
    let limits = limits.per_key::<u32>(10).unwrap();
    one("modes of limits").set_mode(Mode::RecordOnly);
    assert_eq!(limits.get(&1).mode(), Mode::RecordOnly);
    assert_eq!(one("modes of limits").kind(), PolicyKind::RateLimit);
}

#[test]
fn ob3_a_listener_of_a_keyed_policy_receives_the_events_of_all_keys() {
    let own = Arc::new(AtomicUsize::new(0));
    let to = Arc::clone(&own);
    let make = move |host: &str| {
        let to = Arc::clone(&to);
        let count = move |_: &seawall::Event<'_>| {
            to.fetch_add(1, Ordering::Relaxed);
        };
        CircuitBreaker::builder(host).on_event(count).build()
    };
    let per_host = Keyed::<str, CircuitBreaker>::builder(make)
        .name("events of all")
        .capacity(2);
    let per_host = per_host.build().unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let to = Arc::clone(&seen);
    let subscription = one("events of all").on_event(move |event| {
        let what = match event.kind {
            EventKind::Transition(transition) => transition.to.label(),
            EventKind::Rejected(_) => "rejected",
            EventKind::Overflow => "overflow",
            EventKind::Ended { .. } => "ended",
            _ => "other",
        };
        to.lock().unwrap().push(format!("{} {what}", event.policy));
    });
    per_host.get("a").force_open();
    per_host.get("a").try_acquire().unwrap_err();
    per_host.get("b").try_acquire().unwrap().success();
    per_host.get("b").force_open();
    let _ = per_host.get("c");
    let expected = [
        "a forced_open",
        "a rejected",
        "b ended",
        "b forced_open",
        "events of all overflow",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(own.load(Ordering::Relaxed), 4);
    drop(subscription);
    per_host.get("a").release();
    assert_eq!(seen.lock().unwrap().len(), expected.len());
}

#[test]
fn ob4_health_has_a_reason_for_each_policy_that_admits_nothing() {
    let reasons = || {
        let reasons = registry::health().reasons.into_iter();
        let mine = reasons.filter(|reason| reason.policy.starts_with("shut "));
        mine.map(|reason| reason.to_string()).collect::<Vec<_>>()
    };
    let breaker = CircuitBreaker::new("shut breaker");
    let bulkhead = Bulkhead::builder(1).name("shut bulkhead").build().unwrap();
    let limiter = RateLimiter::builder(Quota::per_second(1)).name("shut limiter");
    let limiter = limiter.build().unwrap();
    let make = |host: &str| CircuitBreaker::builder(format!("shut {host}")).build();
    let keyed = Keyed::<str, CircuitBreaker>::builder(make).build().unwrap();
    assert!(reasons().is_empty());
    breaker.force_open();
    bulkhead.set_limit(0).unwrap();
    limiter.pause_for(secs(30));
    keyed.get("b.example").force_open();
    keyed.get("a.example").force_open();
    assert_eq!(
        reasons(),
        [
            "shut breaker: forced open",
            "shut bulkhead: closed by a limit of 0",
            "shut limiter: paused for another 30 s",
            "shut a.example: forced open",
            "shut b.example: forced open",
        ]
    );
    assert_ne!(registry::health().status, Status::Ready);
    breaker.release();
    bulkhead.set_mode(Mode::RecordOnly);
    limiter.resume();
    keyed.set_mode(Mode::RecordOnly);
    keyed.get("a.example").release();
    assert_eq!(reasons(), ["shut b.example: forced open"]);
}

#[cfg(feature = "serve")]
#[test]
fn ob4_a_server_that_is_degraded_by_the_registry_has_its_reasons() {
    use seawall::serve::Health;

    let health = Health::new().degraded_by_registry();
    let breaker = CircuitBreaker::new("known to the server");
    breaker.force_open();
    let answer = health.answer("/readyz").unwrap();
    assert!(
        answer.body().contains("known to the server: forced open\n"),
        "{answer:?}"
    );
    assert_eq!(answer.status(), 200);
    health.drain();
    assert_eq!(registry::health().status, Status::Draining);
    assert_eq!(health.answer("/readyz").unwrap().status(), 503);
}

#[cfg(feature = "serde")]
#[test]
fn ob3_snapshots_are_values_of_serde_with_seconds_and_labels() {
    let breaker = CircuitBreaker::new("serialised breaker");
    breaker.force_open();
    let snapshot = serde_json::to_value(one("serialised breaker").snapshot()).unwrap();
    assert_eq!(snapshot["kind"], "circuit_breaker");
    assert_eq!(snapshot["mode"], "enforce");
    assert_eq!(snapshot["state"]["state"], "forced_open");
    assert!(snapshot["state"]["in_state"].is_f64(), "{snapshot}");
    let backoff = Backoff::exponential(ms(50)).max(secs(2));
    let retry = Retry::builder()
        .name("serialised retry")
        .backoff(backoff)
        .build()
        .unwrap();
    let timeout = Timeout::builder(ms(1_500))
        .name("serialised timeout")
        .build()
        .unwrap();
    let of = |name: &str| serde_json::to_value(one(name).snapshot().state).unwrap();
    assert_eq!(of("serialised timeout")["limit"], 1.5);
    let text = "exponential from 50ms by 2 up to 2s, full jitter";
    assert_eq!(of("serialised retry")["backoff"], text);
    for policy in registry::policies() {
        serde_json::to_string(&policy.snapshot()).unwrap();
    }
    let health = serde_json::to_value(registry::health()).unwrap();
    assert!(health["status"].is_string(), "{health}");
    drop((retry, timeout));
}
