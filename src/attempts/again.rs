use std::fmt;

use super::{Idempotent, Resend};

/// Which requests are sent again, and how they are copied: one value for retry, hedge and stack.
///
/// `O` says which requests may be sent more than once, and `K` copies them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Again<O = ByRequest, K = ByRequest> {
    only: O,
    copier: K,
}

impl<O, K> Again<O, K> {
    /// Sends the requests again for which `only` is true, instead of those that are
    /// [`Idempotent`].
    pub fn only<F>(self, only: F) -> Again<OnlyIf<F>, K> {
        let copier = self.copier;
        let only = OnlyIf(only);
        Again { only, copier }
    }

    /// Copies requests by `copy` instead of [`Resend::copy`].
    pub fn resend<F>(self, copy: F) -> Again<O, CopyBy<F>> {
        let only = self.only;
        let copier = CopyBy(copy);
        Again { only, copier }
    }

    /// Copies requests by `copy`, whose copies are [`Resend`].
    #[cfg(feature = "http")]
    pub(crate) fn resend_of<F>(self, copy: F) -> Again<O, CopyOf<F>> {
        let only = self.only;
        let copier = CopyOf(copy);
        Again { only, copier }
    }
}

/// What a retry, hedge or stack does to send a request again; implemented by [`Again`].
pub trait SendAgain<Req> {
    /// Whether the request may be sent again after it may have had its effect.
    fn may_resend(&self, request: &Req) -> bool;

    /// A copy to send. None if the request cannot be copied.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Whether this copy can still be sent after an attempt has failed.
    fn restart(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }

    /// Whether this copy can be sent beside an attempt that is in flight.
    fn join(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }
}

impl<Req: Idempotent + Resend> SendAgain<Req> for Again {
    fn may_resend(&self, request: &Req) -> bool {
        request.is_idempotent()
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        request.copy()
    }

    fn restart(&self, copy: &Req) -> bool {
        copy.restart()
    }

    fn join(&self, copy: &Req) -> bool {
        copy.join()
    }
}

impl<Req: Resend, F: Fn(&Req) -> bool> SendAgain<Req> for Again<OnlyIf<F>> {
    fn may_resend(&self, request: &Req) -> bool {
        (self.only.0)(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        request.copy()
    }

    fn restart(&self, copy: &Req) -> bool {
        copy.restart()
    }

    fn join(&self, copy: &Req) -> bool {
        copy.join()
    }
}

impl<Req: Idempotent, G: Fn(&Req) -> Option<Req>> SendAgain<Req> for Again<ByRequest, CopyBy<G>> {
    fn may_resend(&self, request: &Req) -> bool {
        request.is_idempotent()
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        (self.copier.0)(request)
    }
}

impl<Req, F, G> SendAgain<Req> for Again<OnlyIf<F>, CopyBy<G>>
where
    F: Fn(&Req) -> bool,
    G: Fn(&Req) -> Option<Req>,
{
    fn may_resend(&self, request: &Req) -> bool {
        (self.only.0)(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        (self.copier.0)(request)
    }
}

#[cfg(feature = "http")]
impl<Req, G> SendAgain<Req> for Again<ByRequest, CopyOf<G>>
where
    Req: Idempotent + Resend,
    G: Fn(&Req) -> Option<Req>,
{
    fn may_resend(&self, request: &Req) -> bool {
        request.is_idempotent()
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        (self.copier.0)(request)
    }

    fn restart(&self, copy: &Req) -> bool {
        copy.restart()
    }

    fn join(&self, copy: &Req) -> bool {
        copy.join()
    }
}

#[cfg(feature = "http")]
impl<Req, F, G> SendAgain<Req> for Again<OnlyIf<F>, CopyOf<G>>
where
    Req: Resend,
    F: Fn(&Req) -> bool,
    G: Fn(&Req) -> Option<Req>,
{
    fn may_resend(&self, request: &Req) -> bool {
        (self.only.0)(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        (self.copier.0)(request)
    }

    fn restart(&self, copy: &Req) -> bool {
        copy.restart()
    }

    fn join(&self, copy: &Req) -> bool {
        copy.join()
    }
}

/// By the request itself: [`Idempotent`] says whether it is sent again, [`Resend`] copies it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByRequest;

/// The requests for which a closure is true.
#[derive(Clone, Copy)]
pub struct OnlyIf<F>(F);

impl<F> fmt::Debug for OnlyIf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnlyIf(..)")
    }
}

/// Copies by a closure.
#[derive(Clone, Copy)]
pub struct CopyBy<F>(F);

impl<F> fmt::Debug for CopyBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyBy(..)")
    }
}

/// Copies by a closure requests whose copies share something, such as a body: whether a copy can
/// still be sent is said by [`Resend`].
#[cfg(feature = "http")]
#[derive(Clone, Copy)]
pub struct CopyOf<F>(F);

#[cfg(feature = "http")]
impl<F> fmt::Debug for CopyOf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyOf(..)")
    }
}
