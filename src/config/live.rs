//! A configuration that changes while calls run.

use std::marker::PhantomData;
use std::ops::Deref;

use arc_swap::{ArcSwap, Cache, Guard};

use crate::sync::Arc;

/// The one live configuration of a policy or a stack.
///
/// A reader sees one whole configuration. A change reads the current one, makes the next and
/// installs it if no other change came between; otherwise it starts again from the newer one, so
/// that two changes of different fields both stay.
#[derive(Debug)]
pub(crate) struct Live<C>(ArcSwap<C>);

impl<C: Default> Default for Live<C> {
    fn default() -> Self {
        Self::new(C::default())
    }
}

impl<C> Live<C> {
    pub(crate) fn new(config: C) -> Self {
        Self(ArcSwap::from_pointee(config))
    }

    /// The current configuration, for the length of one decision.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Arc<C>> {
        self.0.load()
    }

    /// The current configuration, to be kept.
    pub(crate) fn full(&self) -> Arc<C> {
        self.0.load_full()
    }

    /// Reads, makes the next configuration by `next`, and installs it. Returns the previous and
    /// the next one. `next` runs again if another change came first, and changes nothing if it
    /// fails. It runs outside of every lock.
    pub(crate) fn change<E>(
        &self,
        mut next: impl FnMut(&C) -> Result<C, E>,
    ) -> Result<(Arc<C>, Arc<C>), E> {
        let mut current = self.full();
        loop {
            let made = Arc::new(next(&current)?);
            let found = self.0.compare_and_swap(&current, Arc::clone(&made));
            if Arc::ptr_eq(&found, &current) {
                return Ok((current, made));
            }
            current = Guard::into_inner(found);
        }
    }
}

/// A holder of a [`Live`] with the configuration that it saw last: a check for a newer one is one
/// relaxed load. For services, whose `call` has `&mut self`.
pub(crate) struct Cached<H, C>(Cache<Of<H, C>, Arc<C>>);

struct Of<H, C>(H, PhantomData<fn() -> C>);

impl<H: AsRef<Live<C>>, C> Deref for Of<H, C> {
    type Target = ArcSwap<C>;

    #[inline]
    fn deref(&self) -> &ArcSwap<C> {
        &self.0.as_ref().0
    }
}

impl<H: AsRef<Live<C>>, C> Cached<H, C> {
    pub(crate) fn new(holder: H) -> Self {
        Self(Cache::new(Of(holder, PhantomData)))
    }

    /// The current configuration.
    #[inline]
    pub(crate) fn load(&mut self) -> &Arc<C> {
        self.0.load()
    }
}

impl<H: Clone, C> Clone for Of<H, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

// Not derived: the configuration need not be `Clone`.
impl<H: Clone, C> Clone for Cached<H, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{Cached, Live};
    use crate::sync::Arc;

    struct Holder(Arc<Live<(u32, u32)>>);

    impl AsRef<Live<(u32, u32)>> for Holder {
        fn as_ref(&self) -> &Live<(u32, u32)> {
            &self.0
        }
    }

    #[test]
    fn cx19_two_concurrent_changes_of_different_fields_both_stay() {
        let live = Live::new((0, 0));
        let mut runs = 0;
        let changed = live.change(|now| {
            runs += 1;
            if runs == 1 {
                live.change(|now| Ok::<_, ()>((now.0, 7))).unwrap();
            }
            Ok::<_, ()>((5, now.1))
        });
        let (before, after) = changed.unwrap();
        assert_eq!(
            (*before, *after, *live.full(), runs),
            ((0, 7), (5, 7), (5, 7), 2)
        );
    }

    #[test]
    fn cx19_a_failed_change_changes_nothing() {
        let live = Live::new((1, 2));
        assert_eq!(
            live.change(|_| Err::<(u32, u32), _>("bad")).unwrap_err(),
            "bad"
        );
        assert_eq!(*live.full(), (1, 2));
    }

    #[test]
    fn cx19_a_cached_reader_sees_the_next_configuration() {
        let live = Arc::new(Live::new((1, 1)));
        let mut cached = Cached::new(Holder(Arc::clone(&live)));
        assert_eq!(**cached.load(), (1, 1));
        live.change(|_| Ok::<_, ()>((2, 2))).unwrap();
        assert_eq!(**cached.load(), (2, 2));
    }
}
