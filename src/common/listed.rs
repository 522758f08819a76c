//! Policies as the registry has them.

use std::any::Any;

use super::Common;
use crate::sync::Arc;

/// A policy as the registry has it.
pub(crate) trait Listed: Sized {
    /// A handle, if this is the shared state of such a policy.
    fn of_shared(shared: Arc<dyn Any + Send + Sync>) -> Option<Self>;

    fn base(&self) -> &Common;
}

/// [`Listed`] for a handle that is a tuple of its shared state.
macro_rules! listed {
    ($handle:ident, $shared:ty) => {
        impl crate::common::Listed for $handle {
            fn of_shared(
                shared: crate::sync::Arc<dyn std::any::Any + Send + Sync>,
            ) -> Option<Self> {
                shared.downcast::<$shared>().ok().map($handle)
            }

            fn base(&self) -> &crate::common::Common {
                self.common()
            }
        }
    };
}
pub(crate) use listed;
