use crate::classify::for_plain_types;

/// A request that says whether it may be sent more than once.
///
/// Implemented for `http::Request` and `reqwest::Request` (features), by method or
/// `Idempotency-Key`, and for unit, numbers and text, which always may. Implement it for your own
/// `Clone` type with one line of [`resend!`](crate::resend). `.only(|request| ..)` on a layer
/// overrides it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether it may be sent more than once",
    note = "write `seawall::resend!({Self})` for a `Clone` type of yours that may be sent any number of times, or `.only(|request: &{Self}| ..)` on the layer or stack"
)]
pub trait Idempotent {
    /// Whether sending it twice has the same effect as sending it once.
    fn is_idempotent(&self) -> bool;
}

/// A request that can be copied for an extra attempt. Whether the copy may be sent is a separate
/// question: see [`Idempotent`].
///
/// Implemented for `http::Request` with a `Clone` body and for `reqwest::Request` (features), and
/// for unit, numbers and text. Implement it for your own `Clone` type with one line of
/// [`resend!`](crate::resend).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be copied to be sent again",
    note = "write `seawall::resend!({Self})` for a `Clone` type of yours, or `.resend(|request: &{Self}| ..)` on the layer or stack"
)]
pub trait Resend: Sized {
    /// A copy to send. None if this request cannot be copied.
    fn copy(&self) -> Option<Self>;

    /// Whether this copy can still be sent after an attempt has failed: false if it shares
    /// something with the request of that attempt, such as a body, that is used up. Called before
    /// each retry.
    fn restart(&self) -> bool {
        true
    }

    /// Whether this copy can be sent beside an attempt that is in flight. Called before each
    /// hedge.
    fn join(&self) -> bool {
        true
    }
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl Idempotent for $ty {
            #[inline]
            fn is_idempotent(&self) -> bool {
                true
            }
        }

        impl Resend for $ty {
            #[inline]
            fn copy(&self) -> Option<Self> {
                Some(self.clone())
            }
        }
    )*};
}

for_plain_types!(plain);
plain!(Vec<u8>);

/// Implements [`Idempotent`](crate::attempts::Idempotent) and
/// [`Resend`](crate::attempts::Resend) for your own `Clone` request type: every request may be sent
/// more than once, or those for which the expression is true.
///
/// ```
/// #[derive(Clone)]
/// struct Query(String);
///
/// seawall::resend!(Query);
///
/// #[derive(Clone)]
/// struct Command { reads: bool }
///
/// seawall::resend!(Command, |command| command.reads);
/// ```
#[macro_export]
macro_rules! resend {
    ($ty:ty) => {
        $crate::resend!($ty, |_| true);
    };
    ($ty:ty, |$request:pat_param| $may:expr) => {
        impl $crate::attempts::Idempotent for $ty {
            fn is_idempotent(&self) -> bool {
                let $request = self;
                $may
            }
        }

        impl $crate::attempts::Resend for $ty {
            fn copy(&self) -> ::core::option::Option<Self> {
                ::core::option::Option::Some(::core::clone::Clone::clone(self))
            }
        }
    };
}
