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
    fn restart(&self, copy: &Req) -> bool;

    /// Whether this copy can be sent beside an attempt that is in flight.
    fn join(&self, copy: &Req) -> bool;
}

impl<Req, O: Only<Req>, K: Copier<Req>> SendAgain<Req> for Again<O, K> {
    fn may_resend(&self, request: &Req) -> bool {
        self.only.may_resend(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        self.copier.copy(request)
    }

    fn restart(&self, copy: &Req) -> bool {
        self.copier.restart(copy)
    }

    fn join(&self, copy: &Req) -> bool {
        self.copier.join(copy)
    }
}

/// Says which requests may be sent more than once. Only named in bounds.
#[allow(unreachable_pub)]
pub trait Only<Req> {
    fn may_resend(&self, request: &Req) -> bool;
}

impl<Req: Idempotent> Only<Req> for ByRequest {
    fn may_resend(&self, request: &Req) -> bool {
        request.is_idempotent()
    }
}

impl<Req, F: Fn(&Req) -> bool> Only<Req> for OnlyIf<F> {
    fn may_resend(&self, request: &Req) -> bool {
        (self.0)(request)
    }
}

/// Copies requests. Only named in bounds.
#[allow(unreachable_pub)]
pub trait Copier<Req> {
    fn copy(&self, request: &Req) -> Option<Req>;

    fn restart(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }

    fn join(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }
}

impl<Req: Resend> Copier<Req> for ByRequest {
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

impl<Req, G: Fn(&Req) -> Option<Req>> Copier<Req> for CopyBy<G> {
    fn copy(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
    }
}

#[cfg(feature = "http")]
impl<Req: Resend, G: Fn(&Req) -> Option<Req>> Copier<Req> for CopyOf<G> {
    fn copy(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
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
