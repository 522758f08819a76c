//! Any policy per key.

mod table;
