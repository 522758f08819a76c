//! The live page of the policies.

use std::net::SocketAddr;

use seawall::console::Console;
use tokio::net::TcpListener;

/// Serves the page on an address of its own, where it needs no permit of the gateway, and returns
/// its URL. It ends with the process.
pub(crate) async fn serve(listen: SocketAddr, levers: bool) -> Result<String, String> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        format!("invalid --console: {listen} (must be a free address of this machine: {error})")
    })?;
    let address = listener.local_addr().unwrap_or(listen);
    let mut console = Console::new();
    if levers {
        // Whatever is in front of --console decides what may reach it.
        console = console.levers_behind_own_auth();
    }
    let router = console.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}/"))
}
