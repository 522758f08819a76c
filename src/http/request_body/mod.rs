//! Request bodies at a server: how long they may take, and what is left of a rejected one.

mod body;
mod layer;

pub use body::RequestBody;
pub use layer::{RequestBodyFuture, RequestBodyLayer, RequestBodyService};
