use std::fmt;
use std::process::Command;

/// The machine and the versions of a run.
pub struct Machine {
    pub date: String,
    processor: String,
    cores: usize,
    load: String,
    rustc: String,
    revision: String,
    crates: Vec<String>,
}

/// The crates whose versions are recorded.
const CRATES: [&str; 9] = [
    "better-bucket",
    "failsafe",
    "governor",
    "rate-net",
    "recloser",
    "seatbelt",
    "tokio",
    "tower",
    "tower-resilience",
];

impl Machine {
    pub fn read() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let processor = model.and_then(|line| line.split(": ").nth(1));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let dirty = output("git", &["status", "--porcelain", "--", "../src"]);
        let revision = output("git", &["rev-parse", "--short", "HEAD"]);
        Self {
            date: output("date", &["-u", "+%F"]),
            processor: processor.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            rustc: output("rustc", &["--version"]),
            revision: match dirty.is_empty() {
                true => revision,
                false => format!("{revision} and changes"),
            },
            crates: versions(include_str!("../Cargo.lock")),
        }
    }

    pub fn cores(&self) -> usize {
        self.cores
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let ran = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    ran.map_or_else(
        |_| "unknown".to_owned(),
        |ran| String::from_utf8_lossy(&ran.stdout).trim().to_owned(),
    )
}

fn versions(lock: &str) -> Vec<String> {
    let mut lines = lock.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let named = line.strip_prefix("name = \"").map(|n| n.trim_matches('"'));
        if let Some(name) = named.filter(|name| CRATES.contains(name)) {
            let version = lines.next().unwrap_or_default();
            let version = version.trim_start_matches("version = ").trim_matches('"');
            found.push(format!("{name} {version}"));
        }
    }
    found
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            processor,
            cores,
            load,
            rustc,
            revision,
            crates,
        } = self;
        writeln!(f, "{date}, seawall at {revision}, {rustc}")?;
        writeln!(f, "{processor}, {cores} cores, load {load} before the run")?;
        write!(f, "{}", crates.join(", "))
    }
}
