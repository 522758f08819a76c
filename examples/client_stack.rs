//! A client of three hosts. One is down: its breaker opens, and the calls to the others go on.
//!
//!     cargo run --example client_stack

use std::time::Duration;

use seawall::stack::ClientService;
use seawall::{Backoff, ClientStack};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

#[derive(Clone)]
struct Query {
    host: &'static str,
}

seawall::resend!(Query);
seawall::authority!(Query, |query| Some(query.host));

/// Instead of a client from hyper or reqwest, whose requests need no macros.
fn client() -> impl Service<Query, Response = u32, Error = BoxError> + Clone {
    service_fn(|query: Query| async move {
        match query.host {
            "b.example" => Err(BoxError::from("connection refused")),
            _ => Ok(200),
        }
    })
}

/// The types, for a struct of an application.
struct Search<S> {
    stack: ClientStack,
    client: ClientService<S>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let ms = Duration::from_millis;
    let stack = ClientStack::builder("search")
        .attempt_timeout(ms(500))
        .retry(|retry| retry.backoff(Backoff::exponential(ms(10))))
        .build()?;
    let client = stack.layer(client());
    let mut search = Search { stack, client };
    for round in 0..6 {
        for host in ["a.example", "b.example", "c.example"] {
            for _ in 0..8 {
                let call = search.client.ready().await?.call(Query { host });
                if let Err(error) = call.await.map_err(|error| error.to_string()) {
                    println!("{round}: {host}: {error}");
                    tokio::time::sleep(ms(40)).await;
                }
            }
        }
    }
    for (host, breaker) in search.stack.breakers().entries() {
        println!("{host}: {:?}", breaker.state());
    }
    println!("{:?}", search.stack.budgets());
    Ok(())
}
