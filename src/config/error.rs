use std::fmt;

use crate::config::Name;

/// One invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The setting.
    pub field: String,
    /// Its value.
    pub value: String,
    /// What it must be, such as `at least 1`.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            allowed,
        } = self;
        write!(f, "invalid `{field}`: {value} (must be {allowed})")
    }
}

/// An invalid configuration, with all its problems at once.
///
/// ```
/// let error = seawall::Bulkhead::builder(8).name("search").queue(u32::MAX).build().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "search: invalid `queue`: 4294967295 (must be at most 1,000,000, or an unbounded queue)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{policy}: {}", list(.problems))]
pub struct ConfigError {
    policy: Name,
    problems: Vec<Problem>,
}

fn list(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}

impl ConfigError {
    /// The name of the policy that could not be built or changed.
    pub fn policy(&self) -> &Name {
        &self.policy
    }

    /// The problems, in the order of the settings. There is at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Collects the problems of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// The problems that `check` finds, as an error.
    pub(crate) fn found(policy: &Name, check: impl FnOnce(&mut Self)) -> Result<(), ConfigError> {
        let mut problems = Self::default();
        check(&mut problems);
        problems.finish(policy)
    }

    /// Adds a problem unless `holds`. `allowed` completes the sentence "it must be ..".
    pub(crate) fn check(
        &mut self,
        holds: bool,
        field: &str,
        value: impl fmt::Debug,
        allowed: impl fmt::Display,
    ) {
        if !holds {
            self.0.push(Problem {
                field: field.to_owned(),
                value: format!("{value:?}"),
                allowed: allowed.to_string(),
            });
        }
    }

    /// Adds the problems of a part under the same field names.
    pub(crate) fn add(&mut self, error: &ConfigError) {
        self.0.extend(error.problems.iter().cloned());
    }

    /// Adds the problems of a part under its name: `field` becomes `part.field`.
    #[cfg(feature = "tower")]
    pub(crate) fn add_of(&mut self, part: &str, error: &ConfigError) {
        let of_part = error.problems.iter().cloned().map(|problem| Problem {
            field: format!("{part}.{}", problem.field),
            ..problem
        });
        self.0.extend(of_part);
    }

    #[cfg(feature = "serde")]
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    #[cfg(all(feature = "serde", feature = "tower"))]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn finish(self, policy: &Name) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(ConfigError {
            policy: policy.clone(),
            problems: self.0,
        })
    }
}
