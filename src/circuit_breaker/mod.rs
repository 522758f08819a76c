//! x
/// T
#[derive(Debug,Clone)]
pub struct Transition;
