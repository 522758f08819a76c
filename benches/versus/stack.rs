//! All six patterns and a second timeout in one stack.

use std::rc::Rc;

use seawall_benches::drive::{calls, concurrent};
use seawall_benches::noop::{Noop, Sleeper, When, runtime};
use seawall_benches::ours::{WINDOW, ours};
use seawall_benches::peers::{resilience, tower};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};
use tokio::runtime::Runtime;

fn one_by_one(runtime: &Rc<Runtime>, when: When) -> Vec<Contender> {
    let _entered = runtime.enter();
    let noop = || Noop(when);
    vec![
        calls(runtime, Kind::Floor, "the service alone", noop()),
        calls(runtime, Kind::Peer, "tower", tower(noop(), 1)),
        calls(runtime, Kind::Peer, "tower-resilience", resilience(noop())),
        calls(runtime, Kind::Ours, "seawall", ours(noop(), WINDOW)).settled(),
    ]
}

/// How many calls are in flight at once over the slow service.
const AT_ONCE: u64 = 200;

fn together(runtime: &Rc<Runtime>) -> Vec<Contender> {
    let _entered = runtime.enter();
    vec![
        concurrent(runtime, Kind::Floor, "the service alone", AT_ONCE, Sleeper),
        concurrent(runtime, Kind::Peer, "tower", AT_ONCE, tower(Sleeper, 20)),
        concurrent(
            runtime,
            Kind::Peer,
            "tower-resilience",
            AT_ONCE,
            resilience(Sleeper),
        ),
        concurrent(
            runtime,
            Kind::Ours,
            "seawall",
            AT_ONCE,
            ours(Sleeper, WINDOW),
        ),
    ]
}

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    let goal = |times, peers| Goal {
        of: "seawall",
        limit: Limit::Times(times, peers),
    };
    report.group("stack", || Group {
        admitted: true,
        contenders: one_by_one(&runtime, When::AtOnce),
        goals: vec![goal(0.5, &["tower"]), goal(0.13, &["tower-resilience"])],
        ..Group::new()
    });
    report.group("stack, pending once", || Group {
        admitted: true,
        contenders: one_by_one(&runtime, When::PendingOnce),
        goals: vec![goal(1.0, &["tower"])],
        ..Group::new()
    });
    report.group("stack, 1 ms: processor time", || Group {
        contenders: together(&runtime),
        batch: AT_ONCE,
        processor: true,
        ..Group::new()
    });
}
