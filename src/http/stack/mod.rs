//! The stacks whose calls last until the end of the response's body.

mod both;
mod client;
mod server;

pub use both::HttpStack;
pub use client::HttpClientStack;
pub use server::HttpServerStack;
