use crate::args::Args;
use crate::goal::Goal;
use crate::machine::Machine;
use crate::measure::{Kind, Plan, Sample, Turn, Work, alone, crew, taken};
use crate::ours::{WINDOW, settle};
use crate::sheet::Sheet;

/// A contender of a group.
pub struct Contender {
    pub name: &'static str,
    pub kind: Kind,
    pub work: Work,
}

impl Contender {
    /// On one thread.
    pub fn alone(kind: Kind, name: &'static str, work: impl FnMut(u64) -> u64 + 'static) -> Self {
        let work = Work::Alone(Box::new(work));
        Self { name, kind, work }
    }

    /// The group takes the turns.
    #[must_use]
    pub fn taken(kind: Kind, name: &'static str) -> Self {
        Self::alone(kind, name, |n| n)
    }

    /// On any number of threads.
    pub fn shared(
        kind: Kind,
        name: &'static str,
        work: impl Fn(u64) -> u64 + Send + Sync + 'static,
    ) -> Self {
        let work = Work::Shared(Box::new(work));
        Self { name, kind, work }
    }
}

impl Contender {
    /// Once its hedge knows how long calls take. See [`settle`].
    #[must_use]
    pub fn settled(mut self) -> Self {
        settle(WINDOW, |n| {
            self.work.run(n);
        });
        self
    }
}

/// Contenders for the same work, measured in turn.
pub struct Group {
    pub threads: usize,
    /// Whether the calls are admitted: then seawall may not allocate.
    pub admitted: bool,
    /// The contender that makes as many allocations as ours may make. Ours may make none without
    /// it.
    pub may_allocate: Option<&'static str>,
    pub contenders: Vec<Contender>,
    pub goals: Vec<Goal>,
    /// How many calls the contenders count as one operation. The figures are per call.
    pub batch: u64,
    /// The thread's processor time instead of wall time, for calls that mostly wait.
    pub processor: bool,
    /// Takes the turn of the contender with this index, instead of its work.
    pub taken: Option<Box<dyn FnMut(usize) -> Turn>>,
    /// How turns are taken, if not as usual.
    pub plan: Option<Plan>,
}

impl Group {
    /// On one thread, one by one, by wall time.
    #[must_use]
    #[allow(clippy::new_without_default)] // Without contenders it is incomplete.
    pub fn new() -> Self {
        Self {
            threads: 1,
            admitted: false,
            may_allocate: None,
            contenders: Vec::new(),
            goals: Vec::new(),
            batch: 1,
            processor: false,
            taken: None,
            plan: None,
        }
    }
}

/// The table as it grows.
pub struct Report {
    args: Args,
    machine: Machine,
    sheet: Sheet,
    goals: usize,
    met: usize,
    /// Goals that were judged by disturbed turns: neither met nor missed.
    unclear: usize,
    /// Contenders of ours that allocate where they may not.
    allocate: Vec<String>,
    admitted: usize,
    disturbed: bool,
}

const HEADER: [&str; 8] = [
    "group",
    "contender",
    "ns",
    "x best peer",
    "allocations",
    "goal: at most",
    "reached",
    "met",
];

impl Report {
    pub fn new(args: &Args) -> Self {
        let machine = Machine::read();
        eprintln!("{machine}\n");
        Self {
            args: args.clone(),
            machine,
            sheet: Sheet::new(&HEADER, &[2, 3, 4, 6]),
            goals: 0,
            met: 0,
            unclear: 0,
            allocate: Vec::new(),
            admitted: 0,
            disturbed: false,
        }
    }

    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Measures a group if it is wanted, and shows it.
    pub fn group(&mut self, name: &str, make: impl FnOnce() -> Group) {
        if !self.args.wants(name) {
            return;
        }
        if self.args.list {
            println!("{name}");
            return;
        }
        let mut group = make();
        if group.threads > self.machine.cores() {
            eprintln!("{name}: this machine has too few cores");
            return;
        }
        let mut work: Vec<Work> = Vec::new();
        let mut contenders = Vec::new();
        for contender in group.contenders.drain(..) {
            contenders.push((contender.name, contender.kind));
            work.push(contender.work);
        }
        let plan = group.plan.unwrap_or(Plan::of(&self.args));
        let samples = match (group.taken.take(), group.threads) {
            (Some(take), _) => taken(&plan, contenders.len(), take),
            (None, 1) => alone(&plan, group.processor, group.batch, &mut work),
            (None, threads) => crew(&plan, threads, &mut work),
        };
        let from = self.sheet.len();
        self.rows(name, &group, &contenders, &samples);
        eprintln!("{}\n", self.sheet.since(from));
    }

