//! The examples as programs.

use std::env::consts::EXE_EXTENSION;
use std::process::Command;

/// The example as `cargo test` has built it beside this test.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let built = profile.join("examples").join(name);
    let built = built.with_extension(EXE_EXTENSION);
    assert!(
        built.exists(),
        "{built:?} is built by `cargo test` and `cargo build --examples`"
    );
    Command::new(built)
}
