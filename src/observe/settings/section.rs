//! A table of a document that is read field by field.

use std::cell::RefCell;

use super::tree::Tree;
use super::value::Value;
use crate::config::{ConfigError, Name, Problem, Problems};

/// The owner of problems in its errors.
pub(super) fn this() -> Name {
    Name::from("settings")
}

/// A table, with the fields that were read so far. A problem is noted with its path, and reading
/// goes on.
pub(super) struct Section<'a> {
    path: String,
    fields: Vec<(&'a str, &'a Tree)>,
    /// Whether the table was a single value, which is its main field.
    single: bool,
    known: Vec<&'static str>,
    problems: &'a RefCell<Problems>,
    /// How many problems there were before.
    #[cfg(feature = "tower")]
    before: usize,
}

impl<'a> Section<'a> {
    /// `main` is the field that a single value instead of a table sets.
    pub(super) fn new(
        path: String,
        tree: &'a Tree,
        main: Option<&'static str>,
        problems: &'a RefCell<Problems>,
    ) -> Self {
        let mut section = Self {
            path,
            fields: Vec::new(),
            single: false,
            known: Vec::new(),
            problems,
            #[cfg(feature = "tower")]
            before: problems.borrow().len(),
        };
        match (tree, main) {
            (Tree::Table(fields), _) => {
                let fields = fields.iter();
                section.fields = fields.map(|(name, value)| (name.as_str(), value)).collect();
            }
            (Tree::Nothing, None) => {}
            (value, Some(main)) => {
                section.fields = vec![(main, value)];
                section.single = true;
            }
            (value, None) => section.problem(&section.path, value, "a table of fields"),
        }
        section
    }

    fn problem(&self, path: &str, value: &Tree, allowed: &str) {
        let mut problems = self.problems.borrow_mut();
        problems.check(false, path, value, allowed);
    }

    /// Whether no field that was read so far has a problem.
    #[cfg(feature = "tower")]
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().len() == self.before
    }

    fn path_of(&self, field: &str) -> String {
        match (self.single, self.path.is_empty()) {
            (true, _) => self.path.clone(),
            (_, true) => field.to_owned(),
            _ => format!("{}.{field}", self.path),
        }
    }

    fn tree(&mut self, field: &'static str) -> Option<&'a Tree> {
        if !self.known.contains(&field) {
            self.known.push(field);
        }
        let found = self.fields.iter().find(|(name, _)| *name == field);
        found.map(|(_, tree)| *tree)
    }

    pub(super) fn get<T: Value>(&mut self, field: &'static str) -> Option<T> {
        let tree = self.tree(field)?;
        let value = T::of(tree);
        if value.is_none() {
            self.problem(&self.path_of(field), tree, T::ALLOWED);
        }
        value
    }

    /// Like [`get`](Self::get), and a missing field is a problem.
    pub(super) fn required<T: Value>(&mut self, field: &'static str) -> Option<T> {
        self.must_have::<T>(field);
        self.get(field)
    }

    pub(super) fn must_have<T: Value>(&mut self, field: &'static str) {
        if self.tree(field).is_none() {
            self.missing(field, T::ALLOWED);
        }
    }

    pub(super) fn missing(&self, field: &str, allowed: &str) {
        self.problem(&self.path_of(field), &Tree::Nothing, allowed);
    }

    /// Sets what the field has, if it is there.
    pub(super) fn set<T: Value, B>(
        &mut self,
        field: &'static str,
        builder: B,
        set: impl FnOnce(B, T) -> B,
    ) -> B {
        match self.get(field) {
            Some(value) => set(builder, value),
            None => builder,
        }
    }

    /// The table in a field, or the single value that stands for its field `main`.
    pub(super) fn section(
        &mut self,
        field: &'static str,
        main: Option<&'static str>,
    ) -> Option<Self> {
        let tree = self.tree(field)?;
        Some(Self::new(self.path_of(field), tree, main, self.problems))
    }

    /// Each field as a section, whatever its name.
    pub(super) fn each(&self, main: Option<&'static str>) -> Vec<(&'a str, Self)> {
        let fields = self.fields.iter();
        let section = |tree, name| Self::new(self.path_of(name), tree, main, self.problems);
        fields
            .map(|(name, tree)| (*name, section(tree, name)))
            .collect()
    }

    /// Reads the rest of this section by `read`, and notes fields that it did not read.
    pub(super) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        let unknown = self
            .fields
            .iter()
            .filter(|(name, _)| !self.known.contains(name));
        for (name, tree) in unknown {
            let known: Vec<_> = self.known.iter().map(|name| format!("`{name}`")).collect();
            let allowed = format!("left out, as the fields here are {}", known.join(", "));
            self.problem(&self.path_of(name), tree, &allowed);
        }
        value
    }

    /// Notes the problems of a policy, each under the path of its field.
    pub(super) fn check(&self, checked: Result<(), ConfigError>) {
        self.note(checked, as_written);
    }

    /// Notes the problems that `check` finds in a rule of a breaker. Whether there are none.
    pub(super) fn holds(&self, check: impl FnOnce(&mut Problems)) -> bool {
        let checked = Problems::found(&this(), check);
        let holds = checked.is_ok();
        self.note(checked, as_written_in_rule);
        holds
    }

    fn note(&self, checked: Result<(), ConfigError>, written: fn(&str) -> &str) {
        let Err(error) = checked else { return };
        for problem in error.problems() {
            self.problems.borrow_mut().push(Problem {
                field: self.path_of(&as_path(&problem.field, written)),
                ..problem.clone()
            });
        }
    }
}

/// The path of a setting by that in a builder: the last name may differ.
fn as_path(field: &str, written: fn(&str) -> &str) -> String {
    match field.rsplit_once('.') {
        Some((before, last)) => format!("{before}.{}", written(last)),
        None => written(field).to_owned(),
    }
}

/// The name of a field, by that of the setting in a builder.
fn as_written(setting: &str) -> &str {
    match setting {
        "ramp" => "ramp.over",
        "ramp_threshold" => "ramp.reopen_at",
        "period" => "rate",
        "max_tokens" => "retry_throttling.max_tokens",
        same => same,
    }
}

fn as_written_in_rule(setting: &str) -> &str {
    match setting {
        "consecutive failures" | "failures" => "count",
        "failure rate" | "slow rate" => "rate",
        "window buckets" => "buckets",
        same => same,
    }
}
