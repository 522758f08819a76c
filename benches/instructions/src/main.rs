//! A gate that a busy machine does not disturb: the instructions of the core operations, counted by
//! valgrind and compared with `record.txt`.
//!
//! ```text
//! benches/instructions/gate            # compare
//! benches/instructions/gate --write    # record
//! ```
//!
//! Exits with 1 if an operation takes more than the tolerance above its record, or is in only one of
//! run and record. Instructions are not time: they do not show cache misses, waits for another core
//! or a slow clock. But each run counts the same. The processor of valgrind has no steady counter, so
//! each clock reading is one of the system's, which takes more instructions.

#[path = "../../src/body_call.rs"]
mod body_call;
#[path = "../../src/http_call.rs"]
#[allow(dead_code)]
mod http_call;
#[path = "../../src/noop.rs"]
#[allow(dead_code)] // Only a part is counted.
mod noop;
mod operations;
#[path = "../../src/ours.rs"]
#[allow(dead_code)]
mod ours;
mod record;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use record::Record;

/// Instructions of the core operations, against the record.
#[derive(Parser)]
struct Args {
    /// Records what was counted.
    #[arg(long)]
    write: bool,

    /// How much more an operation may take, in percent.
    #[arg(long, default_value_t = 2.0)]
    tolerance: f64,

    /// Makes the operations and counts nothing. Runs under valgrind.
    #[arg(long, hide = true)]
    inside: bool,
}

const RUNS: usize = 3;

const INSTALL: &str = "this gate needs valgrind: `apt-get install valgrind`, `dnf install valgrind`, \
                       `pacman -S valgrind`; there is none for macOS on ARM or for Windows";

fn main() -> ExitCode {
    let args = Args::parse();
    if args.inside {
        operations::all(|_, run| run());
        return ExitCode::SUCCESS;
    }
    match gate(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn gate(args: &Args) -> Result<bool, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("record.txt");
    let counted = count()?;
    let before = Record::read(&file);
    let (table, verdict) = compare(args, &counted, before.as_ref());
    print!("{table}");
    if args.write {
        counted.write(&file).map_err(|error| error.to_string())?;
        println!("recorded in {}", file.display());
        return Ok(true);
    }
    let Some(before) = before else {
        return Err(format!("no {}; make one with --write", file.display()));
    };
    if counted.with != before.with {
        println!(
            "The record was made with {}, this run with {}: a difference may be theirs.",
            before.with, counted.with
        );
    }
    let better = counted.counts.iter().filter(|(name, n)| {
        let was = before.of(name);
        was.is_some_and(|was| (n / was - 1.0) * 100.0 < -args.tolerance)
    });
    let better: Vec<_> = better.map(|(name, _)| &**name).collect();
    if !better.is_empty() {
        let better = better.join(", ");
        println!(
            "Better than the record: {better}. Record it with --write, or it may go back unseen."
        );
    }
    match verdict.is_empty() {
        true => println!("all {} within {} %", counted.counts.len(), args.tolerance),
        false => println!(
            "\nFAILED:\n{}\nIf that is meant, record it with --write, and say why in the commit.",
            verdict.join("\n")
        ),
    }
    Ok(verdict.is_empty())
}

/// Runs this program under callgrind, more than once.
fn count() -> Result<Record, String> {
    let version = Command::new("valgrind").arg("--version").output();
    let version = version.map_err(|error| format!("{error}: {INSTALL}"))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_err(|error| format!("rustc: {error}"))?;
    let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
    // Timers depend a little on the time: the median of some runs.
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(run()?);
    }
    let mut counts = Vec::new();
    operations::all(|name, _| counts.push((name, 0.0)));
    for (name, count) in &mut counts {
        let seen = runs.iter().map(|text| record::inclusive(text, name));
        let mut seen: Vec<u64> = seen.flatten().collect();
        if seen.len() < RUNS {
            return Err(format!("callgrind saw no `{name}`"));
        }
        seen.sort_unstable();
        *count = seen[RUNS / 2] as f64 / operations::TIMES as f64;
    }
    let counts = counts.into_iter().map(|(name, n)| (name.to_owned(), n));
    Ok(Record {
        with: format!("{rustc}, {version}, {}", std::env::consts::ARCH),
        counts: counts.collect(),
    })
}

/// What callgrind writes in one run.
fn run() -> Result<String, String> {
    let id = std::process::id();
    let out: PathBuf = std::env::temp_dir().join(format!("seawall-{id}.callgrind"));
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let ran = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg("--demangle=no")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .arg("--inside")
        .output()
        .map_err(|error| error.to_string())?;
    let text = std::fs::read_to_string(&out);
    let _ = std::fs::remove_file(&out);
    match ran.status.success() {
        true => text.map_err(|error| error.to_string()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
    }
}

fn compare(args: &Args, now: &Record, before: Option<&Record>) -> (String, Vec<String>) {
    let mut table = format!(
        "{:<32}{:>13}{:>10}{:>10}\n",
        "operation", "instructions", "recorded", "change"
    );
    let mut bad = Vec::new();
    for (name, n) in &now.counts {
        let was = before.and_then(|before| before.of(name));
        let change = was.map(|was| (n / was - 1.0) * 100.0);
        let shown = was.map_or_else(String::new, |was| format!("{was:.1}"));
        let moved = change.map_or_else(String::new, |change| format!("{change:+.1} %"));
        table.push_str(&format!("{name:<32}{n:>13.1}{shown:>10}{moved:>10}\n"));
        match (was, change) {
            (Some(was), Some(change)) if change > args.tolerance => {
                bad.push(format!("  {name}: {was:.1} -> {n:.1}, {change:+.1} %"));
            }
            (None, _) => bad.push(format!("  {name}: not in the record")),
            _ => {}
        }
    }
    let gone = before.iter().flat_map(|before| &before.counts);
    for (name, _) in gone.filter(|(name, _)| now.of(name).is_none()) {
        bad.push(format!("  {name}: in the record, and no operation"));
    }
    (table, bad)
}
