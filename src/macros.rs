//! What many types repeat.

/// Setters of a builder, each with the field that it sets and the value that it gets there.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) => $($field:ident).+ = $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self $(, $arg: $ty)*) -> Self {
            self.$($field).+ = $value;
            self
        }
    )*};
}
pub(crate) use setters;

/// `Debug` of a type that shows some of its fields, computed from `$this`.
macro_rules! debug_fields {
    ($([$($generics:tt)*])? $name:ident $(<$($arg:ident),*>)?, $this:ident: $($field:ident = $value:expr),*) => {
        impl<$($($generics)*)?> std::fmt::Debug for $name $(<$($arg),*>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $this = self;
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), &$value))*
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use debug_fields;

/// A reference to a handle gives another handle, where either is taken.
macro_rules! from_ref {
    ($handle:ty) => {
        impl From<&$handle> for $handle {
            fn from(handle: &$handle) -> Self {
                handle.clone()
            }
        }
    };
}
pub(crate) use from_ref;

/// `Serialize` by the label, with the feature `serde`.
macro_rules! serialize_label {
    ($($ty:ty),*) => {$(
        #[cfg(feature = "serde")]
        impl serde::Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.label())
            }
        }
    )*};
}
pub(crate) use serialize_label;
