//! Settings that change live policies.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, io};

use seawall::circuit_breaker::State;
use seawall::registry::{self, Policy};
use seawall::settings::{Applied, File, FileError, Settings};
use seawall::{
    Budget, Bulkhead, CircuitBreaker, ClientStack, ConfigError, Fallback, Hedge, Keyed, Mode,
    Quota, RateLimiter, Retry, ServerStack, Timeout, Trip,
};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::support::{ms, secs};

fn read(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

fn apply(text: &str) -> Applied {
    read(text).apply().unwrap()
}

fn fields(error: &ConfigError) -> Vec<&str> {
    error
        .problems()
        .iter()
        .map(|problem| &*problem.field)
        .collect()
}

#[test]
fn cf3_settings_change_live_policies_by_kind_and_name() {
    let first = read(
        r#"
        timeouts.cf3 = "1s"
        rate_limits.cf3 = "10/s"
        bulkheads.cf3 = 5
        budgets.cf3 = 0.1
        retries.cf3 = 2
        hedges.cf3 = 0.9
        fallbacks.cf3 = { limit = 5 }
        breakers.cf3 = { consecutive_failures = 3 }
        clients.cf3 = { total_timeout = "5s", bulkhead = 9, hedge = 0.9 }
        servers.cf3 = { bulkhead = 9, rate_limit = "5/s" }
        "#,
    );
    let timeout = first.timeout("cf3").unwrap().build().unwrap();
    let limiter = first.rate_limit("cf3").unwrap().build().unwrap();
    let bulkhead = first.bulkhead("cf3").unwrap().build().unwrap();
    let budget = first.budget("cf3").unwrap().build().unwrap();
    let retry = first.retry("cf3").unwrap().build().unwrap();
    let hedge = first.hedge("cf3").unwrap().build().unwrap();
    let fallback = first.fallback("cf3").unwrap().build().unwrap();
    let breaker = first.breaker("cf3").unwrap().build().unwrap();
    let client = first.client("cf3").unwrap().build().unwrap();
    let server = first.server("cf3").unwrap().build().unwrap();
    let host = client.bulkheads().get("a.example");

    let applied = first.apply().unwrap();
    assert_eq!(
        (applied.changed.len(), applied.unchanged.len()),
        (0, 10),
        "{applied}"
    );

    let applied = apply(
        r#"
        timeouts.cf3 = "2s"
        rate_limits.cf3 = { rate = "20/s", mode = "record_only" }
        bulkheads.cf3 = { limit = 6, queue = 3 }
        budgets.cf3 = 0.2
        retries.cf3 = 4
        hedges.cf3 = 0.99
        fallbacks.cf3 = { limit = 6 }
        breakers.cf3 = { consecutive_failures = 4, mode = "off" }
        clients.cf3 = { total_timeout = "6s", bulkhead = 8 }
        servers.cf3 = { bulkhead = 8, timeout = "3s" }
        bulkheads.cf3-typo = 3
        "#,
    );
    assert_eq!(
        (applied.changed.len(), applied.unchanged.len()),
        (10, 0),
        "{applied}"
    );
    assert_eq!(applied.unknown, ["bulkheads.cf3-typo"]);
    assert_eq!(timeout.limit(), secs(2));
    assert_eq!(
        (limiter.quota(), limiter.mode()),
        (Quota::per_second(20), Mode::RecordOnly)
    );
    assert_eq!((bulkhead.limit(), bulkhead.snapshot().queue), (6, Some(3)));
    assert_eq!(budget.snapshot().ratio, 0.2);
    assert_eq!(retry.snapshot().max_attempts, 4);
    assert_eq!(hedge.snapshot().quantile, Some(0.99));
    assert_eq!(fallback.snapshot().limit, 6);
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.rules[0].rule, "4 consecutive failures");
    assert_eq!(snapshot.mode, Mode::Off);
    assert_eq!(client.total_timeout().limit(), secs(6));
    assert_eq!(client.hedge().mode(), Mode::Off);
    assert_eq!(
        (host.limit(), client.bulkheads().get("b.example").limit()),
        (8, 8)
    );
    assert_eq!(
        (server.timeout().limit(), server.bulkhead().limit()),
        (secs(3), 8)
    );
    assert_eq!(server.limiter().mode(), Mode::Off);

    // What a section does not have is the default.
    apply("bulkheads.cf3 = 6\nretries.cf3 = {}\nbreakers.cf3 = {}");
    assert_eq!(bulkhead.snapshot().queue, Some(0));
    assert_eq!(retry.snapshot().max_attempts, 3);
    assert_eq!(
        (breaker.mode(), breaker.snapshot().rules.len()),
        (Mode::Enforce, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn cf3_policies_of_one_name_all_change_and_what_no_section_has_stays() {
    let shared = Budget::builder().ratio(0.0).burst(0).build().unwrap();
    let twin = || Bulkhead::builder(5).name("cf3 twins").build().unwrap();
    let twins = [twin(), twin()];
    let retry = Retry::builder()
        .name("cf3 twins")
        .budget(&shared)
        .build()
        .unwrap();
    let breaker = CircuitBreaker::builder("cf3 twins");
    let breaker = breaker
        .trips([Trip::custom("mine", |_| false)])
        .build()
        .unwrap();
    let applied = apply(
        r#"
        bulkheads."cf3 twins" = 3
        retries."cf3 twins" = 2
        breakers."cf3 twins" = { failures = 9 }
        "#,
    );
    assert_eq!(applied.changed.len(), 3, "{applied}");
    assert_eq!(twins.map(|twin| twin.limit()), [3, 3]);
    let rules = breaker.snapshot().rules;
    let rules: Vec<_> = rules.iter().map(|rule| &*rule.rule).collect();
    assert_eq!(rules, ["9 failures", "mine"]);
    // The budget that was given is still the one that pays, and has nothing.
    let failing = retry.run(|_| async { Err::<(), _>(io::Error::other("it failed")) });
    failing.await.unwrap_err();
    let snapshot = retry.snapshot();
    assert_eq!(
        (snapshot.max_attempts, snapshot.retried, snapshot.suppressed),
        (2, 0, 1)
    );
}

#[test]
fn cf3_nothing_changes_if_one_policy_cannot_follow() {
    let bulkhead = Bulkhead::builder(5).name("cf3 all").build().unwrap();
    let hedge = Hedge::builder()
        .name("cf3 all")
        .window(secs(10))
        .build()
        .unwrap();
    let given = ClientStack::builder("cf3 given").budget(Budget::percent(5));
    let given = given.build().unwrap();
    let limited = ServerStack::builder("cf3 limited", 9).build().unwrap();
    let limited = limited.rate_limit(RateLimiter::per_second(1));
    let few = ClientStack::builder("cf3 few")
        .authorities(50)
        .build()
        .unwrap();
    let text = r#"
        bulkheads."cf3 all" = 6
        hedges."cf3 all" = { window = "20s" }
        clients."cf3 given" = { budgets = 0.2 }
        clients."cf3 few" = { authorities = 60 }
        servers."cf3 limited" = { bulkhead = 8, rate_limit = "9/s" }
    "#;
    let error = read(text).apply().unwrap_err();
    let mut found = fields(&error);
    found.sort_unstable();
    let expected = [
        "clients.cf3 few.authorities",
        "clients.cf3 given.budgets",
        "hedges.cf3 all.window",
        "servers.cf3 limited.rate_limit",
    ];
    assert_eq!(found, expected, "{error}");
    assert_eq!(bulkhead.limit(), 5);
    assert_eq!(limited.bulkhead().limit(), 9);
    // What cannot change stays where a section does not have it.
    let applied = apply(
        r#"
        bulkheads."cf3 all" = 6
        hedges."cf3 all" = { max_extra = 2 }
        clients."cf3 given" = { bulkhead = 3 }
        clients."cf3 few" = { total_timeout = "4s" }
        servers."cf3 limited" = { bulkhead = 8 }
        "#,
    );
    assert_eq!(applied.changed.len(), 5, "{applied}");
    assert_eq!((hedge.snapshot().max_extra, bulkhead.limit()), (2, 6));
    assert_eq!(few.total_timeout().limit(), secs(4));
    assert_eq!(given.bulkheads().anonymous().limit(), 3);
}

#[tokio::test(start_paused = true)]
async fn cf4_a_reload_keeps_tokens_queues_calls_in_flight_and_states() {
    let limiter = RateLimiter::builder(Quota::per_hour(10)).name("cf4");
    let limiter = limiter.build().unwrap();
    let bulkhead = Bulkhead::builder(1).name("cf4").queue(5).max_wait(secs(60));
    let bulkhead = bulkhead.build().unwrap();
    let breaker = CircuitBreaker::builder("cf4").trip_on(Trip::consecutive_failures(3));
    let breaker = breaker.build().unwrap();
    let forced = CircuitBreaker::new("cf4 forced");
    for _ in 0..7 {
        assert!(limiter.allow());
    }
    let permit = bulkhead.try_acquire().unwrap();
    let mut waiter = Box::pin(bulkhead.acquire());
    assert!(futures::poll!(&mut waiter).is_pending());
    for _ in 0..2 {
        breaker.try_acquire().unwrap().failure();
    }
    forced.force_open();
    let applied = apply(
        r#"
        rate_limits.cf4 = { rate = "20/h", burst = 10 }
        bulkheads.cf4 = { limit = 1, queue = 9, max_wait = "60s" }
        breakers.cf4 = { consecutive_failures = 3, open_for = "1s" }
        breakers."cf4 forced" = { probes = 2 }
        "#,
    );
    assert_eq!(applied.changed.len(), 4, "{applied}");
    assert_eq!(limiter.available(), 3);
    let snapshot = bulkhead.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.queued), (1, 1));
    assert_eq!(forced.state(), State::ForcedOpen);
    // The two failures before count.
    breaker.try_acquire().unwrap().failure();
    assert_eq!(breaker.state(), State::Open);
    apply("bulkheads.cf4 = { limit = 2, queue = 9, max_wait = \"60s\" }");
    waiter.await.unwrap().release();
    permit.release();
    apply("breakers.cf4 = { consecutive_failures = 9 }");
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cf8_a_section_of_a_keyed_policy_changes_all_keys_and_keeps_their_state() {
    let limits = RateLimiter::builder(Quota::per_hour(10)).name("cf8");
    let limits = limits
        .per_key_in_tiers(100, [Quota::per_hour(100)], |key: &str| {
            usize::from(key.starts_with("pro"))
        })
        .unwrap();
    let breakers = Keyed::builder(|host: &str| CircuitBreaker::builder(host).build());
    let breakers = breakers.name("cf8").build().unwrap();
    let given = Bulkhead::new(3);
    let bulkheads = Keyed::builder(|host: &str| Bulkhead::builder(10).name(host).build());
    let bulkheads = bulkheads.name("cf8").anonymous(&given).build().unwrap();
    let budgets = Keyed::builder(|_: &str| Budget::builder().build());
    let budgets = budgets.name("cf8").build().unwrap();
    let hedges = Keyed::builder(|_: &str| Hedge::builder().build());
    let hedges = hedges.name("cf8").build().unwrap();
    let alone = Bulkhead::builder(10).name("cf8").build().unwrap();

    for _ in 0..7 {
        assert!(limits.allow("joe") && limits.allow("pro-ann"));
    }
    breakers.get("down").force_open();
    let failing = breakers.get("failing");
    for _ in 0..2 {
        failing.try_acquire().unwrap().failure();
    }
    let busy = bulkheads.get("a");
    let permit = busy.try_acquire().unwrap();
    let (spent, hedge) = (budgets.get("a"), hedges.get("a"));
    let before = spent.snapshot().balance;

    let applied = apply(
        r#"
        keyed_rate_limits.cf8 = { rate = "20/h", burst = 10, tiers = { 1 = "200/h" }, mode = "record_only" }
        keyed_breakers.cf8 = { consecutive_failures = 3, open_for = "9s" }
        keyed_bulkheads.cf8 = 20
        keyed_budgets.cf8 = "30%"
        keyed_hedges.cf8 = { max_extra = 3 }
        "#,
    );
    assert_eq!(applied.changed.len(), 5, "{applied}");
    // Seven tokens are owed as before, of a burst that is as large or larger.
    assert_eq!(limits.get("joe").available(), 3);
    assert_eq!(limits.get("pro-ann").available(), 193);
    assert_eq!(limits.get("pro-new").available(), 200);
    assert_eq!(limits.anonymous().quota(), Quota::per_hour(20).burst(10));
    assert_eq!(limits.mode(), Mode::RecordOnly);
    assert_eq!(breakers.get("down").state(), State::ForcedOpen);
    failing.try_acquire().unwrap().failure();
    assert_eq!(failing.state(), State::Open);
    for host in ["down", "new"] {
        let snapshot = breakers.get(host).snapshot();
        assert_eq!(snapshot.rules[0].rule, "3 consecutive failures");
        assert_eq!(&**breakers.get(host).name(), host);
    }
    assert_eq!(busy.snapshot().in_flight, 1);
    assert_eq!((busy.limit(), bulkheads.get("b").limit()), (20, 20));
    assert_eq!(bulkheads.overflow().limit(), 20);
    // Given from elsewhere, and a single policy of the same name.
    assert_eq!((given.limit(), alone.limit()), (3, 10));
    assert_eq!(spent.snapshot().ratio, 0.3);
    assert_eq!(spent.snapshot().balance, before);
    assert_eq!(budgets.get("b").snapshot().ratio, 0.3);
    assert_eq!(hedge.snapshot().max_extra, 3);
    assert_eq!(hedges.get("b").snapshot().max_extra, 3);
    drop(permit);

    // What a section does not have is the default; one that is the same changes nothing.
    let same = "keyed_bulkheads.cf8 = 20\nkeyed_breakers.cf8 = {}";
    let applied = apply(same);
    assert_eq!(applied.unchanged, ["keyed_bulkheads.cf8"]);
    assert_eq!(breakers.get("down").snapshot().rules.len(), 2);
    // The lever for all keys holds until the next section.
    bulkheads.set_mode(Mode::Off);
    assert_eq!(bulkheads.get("c").mode(), Mode::Off);
    apply(same);
    assert_eq!(
        (bulkheads.get("a").mode(), bulkheads.get("d").mode()),
        (Mode::Enforce, Mode::Enforce)
    );
}

#[test]
fn cf8_nothing_changes_if_a_keyed_policy_cannot_follow() {
    let limits = RateLimiter::builder(Quota::per_second(10)).name("cf8 tiers");
    let limits = limits
        .per_key_in_tiers(100, [Quota::per_second(100)], |_: &str| 0)
        .unwrap();
    let hedges = Keyed::builder(|_: &str| Hedge::builder().build());
    let hedges = hedges.name("cf8 tiers").build().unwrap();
    let both = r#"
        keyed_rate_limits."cf8 tiers" = { rate = "20/s" }
        keyed_hedges."cf8 tiers" = { window = "20s" }
        keyed_bulkheads."cf8 tiers" = 5
    "#;
    let error = read(both).apply().unwrap_err();
    let mut found = fields(&error);
    found.sort_unstable();
    let expected = [
        "keyed_hedges.cf8 tiers.window",
        "keyed_rate_limits.cf8 tiers.tiers",
    ];
    assert_eq!(found, expected, "{error}");
    assert_eq!(limits.quota(0), Some(Quota::per_second(10)));
    let text = r#"keyed_rate_limits."cf8 tiers" = { rate = "20/s", tiers.1 = "2/s" }"#;
    let applied = apply(text);
    assert_eq!(applied.changed.len(), 1, "{applied}");
    assert_eq!(
        (limits.quota(0), limits.quota(1)),
        (Some(Quota::per_second(20)), Some(Quota::per_second(2)))
    );
    assert_eq!(apply(r#"keyed_bulkheads."cf8 tiers" = 5"#).unknown.len(), 1);
    let _ = hedges;
}

// A limit for all keys together is no part of the section.
#[test]
fn cf8_joined_limits_and_the_parts_of_a_stack_stay() {
    let in_all = RateLimiter::builder(Quota::per_hour(50)).name("cf8 all");
    let in_all = in_all.build().unwrap();
    let limits = RateLimiter::builder(Quota::per_hour(10)).name("cf8 joined");
    let limits: Keyed<str, _> = limits.per_key(100).unwrap();
    let both = limits.with_limits([in_all.clone()]).unwrap();
    assert!(both.allow("joe"));
    apply(r#"keyed_rate_limits."cf8 joined" = "20/h""#);
    assert_eq!(limits.quota(0), Some(Quota::per_hour(20)));
    assert_eq!((both.get("joe").available(), in_all.available()), (19, 49));

    // The stack's own section wins where it changes, also for new authorities.
    let stack = ClientStack::builder("cf8 parts").build().unwrap();
    let limit_of = |host| stack.bulkheads().get(host).limit();
    let mode_of = |host| stack.bulkheads().get(host).mode();
    let rule_of = |host| stack.breakers().get(host).snapshot().rules[0].rule.clone();
    apply(
        r#"
        keyed_bulkheads."cf8 parts.bulkhead" = { limit = 7, mode = "record_only" }
        keyed_breakers."cf8 parts.breaker" = { consecutive_failures = 3 }
        "#,
    );
    assert_eq!((limit_of("a.example"), limit_of("b.example")), (7, 7));
    assert_eq!(mode_of("b.example"), Mode::RecordOnly);
    assert_eq!(rule_of("a.example"), "3 consecutive failures");
    // The breakers get new times, and keep their section.
    apply(r#"clients."cf8 parts" = { bulkhead = 9, attempt_timeout = "2s" }"#);
    assert_eq!((limit_of("a.example"), limit_of("c.example")), (9, 9));
    let modes = (mode_of("a.example"), mode_of("c.example"));
    assert_eq!(modes, (Mode::Enforce, Mode::Enforce));
    for host in ["a.example", "c.example"] {
        assert_eq!(rule_of(host), "3 consecutive failures", "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cf4_a_reload_under_load_loses_no_call() {
    let settings = |round: u64| {
        let (limit, attempts, timeout) = (50 + round % 7, 2 + round % 3, 5 + round % 4);
        read(&format!(
            r#"
            [clients."cf4 load"]
            total_timeout = "{timeout}s"
            attempt_timeout = "2s"
            retry = {{ max_attempts = {attempts} }}
            bulkhead = {{ limit = {limit}, queue = {limit} }}
            rate_limit = "unlimited"
            [servers."cf4 load"]
            bulkhead = {limit}
            "#
        ))
    };
    let client = settings(0).client("cf4 load").unwrap().build().unwrap();
    let server = settings(0).server("cf4 load").unwrap().build().unwrap();
    let served = std::sync::Arc::new(AtomicU64::new(0));
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let count = served.clone();
    let inner = service_fn(move |n: u32| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            Ok::<_, BoxError>(n)
        }
    });
    let service = client.layer(server.layer(inner));
    let callers = (0..8).map(|_| {
        let (service, over) = (service.clone(), over.clone());
        tokio::spawn(async move {
            let mut calls = 0_u64;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(service.clone().oneshot(7).await.unwrap(), 7);
                calls += 1;
            }
            calls
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut before = 0;
    for round in 1..=200 {
        let applied = settings(round).apply().unwrap();
        assert_eq!(applied.changed.len(), 2, "{applied}");
        // The callers have made calls between two reloads.
        while served.load(Ordering::Relaxed) == before {
            tokio::task::yield_now().await;
        }
        before = served.load(Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    assert_eq!(calls, served.load(Ordering::Relaxed));
    let host = client.bulkheads().entries();
    assert!(
        host.iter()
            .all(|(_, bulkhead)| bulkhead.snapshot().in_flight == 0)
    );
    assert_eq!(server.bulkhead().snapshot().in_flight, 0);
}

#[test]
fn cf8_a_reload_under_load_reaches_every_key_and_loses_no_permit() {
    let bulkheads = Keyed::<str, Bulkhead>::builder(|_| Bulkhead::builder(50).build());
    let bulkheads = bulkheads.name("cf8 load").capacity(200).build().unwrap();
    let limit = |limit: u64| {
        let applied = apply(&format!("keyed_bulkheads.\"cf8 load\" = {limit}"));
        assert_eq!(applied.changed.len(), 1, "{applied}");
    };
    let (served, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for caller in 0..4_u64 {
            let (bulkheads, served, over) = (&bulkheads, &served, &over);
            scope.spawn(move || {
                for call in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    // Every other call has a new key.
                    let shared = call % 2 == 0;
                    let key = if shared { call % 16 } else { call * 4 + caller };
                    let bulkhead = bulkheads.get(&*key.to_string());
                    let permit = bulkhead.try_acquire().unwrap();
                    assert!((50..57).contains(&bulkhead.limit()));
                    permit.release();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut before = 0;
        for round in 1..=50 {
            limit(50 + round % 7);
            while served.load(Ordering::Relaxed) == before {
                std::thread::yield_now();
            }
            before = served.load(Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
    });
    // The last one was 50 + 50 % 7.
    let entries = bulkheads.entries();
    assert!(entries.len() > 16);
    for (key, bulkhead) in entries {
        assert_eq!(
            (bulkhead.limit(), bulkhead.snapshot().in_flight),
            (51, 0),
            "{key}"
        );
    }
}

/// A file that is removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("seawall-{name}-{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn cf5_a_bad_file_keeps_the_last_good_settings_and_is_reported_once() {
    let disk = Temp::new("cf5", "bulkheads.cf5 = 5\nbulkheads.cf5-other = 5");
    let mut file = File::open(&disk.0, |text| toml::from_str(text)).unwrap();
    let build = |name| file.settings().bulkhead(name).unwrap().build().unwrap();
    let (bulkhead, other) = (build("cf5"), build("cf5-other"));
    assert_eq!(file.check().unwrap(), None);

    disk.write("bulkheads.cf5 = 6\nbulkheads.cf5-other = 5");
    other.set_limit(9).unwrap();
    let applied = file.check().unwrap().unwrap();
    assert_eq!(applied.changed, ["bulkheads.cf5"]);
    assert_eq!(applied.unchanged, ["bulkheads.cf5-other"]);
    // Set by hand, and its section has not changed.
    assert_eq!((bulkhead.limit(), other.limit()), (6, 9));

    disk.write("bulkheads.cf5 = 7\nbulkheads.cf5-other = \"many\"");
    let error = file.check().unwrap_err().to_string();
    assert!(
        error.contains("invalid `bulkheads.cf5-other`: \"many\""),
        "{error}"
    );
    assert_eq!(file.check().unwrap(), None);
    assert!(matches!(file.rejected(), Some(FileError::Parse(_))));
    assert_eq!(bulkhead.limit(), 6);
    assert_eq!(
        file.settings()
            .bulkhead("cf5")
            .unwrap()
            .build()
            .unwrap()
            .limit(),
        6
    );

    // No TOML at all, and no file at all.
    disk.write("bulkheads.cf5 = ");
    assert!(file.check().is_err());
    fs::remove_file(&disk.0).unwrap();
    assert!(matches!(file.check(), Err(FileError::Read(_))));
    assert_eq!(file.check().unwrap(), None);
    // The same bad text comes back after it: still bad.
    disk.write("bulkheads.cf5 = ");
    assert!(matches!(file.check(), Err(FileError::Parse(_))));

    disk.write("bulkheads.cf5 = 8\nbulkheads.cf5-other = 5");
    let applied = file.check().unwrap().unwrap();
    assert_eq!(applied.changed, ["bulkheads.cf5"]);
    assert_eq!((bulkhead.limit(), other.limit()), (8, 9));
    assert!(file.rejected().is_none());
    assert!(File::open("/no/such/file", |text| toml::from_str(text)).is_err());
}

#[test]
fn cf5_a_file_that_a_live_policy_cannot_follow_is_bad() {
    let disk = Temp::new(
        "cf5-live",
        "clients.cf5-live = { authorities = 50 }\nbulkheads.cf5-live = 5",
    );
    let mut file = File::open(&disk.0, |text| toml::from_str(text)).unwrap();
    let stack = file.settings().client("cf5-live").unwrap().build().unwrap();
    let bulkhead = file
        .settings()
        .bulkhead("cf5-live")
        .unwrap()
        .build()
        .unwrap();
    disk.write("clients.cf5-live = { authorities = 60 }\nbulkheads.cf5-live = 6");
    let error = file.check().unwrap_err();
    assert!(
        matches!(error, FileError::Apply(error) if fields(error) == ["clients.cf5-live.authorities"])
    );
    assert_eq!(bulkhead.limit(), 5);
    disk.write("clients.cf5-live = { authorities = 50 }\nbulkheads.cf5-live = 6");
    let applied = file.check().unwrap().unwrap();
    assert_eq!(applied.changed, ["bulkheads.cf5-live"]);
    assert_eq!(stack.verdict().attempts, 3);
}

/// The one policy of this kind and name.
macro_rules! named {
    ($kind:ident, $name:expr) => {{
        let found = registry::find($name).into_iter();
        let mut found = found.filter_map(|policy| match policy {
            Policy::$kind(policy) => Some(policy),
            _ => None,
        });
        let policy = found.next().expect("there is one");
        assert!(found.next().is_none());
        policy
    }};
}

#[test]
fn cf7_every_lever_works_by_the_name_in_the_registry() {
    let breaker = CircuitBreaker::new("cf7");
    let limiter = RateLimiter::builder(Quota::per_second(9))
        .name("cf7")
        .build()
        .unwrap();
    let bulkhead = Bulkhead::builder(9).name("cf7").build().unwrap();
    let timeout = Timeout::builder(secs(9)).name("cf7").build().unwrap();
    let retry = Retry::builder().name("cf7").build().unwrap();
    let hedge = Hedge::builder().name("cf7").build().unwrap();
    let budget = Budget::builder().name("cf7").build().unwrap();
    let fallback = Fallback::builder().name("cf7").build().unwrap();

    named!(CircuitBreaker, "cf7").force_open();
    assert!(breaker.try_acquire().is_err());
    named!(CircuitBreaker, "cf7").release();
    breaker.force_open();
    named!(CircuitBreaker, "cf7").reset();
    assert_eq!(breaker.state(), State::Closed);
    named!(RateLimiter, "cf7")
        .set_quota(Quota::per_second(0))
        .unwrap();
    assert!(!limiter.allow());
    named!(RateLimiter, "cf7")
        .set_quota(Quota::per_second(3))
        .unwrap();
    assert_eq!(limiter.quota(), Quota::per_second(3));
    named!(RateLimiter, "cf7").pause_for(secs(9));
    assert!(limiter.snapshot().paused.is_some());
    named!(RateLimiter, "cf7").resume();
    assert!(limiter.snapshot().paused.is_none());
    named!(Bulkhead, "cf7").set_limit(0).unwrap();
    assert!(bulkhead.try_acquire().is_err());
    named!(Timeout, "cf7").set_limit(secs(2)).unwrap();
    assert_eq!(timeout.limit(), secs(2));
    named!(Timeout, "cf7")
        .change(|now| now.limit(secs(3)))
        .unwrap();
    assert_eq!(timeout.limit(), secs(3));
    assert!(
        timeout
            .change(|now| now.limit(secs(0)).mode(Mode::Off))
            .is_err()
    );
    assert_eq!((timeout.limit(), timeout.mode()), (secs(3), Mode::Enforce));
    named!(Retry, "cf7").set_max_attempts(1).unwrap();
    assert_eq!(retry.snapshot().max_attempts, 1);
    assert!(retry.set_max_attempts(0).is_err());
    named!(Hedge, "cf7").set_delay(ms(7));
    assert_eq!(hedge.delay(), Some(ms(7)));
    named!(Hedge, "cf7").set_quantile(0.9).unwrap();
    named!(Budget, "cf7").set_ratio(0.25).unwrap();
    assert_eq!(budget.snapshot().ratio, 0.25);
    named!(Fallback, "cf7").change(|now| now.limit(3)).unwrap();
    assert_eq!(fallback.snapshot().limit, 3);

    for mode in [Mode::Off, Mode::RecordOnly, Mode::Enforce] {
        for policy in registry::find("cf7") {
            policy.set_mode(mode);
        }
        let modes = [
            breaker.mode(),
            limiter.mode(),
            bulkhead.mode(),
            timeout.mode(),
            retry.mode(),
            hedge.mode(),
            budget.mode(),
            fallback.mode(),
        ];
        assert_eq!(modes, [mode; 8]);
    }
    // The form that takes everything, also the mode.
    named!(CircuitBreaker, "cf7")
        .change(|now| now.probes(3).mode(Mode::Off))
        .unwrap();
    assert_eq!(breaker.mode(), Mode::Off);
}
