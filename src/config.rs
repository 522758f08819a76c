//! What every policy has: a name, a mode, and a configuration that is checked as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::panic::Location;

use crate::sync::{Arc, Mutex, OnceLock};

#[allow(unused_imports)]
pub(crate) use crate::live::{Cached, Live};

/// The name of a policy: in its rejections, its events and its `Debug`.
///
/// By default the kind of policy and the place where it was made, like
/// `rate_limit@src/main.rs:42`. Names need not be unique: two policies of one name stay two.
///
/// Every rejection has a copy of it. That costs nothing for the first thousand names of a process,
/// which are kept for ever, and counts a reference for those after them.
#[derive(Clone)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    Kept(&'static str),
    // Of one word, so that a name is of two.
    Counted(Arc<String>),
}

/// The names that are kept.
#[derive(Default)]
struct Names(BTreeSet<&'static str>);

impl Names {
    const MOST: usize = 1_024;
    /// In bytes.
    const LONGEST: usize = 256;

    /// None if there are too many, or it is too long.
    fn keep(&mut self, name: &str) -> Option<&'static str> {
        if let Some(kept) = self.0.get(name) {
            return Some(kept);
        }
        if self.0.len() >= Self::MOST || name.len() > Self::LONGEST {
            return None;
        }
        let kept = &*name.to_owned().leak();
        self.0.insert(kept);
        Some(kept)
    }
}

impl Name {
    pub(crate) fn at(kind: &str, place: &Location<'_>) -> Self {
        Self::from(format!("{kind}@{}:{}", place.file(), place.line()))
    }

    /// One that is among the kept, or may be.
    fn kept(name: &str) -> Option<Self> {
        static NAMES: OnceLock<Mutex<Names>> = OnceLock::new();
        let names = NAMES.get_or_init(Mutex::default);
        let kept = names.lock().keep(name)?;
        Some(Self(Text::Kept(kept)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Kept(name) => name,
            Text::Counted(name) => name,
        }
    }

    /// A copy, if it costs nothing.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn kept_only(&self) -> Option<Self> {
        match self.0 {
            Text::Kept(name) => Some(Self(Text::Kept(name))),
            Text::Counted(_) => None,
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self::kept(name).unwrap_or_else(|| Self(Text::Counted(Arc::new(name.to_owned()))))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self::kept(&name).unwrap_or_else(|| Self(Text::Counted(Arc::new(name))))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
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

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{Name, Names};

    #[test]
    fn so_many_names_are_kept_once_each_and_no_more() {
        let mut names = Names::default();
        let first = names.keep("0").unwrap();
        assert!(std::ptr::eq(first, names.keep(&0.to_string()).unwrap()));
        assert_eq!(names.keep(&"x".repeat(Names::LONGEST + 1)), None);
        let others = (1..Names::MOST).map(|n| n.to_string());
        assert!(
            others
                .map(|name| names.keep(&name))
                .all(|kept| kept.is_some())
        );
        assert_eq!(names.keep("one too many"), None);
        // Those that are there stay.
        assert!(std::ptr::eq(first, names.keep("0").unwrap()));
    }

    #[test]
    fn a_name_is_its_text_however_it_is_held() {
        let long = "long ".repeat(100);
        for text in ["payments", &long] {
            let (name, again) = (Name::from(text), Name::from(text.to_owned()));
            assert_eq!((name.as_str(), &*name), (text, text));
            assert_eq!((&name, name.to_string()), (&again, text.to_owned()));
            assert_eq!(format!("{name:?}"), format!("{text:?}"));
        }
        assert!(Name::from("a") < Name::from("b"));
    }
}
