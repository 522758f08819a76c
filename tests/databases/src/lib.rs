//! Databases behind the policies of seawall, as the guide's page `databases` has them: a repository
//! over SQLite by sqlx, a cache over Redis, and blocking calls of rusqlite.

pub mod cache;
pub mod counters;
pub mod users;

/// The code of the page, without the links, which are those of the crate.
#[cfg(doctest)]
#[doc = include_str!("../../../src/guide/databases.md")]
mod page {}
