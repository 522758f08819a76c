use crate::attempts::SendAgain;
use crate::stack::{Addressed, Overrides};

/// Which calls are retried: those that `A` sends again, unless the call itself
/// [says no](Overrides::no_retry).
#[derive(Clone, Copy, Debug)]
pub struct RetriesOf<A>(pub(super) A);

/// Which calls are hedged: those that `A` sends again, unless the call itself
/// [says no](Overrides::no_hedge).
#[derive(Clone, Copy, Debug)]
pub struct HedgesOf<A>(pub(super) A);

macro_rules! unless_overridden {
    ($of:ident, $may:ident) => {
        impl<Req: Addressed, A: SendAgain<Req>> SendAgain<Req> for $of<A> {
            #[inline]
            fn may_resend(&self, request: &Req) -> bool {
                request.overrides().is_none_or(Overrides::$may) && self.0.may_resend(request)
            }

            #[inline]
            fn copy(&self, request: &Req) -> Option<Req> {
                match request.overrides().is_none_or(Overrides::$may) {
                    true => self.0.copy(request),
                    false => None,
                }
            }

            #[inline]
            fn restart(&self, copy: &Req) -> bool {
                self.0.restart(copy)
            }

            #[inline]
            fn join(&self, copy: &Req) -> bool {
                self.0.join(copy)
            }
        }
    };
}

unless_overridden!(RetriesOf, retries);
unless_overridden!(HedgesOf, hedges);
