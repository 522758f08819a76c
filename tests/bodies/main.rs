//! Bodies over real connections and through whole stacks. A binary of its own: it measures the
//! memory of its threads.

// Clippy's bans are for `src`. Tests may use std's locks, spawn and box.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod clocks;
mod memory;
mod permits;
mod replay;
mod requests;
mod resets;
mod support;
mod uploads;
