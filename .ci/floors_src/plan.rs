//! The floors, the rooms and the exceptions: all that a change of the house changes here.

use std::collections::BTreeMap;

/// The modules of `src`, from low to high. Modules on one floor may import each other.
pub const FLOORS: &[&[&str]] = &[
    &["macros", "sync", "time", "rng", "per_thread"],
    &["config", "policy_id", "live"],
    &["outcome", "drain"],
    &["rejection"],
    &["classify"],
    &["event"],
    &["context"],
    &["deadline", "backoff", "counters"],
    &["common"],
    &["in_flight", "waiting"],
    &["keyed"],
    &["service"],
    &[
        "timeout",
        "rate_limit",
        "circuit_breaker",
        "bulkhead",
        "budget",
    ],
    &["attempts"],
    &["retry", "hedge", "fallback"],
    &["pipeline", "stack", "gather"],
    &[
        "http", "serve", "grpc", "reqwest", "hyper", "tonic", "observe",
    ],
    &["prelude", "lib", "guide"],
];

/// The imports that go up: the lower module, the higher one, the name, the reason.
pub const ALLOWED: &[(&str, &str, &str, &str)] = &[
    (
        "event",
        "circuit_breaker",
        "Transition",
        "the payload of a breaker's event is that pattern's data",
    ),
    (
        "event",
        "circuit_breaker",
        "State",
        "the state that a breaker entered decides the level of its tracing event",
    ),
];
pub const MOST_ALLOWED: usize = 3;

/// The folders of patterns, and the rooms in each from low to high. A file of another name is the
/// pure machine or an algorithm, below all of these; `mod.rs` is no room.
pub const PATTERNS: &[&str] = &[
    "timeout",
    "rate_limit",
    "circuit_breaker",
    "bulkhead",
    "budget",
    "retry",
    "hedge",
    "fallback",
];
pub const ROOMS: &[&[&str]] = &[
    &[
        "policy",
        "builder",
        "permit",
        "waiter",
        "reservation",
        "call",
        "acquire",
        "ask",
        "denied",
        "limit",
        "joint",
        "per_key",
        "run",
    ],
    &["layer", "service", "future", "through", "gates"],
];

/// Files of this name, or in a folder of this name, are no code of the crate.
pub const TESTS: &[&str] = &["tests", "testing", "loom", "naive", "fuzz", "fuzzing"];

/// File to text. A file's path starts with `src/`.
pub type Sources = BTreeMap<String, String>;

/// The module of `src` that a file belongs to.
pub fn top(file: &str) -> &str {
    let name = file
        .trim_start_matches("src/")
        .split('/')
        .next()
        .unwrap_or_default();
    name.trim_end_matches(".rs")
}

pub fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The rank of a file's room in its pattern's folder, 0 for the machine.
pub fn room(file: &str) -> Option<usize> {
    let mut parts = file.trim_start_matches("src/").split('/');
    let pattern = parts.next()?;
    let room = parts.next()?.trim_end_matches(".rs");
    if room == "mod" || !PATTERNS.contains(&pattern) {
        return None;
    }
    Some(
        ROOMS
            .iter()
            .position(|rooms| rooms.contains(&room))
            .map_or(0, |rank| rank + 1),
    )
}
