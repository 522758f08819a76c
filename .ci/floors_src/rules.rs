//! The rules, and their violations.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::imports::Imports;
use crate::plan::{ALLOWED, MOST_ALLOWED, floor, room, top};

pub const FILE_CIRCLE: &str = "files import each other in a circle";
pub const MODULE_CIRCLE: &str = "modules of one floor import each other in a circle";
pub const UPWARD: &str = "a lower file imports a higher one";
pub const ROOM: &str = "a lower room of a pattern imports a higher one";
pub const UNKNOWN: &str = "a module stands on no floor (see FLOORS in .ci/floors_src/plan.rs)";
pub const STALE: &str = "the allow-list names an import that does not exist";
pub const TOO_LONG: &str = "the allow-list is too long";

type Found = BTreeMap<&'static str, Vec<String>>;

/// The violations of each rule that has any.
pub fn check(imports: &Imports) -> Found {
    let mut found = Found::new();
    let mut add = |rule, line| found.entry(rule).or_default().push(line);

    for (module, file) in &imports.unknown {
        add(UNKNOWN, format!("{file}: `{module}`"));
    }
    let mut used = BTreeSet::new();
    for ((from, to), import) in &imports.between {
        let mut names = import.all();
        let (low, high) = (top(from), top(to));
        if low == high && room(from) < room(to) && room(from).is_some() {
            add(ROOM, arrow(from, to, &names));
        }
        if floor(low) < floor(high) && floor(low).is_some() {
            for (at, allowed) in ALLOWED.iter().enumerate() {
                if (allowed.0, allowed.1) == (low, high) && names.remove(allowed.2) {
                    used.insert(at);
                }
            }
            if !names.is_empty() {
                add(UPWARD, arrow(from, to, &names));
            }
        }
    }
    for (at, (from, to, name, _)) in ALLOWED.iter().enumerate() {
        if !used.contains(&at) {
            add(STALE, format!("{from} -> {to}: {name}"));
        }
    }
    if ALLOWED.len() > MOST_ALLOWED {
        add(
            TOO_LONG,
            format!("{} imports (must be at most {MOST_ALLOWED})", ALLOWED.len()),
        );
    }

    // A name that is passed on and not used joins no circle of files.
    let mut files = Graph::new();
    let mut modules = Graph::new();
    for ((from, to), import) in &imports.between {
        if !import.used.is_empty() {
            files
                .entry(from)
                .or_default()
                .insert(to, vec![arrow(from, to, &import.used)]);
        }
        // Modules on different floors are in a circle only if one imports upwards.
        let (low, high) = (top(from), top(to));
        if low != high && floor(low) == floor(high) {
            let lines = modules.entry(low).or_default().entry(high).or_default();
            lines.push(arrow(from, to, &import.all()));
        }
    }
    for (rule, graph) in [(FILE_CIRCLE, files), (MODULE_CIRCLE, modules)] {
        for circle in circles(&graph) {
            let next = circle.iter().cycle().skip(1);
            let steps = circle
                .iter()
                .zip(next)
                .flat_map(|(from, to)| &graph[from][to]);
            let steps: Vec<&str> = steps.map(String::as_str).collect();
            add(
                rule,
                format!("circle of {}\n{}", circle.len(), indent(&steps.join("\n"))),
            );
        }
    }
    found
}

/// One import, as every message shows it.
pub fn arrow(from: &str, to: &str, names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("{from} -> {to}: {}", names.join(", "))
}

pub fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// From, to, and the imports on the way.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<String>>>;

/// The shortest circle through each node that is on one, each circle once.
fn circles<'a>(graph: &Graph<'a>) -> Vec<Vec<&'a str>> {
    let mut found = BTreeMap::new();
    for start in graph.keys() {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([*start]);
        while let Some(node) = queue.pop_front() {
            for next in graph.get(node).into_iter().flat_map(BTreeMap::keys) {
                if !before.contains_key(next) {
                    before.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        let mut circle = Vec::new();
        let mut node = *start;
        while let Some(&last) = before.get(node) {
            circle.insert(0, last);
            node = last;
            if node == *start {
                let nodes: BTreeSet<_> = circle.iter().copied().collect();
                found.entry((circle.len(), nodes)).or_insert(circle);
                break;
            }
        }
    }
    found.into_values().collect()
}
