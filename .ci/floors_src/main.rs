//! The order of floors in `src`, proven from the code's own `use` lines and paths.
//!
//! It fails on
//! - files that import each other in a circle,
//! - modules that import each other in a circle,
//! - a file that imports from a higher floor,
//! - a room of a pattern's folder that imports from a higher room,
//! - a module that stands on no floor.
//!
//! A program and no shell script, because it reads code as the compiler does: comments and
//! strings are skipped, groups in braces are opened, and a name is followed through every
//! re-export to the file that defines it. So `use crate::Mode` in a pattern is an import of
//! `config.rs`, not of `lib.rs`, and a `pub use` alone joins no circle.
//!
//! An import is a `use`, or a path in the code that starts at `crate`, `self`, `super`, a child
//! module or an imported name. Not code: what a `#[cfg(..)]` leaves out of a build without `test`
//! and `fuzzing`, and the files of tests and models.

mod imports;
mod plan;
mod read;
mod rules;
mod self_test;
mod tokens;

use std::path::Path;
use std::process::ExitCode;

use plan::{ALLOWED, Sources};

fn main() -> ExitCode {
    let mut sources = Sources::new();
    read(Path::new("src"), &mut sources);
    if !sources.contains_key("src/lib.rs") {
        eprintln!("error: there is no src/lib.rs here");
        return ExitCode::FAILURE;
    }
    match std::env::args().nth(1).as_deref() {
        None => report(&sources),
        Some("--list") => list(&sources),
        Some("--self-test") => self_test::run(&sources),
        Some(other) => {
            eprintln!("error: invalid argument: {other} (must be --list, --self-test or none)");
            ExitCode::FAILURE
        }
    }
}

fn read(folder: &Path, sources: &mut Sources) {
    for entry in std::fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
            let name = path
                .to_str()
                .expect("a file's name is UTF-8")
                .replace('\\', "/");
            sources.insert(name, text);
        }
    }
}

fn list(sources: &Sources) -> ExitCode {
    for ((from, to), import) in &imports::of(sources).between {
        println!("{}", rules::arrow(from, to, &import.all()));
    }
    ExitCode::SUCCESS
}

fn report(sources: &Sources) -> ExitCode {
    let imports = imports::of(sources);
    let found = rules::check(&imports);
    let mut count = 0;
    for (rule, lines) in &found {
        eprintln!("error: {rule}: {}", lines.len());
        for line in lines {
            eprintln!("{}", rules::indent(line));
        }
        count += lines.len();
    }
    if count > 0 {
        return ExitCode::FAILURE;
    }
    println!(
        "every import goes down: {} files, {} imports, {} allowed upwards",
        imports.files.len(),
        imports.between.len(),
        ALLOWED.len()
    );
    ExitCode::SUCCESS
}
