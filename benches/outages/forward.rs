//! See `benches/forward.rs`.

use std::process::ExitCode;

#[path = "../forward.rs"]
mod forward;

fn main() -> ExitCode {
    forward::main()
}
