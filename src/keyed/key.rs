use std::borrow::Cow;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a policy is had per: text, bytes, an address, a number, a tuple of them, or a type of
/// your own by one line of [`key!`](crate::key).
///
/// A key is looked up as it is borrowed (`&str`), and kept as it is owned (`String`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key",
    note = "write `seawall::key!({Self}, ..)` for a type of yours, with the key that stands for nobody; for a type of another crate use its text or its bytes"
)]
pub trait Key: Hash + Eq + ToOwned<Owned: Send + Sync + 'static> + 'static {
    /// What stands for whoever has no key: the anonymous policy is made with it, and so is the
    /// one that serves whoever finds no place. Nothing is looked up by it.
    fn nobody() -> Cow<'static, Self>;
}

impl Key for str {
    fn nobody() -> Cow<'static, Self> {
        Cow::Borrowed("anonymous")
    }
}

impl Key for [u8] {
    fn nobody() -> Cow<'static, Self> {
        Cow::Borrowed(b"anonymous")
    }
}

impl<const N: usize> Key for [u8; N] {
    fn nobody() -> Cow<'static, Self> {
        Cow::Owned([0; N])
    }
}

macro_rules! keys {
    ($($ty:ty: $nobody:expr),* $(,)?) => {$(
        impl Key for $ty {
            fn nobody() -> Cow<'static, Self> {
                Cow::Owned($nobody)
            }
        }
    )*};
}

keys!(
    String: "anonymous".to_owned(),
    Vec<u8>: b"anonymous".to_vec(),
    (): (),
    bool: false,
    char: '\0',
    u8: 0,
    u16: 0,
    u32: 0,
    u64: 0,
    u128: 0,
    usize: 0,
    i32: 0,
    i64: 0,
    IpAddr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    Ipv4Addr: Ipv4Addr::UNSPECIFIED,
    Ipv6Addr: Ipv6Addr::UNSPECIFIED,
    SocketAddr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
);

#[cfg(feature = "http")]
keys!(http::uri::Authority: http::uri::Authority::from_static("anonymous"));

macro_rules! tuples {
    ($(($($part:ident),*)),*) => {$(
        impl<$($part),*> Key for ($($part,)*)
        where
            $($part: Key + ToOwned<Owned = $part> + Clone + Send + Sync),*
        {
            fn nobody() -> Cow<'static, Self> {
                Cow::Owned(($($part::nobody().into_owned(),)*))
            }
        }
    )*};
}

tuples!((A, B), (A, B, C), (A, B, C, D));

/// Lets a type of yours be a key. It has to be `Clone`, `Eq` and `Hash`; the second argument
/// stands for nobody.
///
/// ```
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// enum Tenant {
///     Guest,
///     Account(u64),
/// }
///
/// seawall::key!(Tenant, Tenant::Guest);
/// # let _ = Tenant::Account(1);
/// ```
#[macro_export]
macro_rules! key {
    ($ty:ty, $nobody:expr) => {
        impl $crate::keyed::Key for $ty {
            fn nobody() -> ::std::borrow::Cow<'static, Self> {
                ::std::borrow::Cow::Owned($nobody)
            }
        }
    };
}
