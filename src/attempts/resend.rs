/// A request that knows whether it may be sent more than once.
///
/// Implemented for `http::Request` with any body and for `reqwest::Request` (features), by method
/// or `Idempotency-Key`; and for unit, numbers and text, which may always be sent again. A `Clone`
/// type of yours joins with one line of [`resend!`](crate::resend). `.only(|request| ..)` on a
/// layer decides instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether it may be sent more than once",
    note = "write `seawall::resend!({Self})` for a `Clone` type of yours that may be sent any number of times, or `.only(|request: &{Self}| ..)` on the layer or stack"
)]
pub trait Idempotent {
    /// Whether sending it twice has no more effect than sending it once.
    fn is_idempotent(&self) -> bool;
}

/// A request that can be copied, to be sent again. Whether that is permitted is for
/// [`Idempotent`] to say.
///
/// Implemented for `http::Request` with a body that is `Clone` and for `reqwest::Request`
/// (features), unit, numbers and text. A `Clone` type of yours joins with one line of
/// [`resend!`](crate::resend).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be copied to be sent again",
    note = "write `seawall::resend!({Self})` for a `Clone` type of yours, or `.resend(|request: &{Self}| ..)` on the layer or stack"
)]
pub trait Resend: Sized {
    /// A copy to send. None if it cannot be copied.
    fn copy(&self) -> Option<Self>;
}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {$(
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

plain!(
    (),
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64
);
plain!(String, &'static str, Vec<u8>);

/// Makes a `Clone` request type of yours one that is sent again: always, or where an expression
/// holds.
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
