//! The policies that the running code is inside of, to detect one that is applied twice on one
//! path: on a router and on a router nested in it.
//!
//! Only in debug builds; in release builds every type here is empty. A thread-local of its own,
//! because [`CallContext`](super::CallContext) goes with a call to other tasks, and a path does not.

#[cfg(debug_assertions)]
use std::cell::Cell;
use std::fmt;
#[cfg(debug_assertions)]
use std::panic::Location;

/// The addresses of the policies. Deeper ones are not noted.
#[cfg(debug_assertions)]
type Path = [usize; 8];

#[cfg(debug_assertions)]
thread_local! {
    static PATH: Cell<Path> = const { Cell::new([0; 8]) };
}

/// Takes a policy off the path when it is dropped.
#[must_use]
pub(crate) struct Inside {
    #[cfg(debug_assertions)]
    before: Path,
}

impl Inside {
    /// The calls below are inside of this policy, which is known by the address of its state.
    #[inline(always)]
    pub(crate) fn enter<T>(policy: Option<&T>) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = policy;
        Self {
            #[cfg(debug_assertions)]
            before: PATH.with(|path| {
                let before = path.get();
                let mut after = before;
                if let (Some(policy), Some(free)) =
                    (policy, after.iter_mut().find(|entry| **entry == 0))
                {
                    *free = std::ptr::from_ref(policy).addr();
                }
                path.set(after);
                before
            }),
        }
    }

    /// Whether the running code is inside of this policy.
    #[cfg(debug_assertions)]
    pub(crate) fn of<T>(policy: &T) -> bool {
        PATH.with(|path| path.get().contains(&std::ptr::from_ref(policy).addr()))
    }
}

#[cfg(debug_assertions)]
impl Drop for Inside {
    fn drop(&mut self) {
        PATH.with(|path| path.set(self.before));
    }
}

/// Where in the program a layer was made.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    #[cfg(debug_assertions)]
    location: &'static Location<'static>,
}

/// The site of a call without a service, whose call site is not known in an async function.
pub(crate) const IN_RUN: fmt::Arguments<'static> = format_args!("`run`");

impl Site {
    /// The call site of the caller.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn caller() -> Self {
        Self {
            #[cfg(debug_assertions)]
            location: Location::caller(),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(debug_assertions)]
        return write!(f, "{}", self.location);
        #[cfg(not(debug_assertions))]
        f.write_str("..")
    }
}

#[cfg(all(
    test,
    debug_assertions,
    feature = "http",
    feature = "tower",
    feature = "tracing"
))]
mod tests;
