//! A policy for each key.

mod key;
mod map;
mod policy;
pub(crate) mod table;

pub use key::Key;
pub(crate) use map::Rest;
pub(crate) use policy::check_places;
pub use policy::{
    Builder, ByKey, Fixed, IntoSource, KeyOf, Keyed, Made, OwnedKey, PerKey, Picked, Refuses,
    RequestKey, Source,
};
