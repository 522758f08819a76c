//! `cargo bench --bench versus` in the crate's own folder: hands over to the package in this
//! one, so that the peers weigh on no build of the crate.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    // `cargo test --benches` and the like only want to see that it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args([
        "bench",
        "--manifest-path",
        manifest,
        "--bench",
        "versus",
        "--",
    ]);
    match command.args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
