use std::fmt;
use std::time::Duration;

/// Where the delay of an attempt comes from. Only named in bounds.
#[allow(unreachable_pub)]
pub trait DelayOf<Req> {
    /// After how long without an answer attempt number `attempt` starts. None for the hedge's own
    /// delay.
    fn delay(&self, request: &Req, attempt: u32) -> Option<Duration>;
}

/// The hedge's own delay for every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own;

impl<Req> DelayOf<Req> for Own {
    fn delay(&self, _: &Req, _: u32) -> Option<Duration> {
        None
    }
}

/// A delay that a closure reads from the request and the attempt.
#[derive(Clone, Copy)]
pub struct PerRequest<F>(pub(super) F);

impl<F> fmt::Debug for PerRequest<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerRequest(..)")
    }
}

impl<Req, F: Fn(&Req, u32) -> Option<Duration>> DelayOf<Req> for PerRequest<F> {
    fn delay(&self, request: &Req, attempt: u32) -> Option<Duration> {
        (self.0)(request, attempt)
    }
}
