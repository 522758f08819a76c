//! What every policy has: a name, a mode, and a configuration that is checked as a whole.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;

use crate::sync::Arc;

/// The name of a policy: in its rejections, its events and its `Debug`.
///
/// By default the kind of policy and the place where it was made, like
/// `rate_limit@src/main.rs:42`. Names need not be unique: two policies of one name stay two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    pub(crate) fn at(kind: &str, place: &Location<'_>) -> Self {
        Self(format!("{kind}@{}:{}", place.file(), place.line()).into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a policy does with what it decides. Every policy can be moved between modes while
/// calls run; a running call keeps what it started with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Decides, and refuses what it decides to refuse.
    #[default]
    Enforce,
    /// Decides, counts and tells of everything as "would refuse", and refuses nothing: how to
    /// find the right numbers for a policy before it can do harm.
    RecordOnly,
    /// Switched off: admits everything, counts and tells nothing.
    Off,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::RecordOnly => "record only",
            Self::Off => "off",
        })
    }
}

impl Mode {
    #[inline]
    pub(crate) const fn to_bits(self) -> u64 {
        match self {
            Self::Enforce => 0,
            Self::RecordOnly => 1,
            Self::Off => 2,
        }
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Enforce,
            1 => Self::RecordOnly,
            _ => Self::Off,
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The setting.
    pub field: String,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}, allowed is {}",
            self.field, self.value, self.allowed
        )
    }
}

/// A configuration that was refused, with everything that is wrong with it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    policy: Name,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The name of the policy that was to be built or changed.
    pub fn policy(&self) -> &Name {
        &self.policy
    }

    /// Everything that is wrong, in the order of the settings; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.policy)?;
        for (i, problem) in self.problems.iter().enumerate() {
            let between = if i == 0 { "" } else { "; " };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Gathers the problems of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
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

    /// Takes over the problems of something that this is made of.
    pub(crate) fn add(&mut self, error: &ConfigError) {
        self.0.extend(error.problems.iter().cloned());
    }

    /// Takes over the problems of a part, under its name.
    #[cfg(feature = "tower")]
    pub(crate) fn add_of(&mut self, part: &str, error: &ConfigError) {
        let of_part = error.problems.iter().cloned().map(|problem| Problem {
            field: format!("{part}.{}", problem.field),
            ..problem
        });
        self.0.extend(of_part);
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
