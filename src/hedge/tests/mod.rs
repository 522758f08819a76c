#![allow(clippy::disallowed_methods)] // Tests may box, spawn and read tokio's clock.

mod contract;
mod handle;
mod load;
mod race;
mod readiness;
mod support;
