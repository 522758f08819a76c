//! What a call finds and leaves in a thread-local, without a panic.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Puts `value` instead of what there is. None if the thread ends.
///
/// A function of C never unwinds. This one would not either, but so the compiler knows it: what
/// stands between a call and its return must not unwind, or else the future that was made stands
/// where a panic can drop it, and is copied from there to where it stays. That of a client stack
/// has two kilobytes.
#[allow(improper_ctypes_definitions)] // Only this crate calls it.
pub(super) extern "C" fn exchange<T>(
    of: &'static LocalKey<RefCell<Option<T>>>,
    value: Option<T>,
) -> Option<T> {
    let exchanged = of.try_with(|held| {
        let mut held = held.try_borrow_mut().ok()?;
        std::mem::replace(&mut *held, value)
    });
    exchanged.ok().flatten()
}
