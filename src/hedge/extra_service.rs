use std::fmt;

/// Which service the extra attempts go to. Only named in bounds: [`Same`] and [`Other`] have it.
#[allow(unreachable_pub)]
pub trait ExtraService<S> {
    /// The template service, which the service of each extra attempt is cloned from.
    fn template(&self, first: &S) -> S;
}

/// The service of the first attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Same;

impl<S: Clone> ExtraService<S> for Same {
    fn template(&self, first: &S) -> S {
        first.clone()
    }
}

/// Another service; made by [`HedgeLayer::with`](super::HedgeLayer::with).
#[derive(Clone)]
pub struct Other<S>(pub(super) S);

impl<S: Clone> ExtraService<S> for Other<S> {
    fn template(&self, _: &S) -> S {
        self.0.clone()
    }
}

impl<S> fmt::Debug for Other<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Other(..)")
    }
}
