//! What a call finds and leaves in a thread-local, without a panic.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Puts `value` instead of what there is. None if the thread ends, or if what there is, is in use:
/// `value` is then not dropped, because the drop of a body may panic.
///
/// A function of C never unwinds. This one would not either, but so the compiler knows it: what
/// stands between a call and its return must not unwind, or else the future that was made stands
/// where a panic can drop it, and is copied from there to where it stays. That of a client stack
/// has two kilobytes.
#[allow(improper_ctypes_definitions)] // Only this crate calls it.
pub(super) extern "C" fn exchange<T>(
    of: &'static LocalKey<RefCell<Option<T>>>,
    mut value: Option<T>,
) -> Option<T> {
    let exchanged = of.try_with(|held| {
        let held = held.try_borrow_mut();
        held.map(|mut held| std::mem::swap(&mut *held, &mut value))
    });
    match exchanged {
        Ok(Ok(())) => value,
        _ => {
            std::mem::forget(value);
            None
        }
    }
}
