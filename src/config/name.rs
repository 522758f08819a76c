use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::panic::Location;

use crate::sync::{Arc, Mutex, OnceLock};

/// The name of a policy, which is in its rejections, its events and its `Debug`.
///
/// The default is the kind of policy and its call site, like `rate_limit@src/main.rs:42`. Names
/// need not be unique: two policies of one name stay two policies.
///
/// A clone of a name copies two words. The first 1,024 names of a process are never freed; a clone
/// of a later one also increments a reference count.
#[derive(Clone)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    Kept(&'static str),
    // An `Arc<str>` has two words, and the name would have three.
    Counted(Arc<String>),
}

/// The names that are never freed.
#[derive(Default)]
struct Names(BTreeSet<&'static str>);

impl Names {
    const CAPACITY: usize = 1_024;
    /// In bytes.
    const MAX_LENGTH: usize = 256;

    /// `None` if there are too many names or this one is too long.
    fn keep(&mut self, name: &str) -> Option<&'static str> {
        if let Some(kept) = self.0.get(name) {
            return Some(kept);
        }
        if self.0.len() >= Self::CAPACITY || name.len() > Self::MAX_LENGTH {
            return None;
        }
        let kept = &*name.to_owned().leak();
        self.0.insert(kept);
        Some(kept)
    }
}

impl Name {
    /// The default name of a policy of this kind, made at this call site.
    pub(crate) fn at(kind: &str, site: &Location<'_>) -> Self {
        Self::from(format!("{kind}@{}:{}", site.file(), site.line()))
    }

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

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{Name, Names};

    #[test]
    fn the_first_names_are_kept_once_each() {
        let mut names = Names::default();
        let first = names.keep("0").unwrap();
        assert!(std::ptr::eq(first, names.keep(&0.to_string()).unwrap()));
        assert_eq!(names.keep(&"x".repeat(Names::MAX_LENGTH + 1)), None);
        let others = (1..Names::CAPACITY).map(|n| n.to_string());
        assert!(
            others
                .map(|name| names.keep(&name))
                .all(|kept| kept.is_some())
        );
        assert_eq!(names.keep("one too many"), None);
        // The earlier ones stay.
        assert!(std::ptr::eq(first, names.keep("0").unwrap()));
    }

    #[test]
    fn a_kept_name_and_a_counted_name_behave_alike() {
        let long = "long ".repeat(100);
        for text in ["payments", &long] {
            let (name, again) = (Name::from(text), Name::from(text.to_owned()));
            assert_eq!((name.as_str(), &*name), (text, text));
            assert_eq!((&name, name.to_string()), (&again, text.to_owned()));
            assert_eq!(format!("{name:?}"), format!("{text:?}"));
        }
    }
}
