//! The same client by five crates: what a user writes (`user`), and what the server and the caller
//! have of it.

pub mod contender;
pub mod faults;
pub mod row;
pub mod run;
pub mod server;
pub mod user;
