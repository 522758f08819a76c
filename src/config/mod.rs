//! What every policy has: a [`Name`], a [`Mode`], and a configuration that is checked as a whole.

mod error;
mod kind;
#[cfg_attr(not(feature = "tower"), allow(dead_code))] // Only services have a `Cached`.
mod live;
mod name;
#[cfg(feature = "serde")]
pub(crate) mod serialize;

use std::fmt;

pub(crate) use error::Problems;
pub use error::{ConfigError, Problem};
pub use kind::PolicyKind;
#[cfg(feature = "tower")]
pub(crate) use live::Cached;
pub(crate) use live::Live;
pub use name::Name;

/// What a policy does with its decisions. The mode can change while calls run; a call that is
/// under way keeps the mode it started with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Decides and rejects.
    #[default]
    Enforce,
    /// Decides, counts and emits "would reject" events, and rejects nothing. Use it to find the
    /// right numbers for a policy before it can do harm.
    RecordOnly,
    /// Switched off: admits every call, counts nothing and emits nothing.
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

crate::macros::serialize_label!(Mode, PolicyKind);

#[cfg(feature = "serde")]
impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl Mode {
    /// A short text that never changes: `enforce`, `record_only`, `off`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::RecordOnly => "record_only",
            Self::Off => "off",
        }
    }

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
