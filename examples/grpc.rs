//! A gRPC server behind a `ServerStack` and a client under a `ClientStack`, in one process. The
//! service is tonic's own of health checks, which stands for yours.
//!
//!     cargo run --example grpc --features tonic

#![allow(clippy::disallowed_methods)] // The crate itself bans `spawn`.

use std::error::Error;

use seawall::{ClientStack, Reason, ServerStack};
use tokio::net::TcpListener;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A channel under a stack has a name.
type Health = HealthClient<seawall::grpc::Channel<Channel>>;

async fn check(health: &mut Health) -> Result<(), tonic::Status> {
    let answer = health.check(HealthCheckRequest::default()).await?;
    println!("{:?}", answer.into_inner().status());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A server: at most 200 calls in flight, each until the end of its stream.
    let api = ServerStack::grpc("api", 200);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (_reporter, service) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(api.clone()).add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    // A client: `Check` may be sent more than once.
    let stack = ClientStack::grpc("health").idempotent(["/grpc.health.v1.Health/Check"]);
    let endpoint = Endpoint::try_from(format!("http://{address}"))?;
    let mut health = HealthClient::new(stack.channel(endpoint.connect_lazy()));
    check(&mut health).await?;

    // The server is full: its status says no more than that.
    api.bulkhead().set_limit(0)?;
    let status = check(&mut health).await.unwrap_err();
    println!("{:?}: {}", status.code(), status.message());

    // Rejected in this process: the source of the status is the rejection.
    stack.breakers().get("service 1").force_open();
    let status = check(&mut health).await.unwrap_err();
    let reason = Reason::find(&status).ok_or("no rejection")?;
    println!("{:?}: {}", status.code(), reason.policy());
    Ok(())
}