    fn rows(
        &mut self,
        name: &str,
        group: &Group,
        contenders: &[(&'static str, Kind)],
        samples: &[Sample],
    ) {
        let median = |of: &str| {
            let at = contenders.iter().position(|(name, _)| *name == of);
            at.map_or(f64::NAN, |at| samples[at].median())
        };
        let unclear = |goal: &Goal| {
            contenders.iter().zip(samples).any(|((name, _), sample)| {
                sample.disturbed && (*name == goal.of || goal.limit.compared().contains(name))
            })
        };
        let allowed = group.may_allocate.map_or(0.0, |of| {
            let at = contenders.iter().position(|(name, _)| *name == of);
            at.map_or(0.0, |at| samples[at].allocations)
        });
        let peers = contenders.iter().filter(|(_, kind)| *kind == Kind::Peer);
        let best = peers.map(|(name, _)| median(name)).fold(f64::NAN, f64::min);
        for (&(contender, kind), sample) in contenders.iter().zip(samples) {
            let ns = sample.median();
            if kind == Kind::Ours && group.admitted {
                self.admitted += 1;
                if sample.allocations > allowed {
                    self.allocate.push(format!("{name}: {contender}"));
                }
            }
            let mut notes = String::new();
            if sample.disturbed {
                self.disturbed = true;
                notes.push('~');
            }
            if sample.astray > 0.001 {
                notes.push_str(&format!("{:.1} % otherwise ", sample.astray * 100.0));
            }
            let ratio = match kind {
                Kind::Floor => String::new(),
                _ if best.is_nan() => String::new(),
                _ => format!("{:.2}", ns / best),
            };
            let mut line = [
                name.to_owned(),
                contender.to_owned(),
                format!("{notes}{}", digits(ns)),
                ratio,
                allocations(sample.allocations),
                String::new(),
                String::new(),
                String::new(),
            ];
            let mut goals = group.goals.iter().filter(|goal| goal.of == contender);
            if let Some(goal) = goals.next() {
                self.judge(goal, ns, median, unclear(goal), &mut line);
            }
            self.sheet.push(line);
            for goal in goals {
                let mut line: [String; 8] = Default::default();
                self.judge(goal, ns, median, unclear(goal), &mut line);
                self.sheet.push(line);
            }
        }
        let there = |of: &str| contenders.iter().any(|(name, _)| *name == of);
        for goal in group.goals.iter().filter(|goal| !there(goal.of)) {
            self.goals += 1;
            let limit = goal.limit.to_string();
            let line = [name, goal.of, "not built", "", "", &limit, "", "NO"];
            self.sheet.push(line.map(str::to_owned));
        }
    }

    fn judge(
        &mut self,
        goal: &Goal,
        ns: f64,
        of: impl Fn(&str) -> f64,
        unclear: bool,
        line: &mut [String; 8],
    ) {
        let (reached, met) = goal.limit.judge(ns, &of);
        line[5] = goal.limit.to_string();
        line[6] = reached;
        let verdict = match (unclear, met) {
            (true, _) => "?",
            (false, true) => "yes",
            (false, false) => "NO",
        };
        line[7] = verdict.to_owned();
        self.goals += 1;
        self.met += usize::from(met && !unclear);
        self.unclear += usize::from(unclear);
    }

    /// The whole table, and the count.
    pub fn finish(mut self, file: &str) {
        if self.args.list {
            return;
        }
        if self.admitted > 0 {
            let met = self.allocate.is_empty();
            self.goals += 1;
            self.met += usize::from(met);
            let reached = match met {
                true => format!("none in {} rows", self.admitted),
                false => self.allocate.join(", "),
            };
            let verdict = if met { "yes" } else { "NO" };
            let name = "allocations, admitted";
            let goal = "none, or the request's copy";
            let line = [name, "seawall", "", "", "", goal, &reached, verdict];
            self.sheet.push(line.map(str::to_owned));
        }
        let mut last = format!("{} of {} goals met", self.met, self.goals);
        if self.unclear > 0 {
            last = format!("{last}, {} unclear", self.unclear);
        }
        if self.args.quick || !self.args.filter.is_empty() {
            last = format!("{last} (not a full run)");
        }
        let note = match self.disturbed {
            true => {
                "~, ?: the machine was too busy for enough clean turns; run it again on a quiet one\n\n"
            }
            false => "",
        };
        let last = format!("{note}{last}");
        self.sheet
            .finish(file, &self.machine, &last, self.args.record);
    }
}

/// Three digits, or all before the point.
#[must_use]
pub fn digits(ns: f64) -> String {
    match ns {
        ns if ns < 10.0 => format!("{ns:.2}"),
        ns if ns < 100.0 => format!("{ns:.1}"),
        ns => format!("{ns:.0}"),
    }
}

fn allocations(n: f64) -> String {
    match n {
        n if n.is_nan() => String::new(),
        0.0 => "0".to_owned(),
        n if (n - n.round()).abs() < 0.005 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}
