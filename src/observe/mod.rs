//! Views of the policies of a program: what they are and what they have done.

#[cfg(feature = "console")]
pub mod console;
pub mod registry;
pub mod shadow;
