//! Whether the check finds what is planted, in a small house and in a copy of the real one, and
//! finds nothing where there is nothing.

use std::process::ExitCode;

use crate::plan::Sources;
use crate::rules::{FILE_CIRCLE, MODULE_CIRCLE, ROOM, STALE, UNKNOWN, UPWARD};
use crate::{imports, rules};

/// The small house: a file of `src`, and its text. No violation, and much that looks like one.
const HOUSE: &str = r#"
lib.rs: mod sync; mod time; pub mod event; pub mod retry; pub mod hedge; pub mod circuit_breaker;
lib.rs: #[cfg(all(any(test, fuzzing), not(seawall_loom)))] mod fuzzing;
lib.rs: pub use circuit_breaker::CircuitBreaker; pub use time::Tick;
sync.rs: pub use std::sync::Arc;
sync.rs: #[macro_export] #[doc(hidden)] macro_rules! twice { () => {} }
time.rs: use crate::sync::Arc; pub struct Tick(Arc<u8>);
fuzzing.rs: use crate::retry::Retry;
event.rs: use crate::circuit_breaker::Transition; pub struct Event(Transition);
hedge/mod.rs: pub struct Hedge;
retry/mod.rs: //! crate::prelude::Retry
retry/mod.rs: mod policy; pub use policy::Retry;
retry/policy.rs: use crate::{CircuitBreaker, Tick}; crate::twice!(); pub struct Retry;
retry/policy.rs: impl Retry { pub(in crate::retry) fn f() { "crate::prelude::Retry"; '"'; } }
circuit_breaker/mod.rs: mod policy; mod service; mod state;
circuit_breaker/mod.rs: pub use policy::CircuitBreaker; pub use state::{Machine, Transition};
circuit_breaker/mod.rs: pub use self::service::*;
circuit_breaker/policy.rs: use super::{Machine, Transition}; use crate::event::Event;
circuit_breaker/policy.rs: pub struct CircuitBreaker;
circuit_breaker/state.rs: pub struct Machine; pub enum Transition { Open }
circuit_breaker/state.rs: #[cfg(test)] use super::policy::CircuitBreaker;
circuit_breaker/state.rs: #[cfg(all(test, not(seawall_loom)))] mod tests { use super::super::Service; }
circuit_breaker/state.rs: #[cfg(test)] impl<A, B> Machine { fn f() { super::Service::new() } }
circuit_breaker/service.rs: use super::CircuitBreaker;
circuit_breaker/service.rs: pub struct Service { #[cfg(test)] a: crate::prelude::A, b: u8 }
"#;

/// What is wrong, and the plants in the small house: `file: text`.
const PLANTS: &[(&str, &str)] = &[
    (
        FILE_CIRCLE,
        r#"
of two files | sync.rs: use crate::time::Tick;
through a re-export | circuit_breaker/state.rs: use super::CircuitBreaker;
through a glob of re-exports | circuit_breaker/state.rs: use super::*; fn f(_: CircuitBreaker) {}
through a path in the code | circuit_breaker/policy.rs: fn f(_: super::Service) {}
of a file and its child | retry/mod.rs: mod gate; fn f() { gate::g() } | retry/gate.rs: fn g() { super::f() }
of a re-export that is used | retry/mod.rs: fn f() -> Retry {} | retry/policy.rs: use super::f;
through a macro | sync.rs: use crate::event::Event; | event.rs: crate::twice!();
"#,
    ),
    (
        MODULE_CIRCLE,
        r#"
of different files | hedge/mod.rs: mod a; mod b; | hedge/a.rs: use crate::retry::Retry; | hedge/b.rs: pub struct B; | retry/mod.rs: mod c; | retry/c.rs: use crate::hedge::b::B;
"#,
    ),
    (
        UPWARD,
        r#"
by its path | time.rs: use crate::retry::Retry;
by a name of the root | time.rs: use crate::CircuitBreaker;
in a group | time.rs: use crate::{sync::{self, Arc as A}, retry::{Retry}};
by a path in the code | time.rs: fn f() { crate::retry::Retry::new() }
through an alias | sync.rs: use crate::event as e; fn f() { e::Event }
by a re-export | time.rs: pub use crate::retry::Retry;
by a glob | time.rs: use crate::retry::*; fn f(_: Retry) {}
in a function | time.rs: fn f() { use crate::retry::Retry; }
in an inline module | time.rs: mod inner { use super::super::retry::Retry; }
of another name than the allowed one | event.rs: use crate::circuit_breaker::Machine;
under a feature | time.rs: #[cfg(any(test, feature = "x"))] use crate::retry::Retry;
behind an item of a test | time.rs: #[cfg(test)] fn f() {} use crate::retry::Retry;
"#,
    ),
    (
        ROOM,
        r#"
a machine and a policy | circuit_breaker/state.rs: use super::policy::Other;
a machine and a service | circuit_breaker/state.rs: use super::Service;
a policy and a service | circuit_breaker/policy.rs: use super::service::Service;
"#,
    ),
    (
        UNKNOWN,
        r#"
a file | planted.rs: pub struct New;
a folder | planted/mod.rs: pub struct New;
"#,
    ),
];

/// What is not wrong.
const DECOYS: &[(&str, &str)] = &[
    (
        FILE_CIRCLE,
        r#"
a re-export of what imports the file | time.rs: pub use crate::event::Event; | event.rs: use crate::time::Tick;
"#,
    ),
    (
        MODULE_CIRCLE,
        r#"
one way on one floor | hedge/mod.rs: use crate::retry::Retry;
"#,
    ),
    (
        UPWARD,
        r##"
an import that goes down | retry/policy.rs: use crate::event::Event;
a test's import | time.rs: #[cfg(all(test, feature = "x"))] pub(crate) use crate::retry::{Retry, A};
a comment | time.rs: /* /* */ use crate::retry::Retry; */ // use crate::retry::Retry;
a string | time.rs: const A: &str = r#"" use crate::retry::Retry; "#; const B: &[u8] = b"\" crate::retry::B";
another crate's name | time.rs: use ::retry::Retry; use other::retry::Retry; fn f<'a>() { ::retry::Retry }
"##,
    ),
];

/// What is wrong, and the plants in `src` itself.
const REAL: &[(&str, &str)] = &[
    (
        FILE_CIRCLE,
        "of two files | rng.rs: use crate::sync::planted_a; | sync.rs: use crate::rng::planted_b;",
    ),
    (UPWARD, "an import | rng.rs: use crate::prelude::planted;"),
    (
        UNKNOWN,
        "a file | planted.rs: pub struct New; | lib.rs: mod planted;",
    ),
];

pub fn run(real: &Sources) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let mut expect = |rule: &str, what: &str, is_so: bool| {
        if is_so {
            passed += 1;
        } else {
            failed += 1;
            eprintln!("error: self-test: {rule}: {what}");
        }
    };
    let count = |sources: &Sources, rule: &str| {
        let found = rules::check(&imports::of(sources));
        found.get(rule).map_or(0, Vec::len)
    };

    let house = plant(&Sources::new(), HOUSE.lines());
    let mut found = rules::check(&imports::of(&house));
    // The house has not all that the real one's allow-list names.
    found.remove(STALE);
    expect("no violation", &format!("{found:#?}"), found.is_empty());
    for (rule, what, plants) in each(PLANTS) {
        expect(rule, what, count(&plant(&house, plants), rule) > 0);
    }
    for (rule, what, plants) in each(DECOYS) {
        let what = format!("not {what}");
        expect(rule, &what, count(&plant(&house, plants), rule) == 0);
    }
    let mut gone = house.clone();
    gone.insert("src/event.rs".to_owned(), String::new());
    let more = count(&gone, STALE) > count(&house, STALE);
    expect(STALE, "the import is gone", more);

    for (rule, what, plants) in each(REAL) {
        let more = count(&plant(real, plants), rule) > count(real, rule);
        expect(rule, &format!("in src: {what}"), more);
    }
    println!("self-test: {passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// The cases by line: what is wrong, what the case is, its plants.
fn each<'a>(
    cases: &'a [(&'a str, &'a str)],
) -> impl Iterator<Item = (&'a str, &'a str, impl Iterator<Item = &'a str>)> {
    cases.iter().flat_map(|(rule, lines)| {
        let lines = lines.lines().filter(|line| !line.is_empty());
        lines.map(move |line| {
            let mut parts = line.split(" | ");
            (*rule, parts.next().unwrap_or_default(), parts)
        })
    })
}

/// The sources, and each plant at the end of its file.
fn plant<'a>(sources: &Sources, plants: impl Iterator<Item = &'a str>) -> Sources {
    let mut sources = sources.clone();
    for (file, text) in plants.filter_map(|plant| plant.split_once(": ")) {
        let code = sources.entry(format!("src/{file}")).or_default();
        code.push('\n');
        code.push_str(text);
        code.push('\n');
    }
    sources
}
