use std::borrow::Cow;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a policy is kept per: text, bytes, an address, a number, a tuple of these, or your own
/// type by one line of [`key!`](crate::key).
///
/// A lookup takes the borrowed form (`&str`), an entry keeps the owned one (`String`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    note = "for a type of yours write `seawall::key!({Self}, ..)`, with the key that stands for requests without one; for a type of another crate use its text or its bytes"
)]
pub trait Key: Hash + Eq + ToOwned<Owned: Send + Sync + 'static> + 'static {
    /// Stands for requests without a key: the anonymous and the overflow policy are constructed
    /// with it. It is never looked up.
    fn anonymous() -> Cow<'static, Self>;

    /// The key as text, for the [registry](crate::registry). Text, addresses and numbers have one,
    /// and by default a key has none.
    ///
    /// It runs under a lock of the keyed policy, which it must not use.
    fn text(&self) -> Option<String> {
        None
    }
}

/// Makes your own type a [`Key`]. It has to be `Clone`, `Eq` and `Hash`. The second argument
/// stands for requests without a key.
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
    ($ty:ty, $anonymous:expr) => {
        impl $crate::keyed::Key for $ty {
            fn anonymous() -> ::std::borrow::Cow<'static, Self> {
                ::std::borrow::Cow::Owned($anonymous)
            }
        }
    };
}

impl Key for str {
    fn anonymous() -> Cow<'static, Self> {
        Cow::Borrowed("anonymous")
    }

    fn text(&self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl Key for [u8] {
    fn anonymous() -> Cow<'static, Self> {
        Cow::Borrowed(b"anonymous")
    }
}

impl<const N: usize> Key for [u8; N] {
    fn anonymous() -> Cow<'static, Self> {
        Cow::Owned([0; N])
    }
}

macro_rules! keys {
    ($($ty:ty: $anonymous:expr),* $(,)?) => {$(
        impl Key for $ty {
            fn anonymous() -> Cow<'static, Self> {
                Cow::Owned($anonymous)
            }

            fn text(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

crate::key!(Vec<u8>, b"anonymous".to_vec());
crate::key!((), ());

keys!(
    String: "anonymous".to_owned(),
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
            fn anonymous() -> Cow<'static, Self> {
                Cow::Owned(($($part::anonymous().into_owned(),)*))
            }
        }
    )*};
}

tuples!((A, B), (A, B, C), (A, B, C, D));
