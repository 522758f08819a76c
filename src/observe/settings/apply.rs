use std::cell::RefCell;
use std::fmt;

use super::kind::{Kind, Next};
use super::read::{Settings, for_each_kind, read};
use super::section::{Section, this};
use super::tree::Tree;
use crate::config::{ConfigError, Problems};
use crate::sync::Arc;

/// What became of each section, by its path such as `clients.orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The policies and stacks that have other settings now.
    pub changed: Vec<String>,
    /// Those that had these settings already.
    pub unchanged: Vec<String>,
    /// The sections without a policy or stack of their kind and name: it is not built yet, or the
    /// name has an error.
    pub unknown: Vec<String>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, what, paths: &[String]| {
            write!(f, "{} {what}", paths.len())?;
            match paths {
                [] => Ok(()),
                _ => write!(f, " ({})", paths.join(", ")),
            }
        };
        list(f, "changed", &self.changed)?;
        write!(f, ", {} unchanged, ", self.unchanged.len())?;
        list(f, "unknown", &self.unknown)
    }
}

/// Changes one policy. Whether anything has changed.
type Step<'a> = Box<dyn FnOnce() -> Result<bool, ConfigError> + 'a>;

/// What would be changed, and what forbids it.
#[derive(Default)]
struct Plan<'a> {
    steps: Vec<(String, Vec<Step<'a>>)>,
    problems: RefCell<Problems>,
    applied: Applied,
}

impl Settings {
    /// Changes all policies and stacks of this process that have a section, by kind and name. Calls
    /// that are under way, tokens, counts, queues and the states of breakers stay, as each policy's
    /// `change` describes.
    ///
    /// A section is the whole configuration: what it does not have is the default, also the mode.
    /// What no document can have stays: names, listeners, seeds, budgets that were given, rules of
    /// your own. Everything is checked before anything changes.
    ///
    /// If several policies have one name, all of them change. A policy without a section stays.
    ///
    /// # Errors
    /// All problems at once, by path: what a live policy cannot change, such as the number of
    /// authorities of a stack. Nothing has changed then.
    ///
    /// ```
    /// use seawall::{Bulkhead, settings::Settings};
    ///
    /// let db = Bulkhead::builder(20).name("apply docs").build()?;
    /// let settings: Settings = serde_json::from_str(r#"{"bulkheads": {"apply docs": 10}}"#)?;
    /// let applied = settings.apply()?;
    /// assert_eq!(applied.changed, ["bulkheads.apply docs"]);
    /// assert_eq!(db.limit(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&self) -> Result<Applied, ConfigError> {
        self.apply_after(&Self::default())
    }

    /// Like [`apply`](Self::apply), for the sections that differ from those of `before` only. So a
    /// change that was made by hand, by a handle or the registry, stays until the section of its
    /// policy changes.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn apply_after(&self, before: &Self) -> Result<Applied, ConfigError> {
        let mut plan = Plan::default();
        for_each_kind!(plan_kind(self, before, &mut plan));
        plan.run()
    }
}

fn plan_kind<'a, K: Kind + 'a>(settings: &'a Settings, before: &Settings, plan: &mut Plan<'a>) {
    for (name, tree) in settings.sections::<K>() {
        let path = format!("{}.{name}", K::TABLE);
        if before
            .sections::<K>()
            .any(|section| section == (name, tree))
        {
            plan.applied.unchanged.push(path);
            continue;
        }
        let found = K::find(name);
        if found.is_empty() {
            plan.applied.unknown.push(path);
            continue;
        }
        let section = tree.clone();
        let next: Next<K> = Arc::new(move |now| read::<K>(&section, now));
        for policy in &found {
            let at = Section::new(path.clone(), &Tree::Nothing, None, &plan.problems);
            at.check(policy.check_change(&next));
        }
        let steps = found.into_iter();
        let steps = steps.map(|policy| {
            let next = Arc::clone(&next);
            Box::new(move || policy.apply(&next)) as Step<'a>
        });
        plan.steps.push((path, steps.collect()));
    }
}

impl Plan<'_> {
    fn run(self) -> Result<Applied, ConfigError> {
        self.problems.into_inner().finish(&this())?;
        let mut applied = self.applied;
        for (path, steps) in self.steps {
            let mut changed = false;
            for step in steps {
                changed |= step()?;
            }
            match changed {
                true => applied.changed.push(path),
                false => applied.unchanged.push(path),
            }
        }
        Ok(applied)
    }
}
