//! A stack as text.

use std::fmt;

use super::Verdict;
use crate::config::{Mode, Name};

/// A stack as text: a line for each layer, from the outermost in, with its numbers, and the
/// [verdict](Verdict).
///
/// ```
/// use seawall::ServerStack;
///
/// let stack = ServerStack::new("api", 200);
/// assert_eq!(
///     stack.describe().to_string(),
///     "api\n  timeout: 30s\n  rate limit: off\n  bulkhead: 200 in flight, no queue\n\
///      1 attempt per call; a caller waits at most 30s"
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The name of the stack.
    pub name: Name,
    /// The layers, from the outermost in.
    pub layers: Vec<LayerText>,
    /// What the stack can do.
    pub verdict: Verdict,
}

/// A layer of a stack as text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerText {
    /// Which layer, such as `retry`.
    pub layer: &'static str,
    /// Its numbers.
    pub settings: String,
}

impl LayerText {
    pub(super) fn new(layer: &'static str, mode: Mode, settings: impl Into<String>) -> Self {
        let settings = match mode {
            Mode::Off => mode.to_string(),
            Mode::RecordOnly => format!("{} ({mode})", settings.into()),
            Mode::Enforce => settings.into(),
        };
        Self { layer, settings }
    }
}

impl fmt::Display for LayerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.settings)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for layer in &self.layers {
            writeln!(f, "  {layer}")?;
        }
        write!(f, "{}", self.verdict)
    }
}
