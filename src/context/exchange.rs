//! What a call finds and leaves in a thread-local, without a panic.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Exchanges `value` and what there is. False if the thread ends, and nothing is exchanged. Drops
/// nothing: the drop of a body may panic.
///
/// A function of C never unwinds. This one would not either, but so the compiler knows it: what
/// stands between a call and its return must not unwind, or else the future that was made stands
/// where a panic can drop it, and is copied from there to where it stays. That of a client stack
/// has two kilobytes.
#[allow(improper_ctypes_definitions)] // Only this crate calls it.
pub(super) extern "C" fn exchange<T>(
    of: &'static LocalKey<RefCell<Option<T>>>,
    value: &mut Option<T>,
) -> bool {
    let exchanged = of.try_with(|held| match held.try_borrow_mut() {
        Ok(mut held) => {
            std::mem::swap(&mut *held, value);
            true
        }
        Err(_) => false,
    });
    exchanged == Ok(true)
}
