//! What is read, against builders with the same values.

use std::time::Duration;

use super::Settings;
use super::kind::Kind;
use crate::budget::Refill;
use crate::bulkhead::Order;
use crate::circuit_breaker::{OnDrop, Throttled};
use crate::{
    Backoff, Budget, Bulkhead, CircuitBreaker, ClientStack, Fallback, Hedge, Jitter, Mode, Quota,
    RateLimiter, Retry, ServerStack, Timeout, Trip, Window,
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn toml(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

/// The problems, each as `path: value`.
fn problems(text: &str) -> Vec<String> {
    let document = toml::from_str(text).unwrap();
    let error = Settings::new(document).unwrap_err();
    let problems = error.problems().iter();
    problems
        .map(|p| format!("{}: {}", p.field, p.value))
        .collect()
}

#[track_caller]
#[allow(clippy::needless_pass_by_value)] // Builders, which are written in the call.
fn alike<K: Kind>(read: K::Builder, built: K::Builder) {
    assert!(K::is_like(&read, &built));
}

#[test]
fn cf1_every_field_of_every_policy_is_read() {
    let settings = toml(
        r#"
        [timeouts.report]
        limit = "30s"
        mode = "record_only"

        [rate_limits.search]
        rate = "600/min"
        burst = 20
        max_wait = "200ms"
        max_pause = "5m"
        mode = "off"

        [bulkheads.db]
        limit = 20
        queue = 40
        max_wait = "50ms"
        order = "lifo"
        mode = "record_only"

        [budgets.all]
        ratio = "20%"
        burst = 30
        floor = 2
        refill = "calls"
        mode = "record_only"

        [budgets.grpc]
        retry_throttling = { max_tokens = 10, token_ratio = 0.1 }

        [retries.mail]
        max_attempts = 5
        backoff = { shape = "linear", base = "1s", max = "20s", jitter = "equal" }
        max_elapsed = "1m"
        throttled_base = "2s"
        retry_after_cap = "10s"
        nested = true
        mode = "off"

        [hedges.read]
        quantile = "99%"
        min_delay = "5ms"
        min_samples = 50
        window = "10s"
        max_extra = 2
        mode = "record_only"

        [hedges.fixed]
        delay = "20ms"

        [fallbacks.cache]
        limit = 10
        timeout = "200ms"
        rejections = false
        mode = "record_only"

        [breakers.payments]
        consecutive_failures = { count = 5, lasting = "1s", within = "60s" }
        failures = { count = 50, within = "5s" }
        failure_rate = { rate = "50%", window = "10s", buckets = 20, min_calls = 30, confidence_z = 1.64 }
        slow_rate = { rate = 0.8, longer_than = "2s", window = 100, min_calls = 10 }
        open_for = { base = "1s", factor = 1.5, max = "10s", jitter = "none" }
        retry_after_cap = "30s"
        probes = 3
        close_after = 2
        max_probe_time = "5s"
        on_drop = "ignore"
        throttled = "failure"
        fair_time = "100ms"
        ramp = { over = "20s", reopen_at = "30%" }
        mode = "record_only"
        "#,
    );
    alike::<Timeout>(
        settings.timeout("report").unwrap(),
        Timeout::builder(ms(30_000)).mode(Mode::RecordOnly),
    );
    alike::<RateLimiter>(
        settings.rate_limit("search").unwrap(),
        RateLimiter::builder(Quota::per_minute(600).burst(20))
            .max_wait(ms(200))
            .max_pause(ms(300_000))
            .mode(Mode::Off),
    );
    alike::<Bulkhead>(
        settings.bulkhead("db").unwrap(),
        Bulkhead::builder(20)
            .queue(40)
            .max_wait(ms(50))
            .order(Order::Lifo)
            .mode(Mode::RecordOnly),
    );
    alike::<Budget>(
        settings.budget("all").unwrap(),
        Budget::builder()
            .ratio(0.2)
            .burst(30)
            .floor(2)
            .refill(Refill::Calls)
            .mode(Mode::RecordOnly),
    );
    alike::<Budget>(
        settings.budget("grpc").unwrap(),
        Budget::builder().retry_throttling(10, 0.1),
    );
    alike::<Retry>(
        settings.retry("mail").unwrap(),
        Retry::builder()
            .max_attempts(5)
            .backoff(
                Backoff::linear(ms(1_000))
                    .max(ms(20_000))
                    .jitter(Jitter::Equal),
            )
            .max_elapsed(ms(60_000))
            .throttled_base(ms(2_000))
            .retry_after_cap(ms(10_000))
            .nested(true)
            .mode(Mode::Off),
    );
    alike::<Hedge>(
        settings.hedge("read").unwrap(),
        Hedge::builder()
            .quantile(0.99)
            .min_delay(ms(5))
            .min_samples(50)
            .window(ms(10_000))
            .max_extra(2)
            .mode(Mode::RecordOnly),
    );
    alike::<Hedge>(
        settings.hedge("fixed").unwrap(),
        Hedge::builder().delay(ms(20)),
    );
    alike::<Fallback>(
        settings.fallback("cache").unwrap(),
        Fallback::builder()
            .limit(10)
            .timeout(ms(200))
            .rejections(false)
            .mode(Mode::RecordOnly),
    );
    let run = Trip::consecutive_failures(5)
        .lasting(ms(1_000))
        .within(ms(60_000));
    let failing = Trip::failure_rate(0.5)
        .over(Window::time(ms(10_000)).buckets(20))
        .min_calls(30)
        .confidence_z(1.64);
    let slow = Trip::slow_rate(0.8, ms(2_000))
        .over(Window::count(100))
        .min_calls(10);
    alike::<CircuitBreaker>(
        settings.breaker("payments").unwrap(),
        CircuitBreaker::builder("payments")
            .trips([run, Trip::failures(50).within(ms(5_000)), failing, slow])
            .open_for(
                Backoff::exponential(ms(1_000))
                    .factor(1.5)
                    .max(ms(10_000))
                    .jitter(Jitter::None),
            )
            .retry_after_cap(ms(30_000))
            .probes(3)
            .close_after(2)
            .max_probe_time(ms(5_000))
            .on_drop(OnDrop::Ignore)
            .throttled(Throttled::Failure)
            .fair_time(ms(100))
            .ramp(ms(20_000), 0.3)
            .mode(Mode::RecordOnly),
    );
    let name = |policy: &str| {
        settings
            .breaker(policy)
            .unwrap()
            .build()
            .unwrap()
            .name()
            .to_string()
    };
    assert_eq!(name("payments"), "payments");
}

#[test]
fn cf8_the_sections_of_keyed_policies_have_the_fields_of_single_ones() {
    let settings = toml(
        r#"
        [keyed_rate_limits.clients]
        rate = "10/s"
        burst = 20
        max_pause = "5m"
        mode = "record_only"
        tiers = { 1 = "200/s", 2 = { rate = "unlimited" }, 3 = { rate = "5/s", burst = 1 } }

        [keyed_breakers.hosts]
        consecutive_failures = 7
        probes = 2

        [keyed_bulkheads.hosts]
        limit = 20
        queue = "unbounded"

        [keyed_budgets]
        hosts = "20%"
        tenants = {}

        [keyed_hedges.hosts]
        quantile = 0.9
        window = "10s"
        "#,
    );
    let (limiter, tiers) = settings.keyed_rate_limit("clients").unwrap();
    let expected = RateLimiter::builder(Quota::per_second(10).burst(20))
        .max_pause(ms(300_000))
        .mode(Mode::RecordOnly);
    let quotas = [
        Quota::per_second(200),
        Quota::unlimited(),
        Quota::per_second(5).burst(1),
    ];
    assert_eq!(tiers, quotas);
    alike::<RateLimiter>(limiter, expected);
    alike::<CircuitBreaker>(
        settings.keyed_breaker("hosts").unwrap(),
        CircuitBreaker::builder("x")
            .trip_on(Trip::consecutive_failures(7))
            .probes(2),
    );
    alike::<Bulkhead>(
        settings.keyed_bulkhead("hosts").unwrap(),
        Bulkhead::builder(20).unbounded_queue(),
    );
    let budget = |name| settings.keyed_budget(name).unwrap();
    alike::<Budget>(budget("hosts"), Budget::builder().ratio(0.2));
    alike::<Budget>(budget("tenants"), Budget::builder());
    alike::<Hedge>(
        settings.keyed_hedge("hosts").unwrap(),
        Hedge::builder().quantile(0.9).window(ms(10_000)),
    );
    // A keyed policy and a single one of the same name have a section each.
    assert!(settings.bulkhead("hosts").is_err());
}

#[test]
fn cf8_problems_of_keyed_sections_have_their_paths() {
    let found = problems(
        r#"
        [keyed_rate_limits]
        empty = {}
        gap = { rate = "1/s", tiers = { 1 = "2/s", 3 = "3/s" } }
        named = { rate = "1/s", tiers = { gold = "2/s" } }
        twice = { rate = "1/s", tiers = { 1 = "2/s", 01 = "3/s" } }
        signed = { rate = "1/s", tiers = { "+1" = "2/s" } }
        bad = { rate = "1/s", tiers = { 1 = { rate = "2/s", brust = 3 }, 2 = 5, 3 = { rate = "1/s", burst = 0 } } }
        [keyed_breakers]
        hosts = { capacity = 10, probes = 0 }
        [keyed_bulkheads]
        hosts = "many"
        [keyed_timeouts]
        hosts = "1s"
        "#,
    );
    let expected = [
        "keyed_rate_limits.empty.rate: nothing",
        "keyed_rate_limits.gap.tiers: \"3\"",
        "keyed_rate_limits.named.tiers: \"gold\"",
        "keyed_rate_limits.twice.tiers: \"01\"",
        "keyed_rate_limits.signed.tiers: \"+1\"",
        "keyed_rate_limits.bad.tiers.1.brust: 3",
        "keyed_rate_limits.bad.tiers.2: 5",
        "keyed_rate_limits.bad.tiers.3.burst: 0",
        "keyed_breakers.hosts.capacity: 10",
        "keyed_breakers.hosts.probes: 0",
        "keyed_bulkheads.hosts: \"many\"",
        "keyed_timeouts: a table of 1",
    ];
    for problem in expected {
        assert!(
            found.iter().any(|found| found == problem),
            "{problem} in {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn cf1_every_field_of_the_stacks_is_read() {
    let settings = toml(
        r#"
        [clients.orders]
        total_timeout = "5s"
        attempt_timeout = "800ms"
        longest_total_timeout = "20s"
        authorities = 50
        rate_limit = { rate = "200/s", burst = 20 }
        retry = { max_attempts = 2, backoff = "20ms" }
        hedge = { quantile = 0.98 }
        budgets = "20%"
        breaker = { failure_rate = "50%" }
        bulkhead = { limit = 30, queue = 60 }

        [servers.api]
        timeout = "10s"
        bulkhead = 200
        rate_limit = "500/s"
        "#,
    );
    alike::<ClientStack>(
        settings.client("orders").unwrap(),
        ClientStack::builder("orders")
            .total_timeout(ms(5_000))
            .attempt_timeout(ms(800))
            .longest_total_timeout(ms(20_000))
            .authorities(50)
            .rate_limit(Quota::per_second(200).burst(20))
            .retry(|retry| retry.max_attempts(2).backoff(Backoff::exponential(ms(20))))
            .hedge(|hedge| hedge.quantile(0.98))
            .budgets(|budget| budget.ratio(0.2))
            .breaker(|breaker| breaker.trip_on(Trip::failure_rate(0.5)))
            .bulkhead(|bulkhead| bulkhead.limit(30).queue(60)),
    );
    alike::<ServerStack>(
        settings.server("api").unwrap(),
        ServerStack::builder("api", 200)
            .timeout(ms(10_000))
            .rate_limit(Quota::per_second(500)),
    );
}

#[test]
fn cf1_an_empty_section_is_the_defaults_and_a_single_value_the_main_field() {
    let settings = toml(
        r#"
        clients.orders = {}
        breakers.payments = {}
        hedges.read = {}
        fallbacks.cache = {}
        budgets.all = {}
        retries.mail = {}
        timeouts.report = "3s"
        rate_limits.search = "unlimited"
        bulkheads.db = { limit = 5, queue = "unbounded" }
        retries.twice = 2
        "#,
    );
    alike::<ClientStack>(
        settings.client("orders").unwrap(),
        ClientStack::builder("x"),
    );
    alike::<CircuitBreaker>(
        settings.breaker("payments").unwrap(),
        CircuitBreaker::builder("x"),
    );
    alike::<Hedge>(settings.hedge("read").unwrap(), Hedge::builder());
    alike::<Fallback>(settings.fallback("cache").unwrap(), Fallback::builder());
    alike::<Budget>(settings.budget("all").unwrap(), Budget::builder());
    alike::<Retry>(settings.retry("mail").unwrap(), Retry::builder());
    alike::<Retry>(
        settings.retry("twice").unwrap(),
        Retry::builder().max_attempts(2),
    );
    alike::<Timeout>(
        settings.timeout("report").unwrap(),
        Timeout::builder(ms(3_000)),
    );
    alike::<RateLimiter>(
        settings.rate_limit("search").unwrap(),
        RateLimiter::builder(Quota::unlimited()),
    );
    alike::<Bulkhead>(
        settings.bulkhead("db").unwrap(),
        Bulkhead::builder(5).unbounded_queue(),
    );
}

#[test]
fn cf2_all_problems_are_reported_at_once_with_their_paths() {
    let found = problems(
        r#"
        [clients.orders]
        total_timout = "5s"
        attempt_timeout = 800

        [clients.orders.breaker]
        probes = 0
        failure_rate = { rate = "50%", min_calls = 0, windw = 3 }
        slow_rate = { rate = 0.5 }
        ramp = { over = "0s", reopen_at = 7 }

        [clients.orders.rate_limit]
        burst = 3

        [servers.api]
        timeout = "10s"

        [servers.edge]
        bulkhead = { queue = 5 }

        [breakers.payments]
        open_for = { base = "1s", max = "1ms", factor = 0.5 }
        failure_rate = 1.5
        on_drop = "panic"

        [budgets.grpc]
        retry_throttling = { max_tokens = 0, token_ratio = 2 }

        [bulkheads]
        db = { limit = 9_000_000, queue = "many" }

        [unknown]
        x = 1
        "#,
    );
    let expected = [
        "clients.orders.attempt_timeout: 800",
        "clients.orders.breaker.failure_rate.windw: 3",
        "clients.orders.breaker.failure_rate.min_calls: 0",
        "clients.orders.breaker.slow_rate.longer_than: nothing",
        "clients.orders.breaker.probes: 0",
        "clients.orders.breaker.ramp.over: 0ns",
        "clients.orders.breaker.ramp.reopen_at: 7.0",
        "clients.orders.rate_limit.rate: nothing",
        "clients.orders.total_timout: \"5s\"",
        "servers.api.bulkhead: nothing",
        "servers.edge.bulkhead.limit: nothing",
        "breakers.payments.open_for: 1ms",
        "breakers.payments.open_for: 0.5",
        "breakers.payments.failure_rate: 1.5",
        "breakers.payments.on_drop: \"panic\"",
        "budgets.grpc.ratio: 2.0",
        "budgets.grpc.retry_throttling.max_tokens: Some(0)",
        "bulkheads.db.queue: \"many\"",
        "bulkheads.db.limit: 9000000",
        "unknown: a table of 1",
    ];
    for problem in expected {
        assert!(
            found.iter().any(|found| found == problem),
            "{problem} in {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn cf2_parts_of_a_stack_that_contradict_each_other_are_problems() {
    let found = problems(
        r#"
        [clients.orders]
        total_timeout = "1s"
        hedge = { delay = "5s" }
        bulkhead = { limit = 5, queue = 5, max_wait = "2s" }
        [servers.api]
        timeout = "1s"
        bulkhead = { limit = 5, queue = 5, max_wait = "2s" }
        "#,
    );
    let expected = [
        "clients.orders.attempt_timeout: 3s",
        "clients.orders.bulkhead.max_wait: 2s",
        "clients.orders.hedge.delay: 5s",
        "servers.api.bulkhead.max_wait: 2s",
    ];
    assert_eq!(found, expected);
}

#[test]
fn cf2_a_problem_says_what_is_allowed_and_a_value_of_the_wrong_type_is_one() {
    let error = toml::from_str::<Settings>("bulkheads.db = { limit = \"ten\", queues = 1 }");
    let text = error.unwrap_err().to_string();
    for part in [
        "settings: invalid `bulkheads.db.limit`: \"ten\" (must be a whole number from 0 to 4,294,967,295)",
        "invalid `bulkheads.db.queues`: 1 (must be left out, as the fields here are `limit`, `mode`, `queue`, `max_wait`, `order`)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(problems("clients = 7"), ["clients: 7"]);
    assert_eq!(
        problems("clients.orders = [1, 2]"),
        ["clients.orders: a list of 2"]
    );
    assert_eq!(
        problems("clients.orders.retry.backoff = 5"),
        ["clients.orders.retry.backoff: 5"]
    );
    let missing = toml("").client("orders").unwrap_err();
    assert_eq!(missing.problems()[0].field, "clients.orders");
    let twice = serde_json::from_str::<Settings>(r#"{"bulkheads": {"db": 1, "db": 2}}"#);
    assert!(twice.unwrap_err().to_string().contains("twice"));
}

#[test]
fn cf1_environment_variables_and_json_are_read_as_well() {
    let variables = [
        ("SEAWALL__CLIENTS__ORDERS__TOTAL_TIMEOUT", "2s"),
        ("SEAWALL__CLIENTS__ORDERS__ATTEMPT_TIMEOUT", "500ms"),
        ("SEAWALL__CLIENTS__ORDERS__RETRY__MAX_ATTEMPTS", "2"),
        ("SEAWALL__CLIENTS__ORDERS__RETRY__NESTED", "true"),
        (
            "SEAWALL__CLIENTS__ORDERS__BREAKER__FAILURE_RATE__MIN_CALLS",
            "50",
        ),
        ("SEAWALL__BULKHEADS__DB", "12"),
        ("SEAWALL__KEYED_BULKHEADS__HOSTS", "7"),
        ("SEAWALL__KEYED_RATE_LIMITS__CLIENTS__RATE", "5/s"),
        ("SEAWALL__KEYED_RATE_LIMITS__CLIENTS__TIERS__1", "50/s"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = r#"
        [clients.orders]
        total_timeout = "9s"
        breaker = { failure_rate = { rate = "50%", min_calls = 20 } }
    "#;
    let environment = config::Environment::with_prefix("SEAWALL")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.into_iter().collect()));
    let read = config::Config::builder()
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .add_source(environment)
        .build()
        .unwrap();
    let settings: Settings = read.try_deserialize().unwrap();
    alike::<ClientStack>(
        settings.client("orders").unwrap(),
        ClientStack::builder("orders")
            .total_timeout(ms(2_000))
            .attempt_timeout(ms(500))
            .retry(|retry| retry.max_attempts(2).nested(true))
            .breaker(|breaker| breaker.trip_on(Trip::failure_rate(0.5).min_calls(50))),
    );
    alike::<Bulkhead>(settings.bulkhead("db").unwrap(), Bulkhead::builder(12));
    alike::<Bulkhead>(
        settings.keyed_bulkhead("hosts").unwrap(),
        Bulkhead::builder(7),
    );
    let (clients, tiers) = settings.keyed_rate_limit("clients").unwrap();
    alike::<RateLimiter>(clients, RateLimiter::builder(Quota::per_second(5)));
    assert_eq!(tiers, [Quota::per_second(50)]);
    let json = r#"{"clients": {"orders": {"retry": {"backoff": "10ms"}, "breaker": null}}}"#;
    let settings: Settings = serde_json::from_str(json).unwrap();
    alike::<ClientStack>(
        settings.client("orders").unwrap(),
        ClientStack::builder("orders").retry(|retry| retry.backoff(Backoff::exponential(ms(10)))),
    );
}

#[test]
fn cf1_settings_are_a_field_of_a_configuration_of_your_own() {
    #[derive(serde::Deserialize)]
    struct App {
        database: String,
        seawall: Settings,
    }
    let app: App = toml::from_str("database = \"db\"\nseawall.bulkheads.db = 3").unwrap();
    assert_eq!(app.database, "db");
    assert_eq!(
        app.seawall.bulkhead("db").unwrap().build().unwrap().limit(),
        3
    );
}

#[cfg(feature = "tracing")]
#[test]
fn cf5_cf6_a_new_stack_a_change_and_a_bad_file_are_one_line_each() {
    let path = std::env::temp_dir().join(format!("seawall-lines-{}.toml", std::process::id()));
    std::fs::write(&path, "servers.lines = { bulkhead = 5 }").unwrap();
    let lines = crate::event::lines_of(|| {
        let mut file = super::File::open(&path, |text| toml::from_str(text)).unwrap();
        let stack = file.settings().server("lines").unwrap().build().unwrap();
        std::fs::write(&path, "servers.lines = { bulkhead = 6 }").unwrap();
        file.check().unwrap();
        std::fs::write(&path, "servers.lines = { bulkhead = -1 }").unwrap();
        file.check().unwrap_err();
        file.check().unwrap();
        assert_eq!(stack.bulkhead().limit(), 6);
    });
    std::fs::remove_file(&path).unwrap();
    let expected = [
        (
            "INFO message=stack built",
            "resilience.verdict=1 attempt per call",
        ),
        (
            "INFO message=settings applied",
            "resilience.applied=1 changed (servers.lines)",
        ),
        (
            "WARN message=settings rejected",
            "`servers.lines.bulkhead`: -1",
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (start, part)) in lines.iter().zip(expected) {
        assert!(line.starts_with(start) && line.contains(part), "{line}");
    }
}
