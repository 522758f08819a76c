/// Implements [`Carrier`](crate::rejection::Carrier) for your own enum, with one variant for
/// rejections.
///
/// ```
/// use seawall::{RateLimiter, Reason, Rejection};
///
/// #[derive(Debug, thiserror::Error)]
/// enum ApiError {
///     #[error(transparent)]
///     Rejected(#[from] Rejection),
///     #[error("no such page")]
///     NotFound,
/// }
///
/// seawall::carrier!(ApiError::Rejected);
///
/// fn page(limiter: &RateLimiter) -> Result<u32, ApiError> {
///     limiter.try_acquire()?; // By `#[from]`.
///     Err(ApiError::NotFound)
/// }
///
/// let limiter = RateLimiter::per_day(1);
/// assert!(matches!(page(&limiter), Err(ApiError::NotFound)));
/// let rejected: Box<dyn std::error::Error> = page(&limiter).unwrap_err().into();
/// assert!(Reason::of(&*rejected).is_some()); // By `transparent`.
/// ```
///
/// For an enum in another module write `carrier!(api::Error, Rejected)`. For a generic enum
/// implement the trait by hand. To find the rejection again after the enum was boxed, the
/// `source()` of the variant must be that of the rejection, as with `transparent`.
///
/// `?` turns the error of a `run` into the enum, whatever the call's own error is, if the enum is
/// `From` it:
///
/// ```
/// # use seawall::{CircuitBreaker, Rejection};
/// #[derive(Debug, thiserror::Error)]
/// enum StoreError {
///     #[error(transparent)]
///     Rejected(#[from] Rejection),
///     #[error("cannot read the store")]
///     Io(#[from] std::io::Error),
/// }
///
/// seawall::carrier!(StoreError::Rejected);
///
/// async fn read(disk: &CircuitBreaker) -> Result<String, StoreError> {
///     Ok(disk.run(|| async { std::fs::read_to_string("store") }).await?)
/// }
/// # let _ = read;
/// ```
#[macro_export]
macro_rules! carrier {
    ($ty:ident :: $variant:ident) => {
        $crate::carrier!($ty, $variant);
    };
    ($ty:ty, $variant:ident) => {
        impl $crate::rejection::Carrier for $ty {
            fn carry(rejection: $crate::Rejection) -> Self {
                Self::$variant(rejection)
            }

            fn reason(&self) -> ::core::option::Option<&$crate::Reason> {
                match self {
                    Self::$variant(rejection) => ::core::option::Option::Some(rejection.reason()),
                    #[allow(unreachable_patterns)]
                    _ => ::core::option::Option::None,
                }
            }

            fn error(&self) -> ::core::option::Option<&(dyn ::std::error::Error + 'static)> {
                #[allow(unused_imports)]
                use $crate::rejection::look::{Any as _, Look, OfError as _};
                (&Look(self)).error()
            }
        }

        impl<E> ::core::convert::From<$crate::Error<E>> for $ty
        where
            $ty: ::core::convert::From<E>,
        {
            fn from(error: $crate::Error<E>) -> Self {
                match error.into_service() {
                    ::core::result::Result::Ok(error) => ::core::convert::From::from(error),
                    ::core::result::Result::Err(rejection) => Self::$variant(rejection),
                }
            }
        }
    };
}
