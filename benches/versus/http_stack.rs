//! The two recommended stacks over `http::Request`, as a user meets them.

use std::rc::Rc;

use seawall::{ClientStack, ServerStack};
use seawall_benches::http_call::{Endpoint, KeepsCopy, Request, Response, serve_http};
use seawall_benches::noop::{When, runtime};
use seawall_benches::peers::tower_client;
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

const ALONE: &str = "the service alone";
/// The lower bound of a stack that retries, in time and in allocations.
const COPIED: &str = "the service, request copied";

fn http_calls<S>(runtime: &Rc<Runtime>, kind: Kind, name: &'static str, service: S) -> Contender
where
    S: Service<Request, Response = Response> + 'static,
{
    Contender::alone(kind, name, serve_http(runtime, service))
}

fn client(runtime: &Rc<Runtime>, when: When) -> Vec<Contender> {
    let _entered = runtime.enter();
    let endpoint = || Endpoint(when);
    let seawall = ClientStack::new("orders").layer(endpoint());
    vec![
        http_calls(runtime, Kind::Floor, ALONE, endpoint()),
        http_calls(runtime, Kind::Floor, COPIED, KeepsCopy(endpoint())),
        http_calls(runtime, Kind::Peer, "tower", tower_client(endpoint())),
        http_calls(runtime, Kind::Ours, "seawall", seawall),
    ]
}

fn server(runtime: &Rc<Runtime>, when: When) -> Vec<Contender> {
    let seawall = ServerStack::new("api", 1_000).layer(Endpoint(when));
    vec![
        http_calls(runtime, Kind::Floor, ALONE, Endpoint(when)),
        http_calls(runtime, Kind::Ours, "seawall", seawall),
    ]
}

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    let goals = |limits: &[Limit]| {
        let goal = |&limit| Goal {
            of: "seawall",
            limit,
        };
        limits.iter().map(goal).collect()
    };
    let of_client = [Limit::Times(0.6, &["tower"]), Limit::Above(300.0, ALONE)];
    for (suffix, when, of_client, of_server) in [
        (
            "",
            When::AtOnce,
            goals(&of_client),
            goals(&[Limit::Above(80.0, ALONE)]),
        ),
        (", pending once", When::PendingOnce, Vec::new(), Vec::new()),
    ] {
        report.group(&format!("client stack over http::Request{suffix}"), || {
            Group {
                admitted: true,
                may_allocate: Some(COPIED),
                contenders: client(&runtime, when),
                goals: of_client,
                ..Group::new()
            }
        });
        report.group(&format!("server stack over http::Request{suffix}"), || {
            Group {
                admitted: true,
                may_allocate: Some(ALONE),
                contenders: server(&runtime, when),
                goals: of_server,
                ..Group::new()
            }
        });
    }
}
