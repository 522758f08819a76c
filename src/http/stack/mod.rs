//! The stacks whose calls last until the end of the response's body.

mod client;
mod server;

pub use client::{ClientBodies, HttpClientStack};
pub use server::{HttpServerStack, ServerBodies};
