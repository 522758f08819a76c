//! What one layer hands to the layer that makes its call.

use std::any::Any;
use std::cell::{Cell, RefCell};

use super::exchange::exchange;
use crate::sync::Arc;

thread_local! {
    /// Whether there is a value. It is read for each call, and has no drop, so that this costs one
    /// load.
    static ANY: Cell<bool> = const { Cell::new(false) };
    /// By the call that is being made.
    static OFFERED: RefCell<Option<Arc<dyn Any + Send + Sync>>> = const { RefCell::new(None) };
}

/// Hands a value to a layer around the service that is called now.
pub(crate) fn offer(value: Arc<dyn Any + Send + Sync>) {
    ANY.set(true);
    OFFERED.set(Some(value));
}

/// The value that a layer further down has offered while it was called, if it is a `T`.
#[inline]
pub(crate) fn offered<T: Any + Send + Sync>() -> Option<Arc<T>> {
    match ANY.replace(false) {
        true => take(),
        false => None,
    }
}

// Like `exchange`, it never unwinds: it stands between the call and its return.
#[cold]
#[allow(improper_ctypes_definitions)] // Only this crate calls it.
extern "C" fn take<T: Any + Send + Sync>() -> Option<Arc<T>> {
    exchange(&OFFERED, None)?.downcast().ok()
}
