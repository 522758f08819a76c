use std::task::Poll;

use super::readiness::Readiness;
use super::respond::Native;
use crate::common::Common;
use crate::context::path::Site;
use crate::keyed::{IntoSource, PerKey, Picked, Source};
use crate::rejection::Rejection;

/// A policy that rejects calls.
#[allow(unreachable_pub)] // In the bounds of the services.
pub trait Rejects: PerKey {
    fn common(&self) -> &Common;
}

/// What the layer and the service of a policy that rejects calls have in common: the policy, or the
/// way to that of a request, and what makes the outcome of a rejected call.
#[derive(Clone, Debug)]
pub(crate) struct Front<P, R> {
    pub(crate) policy: P,
    pub(crate) responder: R,
    site: Site,
    readiness: Readiness,
}

impl<P> Front<P, Native> {
    #[track_caller]
    pub(crate) fn new(policy: P) -> Self {
        Self {
            policy,
            responder: Native,
            site: Site::caller(),
            readiness: Readiness::default(),
        }
    }
}

impl<P, R> Front<P, R> {
    pub(crate) fn map_responder<R2>(self, change: impl FnOnce(R) -> R2) -> Front<P, R2> {
        Front {
            policy: self.policy,
            responder: change(self.responder),
            site: self.site,
            readiness: self.readiness,
        }
    }

    /// Polls the inner service, unless the policy would reject the call anyway.
    #[inline]
    pub(crate) fn poll_ready<T, E>(
        &mut self,
        would_reject: impl FnOnce(&T) -> Option<Rejection>,
        inner: impl FnOnce() -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>>
    where
        P: IntoSource<T>,
    {
        let would_reject = || would_reject(self.policy.fixed()?);
        self.readiness.poll(would_reject, inner)
    }

    /// The same for a policy that has to read the clock to know.
    #[inline]
    pub(crate) fn poll_by_clock<T, E>(
        &mut self,
        would_reject: impl FnOnce(&T) -> Option<Rejection>,
        inner: impl FnOnce() -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>>
    where
        P: IntoSource<T>,
    {
        let would_reject = || would_reject(self.policy.fixed()?);
        self.readiness.poll_by_clock(would_reject, inner)
    }

    /// What `admit` makes of the request's policy, or the rejection that was decided at readiness.
    #[inline(always)]
    pub(crate) fn admit<T: Rejects, Req, A>(
        &mut self,
        request: &Req,
        admit: impl FnOnce(Picked<'_, T>) -> Result<A, Rejection>,
    ) -> Result<A, Rejection>
    where
        P: Source<Req, T>,
    {
        if let Some(rejection) = self.readiness.take_rejection() {
            if let Some(policy) = self.policy.fixed() {
                self.site.warn_if_inside(policy);
                policy.common().emit_rejected(&rejection);
            }
            return Err(rejection);
        }
        let admitted = self.policy.pick(request).and_then(|picked| {
            self.site.warn_if_inside(picked.parts().0);
            admit(picked)
        });
        self.readiness.after(admitted)
    }
}

impl Site {
    #[inline(always)]
    fn warn_if_inside<T: Rejects>(&self, policy: &T) {
        let mode = || policy.mode();
        policy.common().warn_if_applied_twice(mode, self);
    }
}

/// The methods of a layer with a [`Front`] that set what makes the outcome of a rejected call. In
/// braces are the layer's other fields.
macro_rules! responder_methods {
    ($layer:ident<R $(, $arg:ident)*> { $($field:ident),* }) => {
        impl<R $(, $arg)*> $layer<R $(, $arg)*> {
            /// Answers a rejected call with what `respond` makes of the rejection, instead of the
            /// service's own error or response.
            pub fn respond<F>(self, respond: F) -> $layer<crate::service::RespondWith<F> $(, $arg)*> {
                self.respond_as(crate::service::RespondWith(respond))
            }

            /// Answers a rejected call by a [`Respond`](crate::service::Respond) of your own, which
            /// may read the request first.
            pub fn respond_as<R2>(self, responder: R2) -> $layer<R2 $(, $arg)*> {
                self.map_responder(|_| responder)
            }

            pub(crate) fn map_responder<R2>(self, change: impl FnOnce(R) -> R2) -> $layer<R2 $(, $arg)*> {
                $layer {
                    front: self.front.map_responder(change),
                    $($field: self.$field),*
                }
            }
        }
    };
}
pub(crate) use responder_methods;
