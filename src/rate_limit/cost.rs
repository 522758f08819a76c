use std::fmt;

/// The cost of a call in tokens.
#[allow(unreachable_pub)] // In the bounds of the services.
pub trait Cost<Req> {
    /// The cost of every request, if it is known without one.
    const FIXED: Option<u32>;

    /// The cost of this request.
    fn cost(&self, request: &Req) -> u32;
}

/// One token for every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct One;

impl<Req> Cost<Req> for One {
    const FIXED: Option<u32> = Some(1);

    fn cost(&self, _: &Req) -> u32 {
        1
    }
}

/// A cost that a closure computes from the request.
#[derive(Clone, Copy)]
pub struct PerRequest<F>(F);

impl<F> PerRequest<F> {
    pub(super) fn new(cost: F) -> Self {
        Self(cost)
    }
}

impl<F> fmt::Debug for PerRequest<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerRequest(..)")
    }
}

impl<Req, F: Fn(&Req) -> u32> Cost<Req> for PerRequest<F> {
    const FIXED: Option<u32> = None;

    fn cost(&self, request: &Req) -> u32 {
        (self.0)(request)
    }
}
