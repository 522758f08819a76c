use std::process::{ExitCode, Termination};

/// How a server ended. As the return value of `main` it is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether requests were cut off"]
pub enum Drained {
    /// Every request was answered: exit code 0.
    Complete,
    /// The bound on the drain was over while requests were in flight: exit code 1.
    TimedOut {
        /// How many were cut off.
        requests: u64,
    },
    /// A second signal, or [`Server::cut`](super::Server::cut), came while requests were in flight:
    /// exit code 2.
    Cut {
        /// How many were cut off.
        requests: u64,
    },
}

impl Drained {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::TimedOut { .. } => 1,
            Self::Cut { .. } => 2,
        }
    }
}

impl Termination for Drained {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
