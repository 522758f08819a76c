//! `cargo bench --bench versus` and `--bench outages` in the root: each hands over to the package that has
//! the benchmark, so that the crate's own builds have neither the peers nor tokio's paused clock.

use std::process::{Command, ExitCode};

pub(crate) fn main() -> ExitCode {
    let (cargos, args): (Vec<_>, Vec<_>) = std::env::args_os()
        .skip(1)
        .partition(|arg| arg == "--bench");
    // `cargo test --benches` and the like only check that it starts.
    if cargos.is_empty() {
        return ExitCode::SUCCESS;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let bench = env!("CARGO_CRATE_NAME");
    let manifest = match bench {
        "outages" => concat!(env!("CARGO_MANIFEST_DIR"), "/benches/outages/Cargo.toml"),
        _ => concat!(env!("CARGO_MANIFEST_DIR"), "/benches/Cargo.toml"),
    };
    let mut command = Command::new(cargo);
    command.args(["bench", "--manifest-path", manifest, "--bench", bench, "--"]);
    match command.args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
