//! Views of the policies of a program: what they are, what they have done, and how they are set.

#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod registry;
#[cfg(feature = "serde")]
pub mod settings;
pub mod shadow;
