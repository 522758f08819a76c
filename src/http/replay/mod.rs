//! Request bodies that can be sent again: streamed through, and recorded up to a size.

mod body;
mod layer;
mod record;

pub use body::ReplayBody;
pub(crate) use layer::Attempted;
pub use layer::{ReplayLayer, ReplayService};
