//! The HTTP stacks, which watch bodies to their end, beside the plain stacks.

use std::rc::Rc;

use http::StatusCode;
use seawall::{ClientStack, ServerStack};
use seawall_benches::body_call::{Reads, Streams, serve_bodies};
use seawall_benches::noop::runtime;
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

fn calls<S>(runtime: &Rc<Runtime>, kind: Kind, name: &'static str, service: S) -> Contender
where
    Reads<S>: Service<seawall_benches::http_call::Request, Response = StatusCode> + 'static,
{
    Contender::alone(kind, name, serve_bodies(runtime, service))
}

const PLAIN: &str = "the plain stack";
const HTTP: &str = "the HTTP stack";
const CHUNKS: usize = 100;

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    for (what, chunks) in [("one chunk", 1), ("100 chunks", CHUNKS)] {
        let above = 60.0 + 10.0 * chunks as f64;
        let group = |plain, http| Group {
            admitted: true,
            may_allocate: Some(PLAIN),
            contenders: vec![plain, http],
            goals: vec![Goal {
                of: HTTP,
                limit: Limit::Above(above, PLAIN),
            }],
            ..Group::new()
        };
        report.group(&format!("HTTP client stack, body of {what}"), || {
            let _entered = runtime.enter();
            let plain = ClientStack::new("orders").layer(Streams(chunks));
            let http = ClientStack::http("orders").layer(Streams(chunks));
            group(
                calls(&runtime, Kind::Floor, PLAIN, plain),
                calls(&runtime, Kind::Ours, HTTP, http),
            )
        });
        report.group(&format!("HTTP server stack, body of {what}"), || {
            let _entered = runtime.enter();
            let plain = ServerStack::new("api", 1_000).layer(Streams(chunks));
            let http = ServerStack::http("api", 1_000).layer(Streams(chunks));
            group(
                calls(&runtime, Kind::Floor, PLAIN, plain),
                calls(&runtime, Kind::Ours, HTTP, http),
            )
        });
    }
}
