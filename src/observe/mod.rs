//! Views of the policies of a program: what they are and what they have done.

pub mod registry;
pub mod shadow;
