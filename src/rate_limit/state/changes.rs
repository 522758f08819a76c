//! Changes of a bucket's configuration: one at a time, under the mutex.

use super::bucket::{Bucket, Control};
use super::config::{Config, Turn};
use super::stripes::Striped;
use super::word::Word;
use crate::rate_limit::quota::Quota;
use crate::sync::Ordering;
use crate::time::Tick;

impl Bucket {
    /// Changes to a valid quota. The debt stays the same number of tokens, and an instant that was
    /// granted stays.
    pub(crate) fn change(&self, now: Tick, quota: Quota) {
        self.change_to(now, || quota);
    }

    /// The same, with the quota read under the lock, so that the last change installs the last
    /// quota.
    pub(crate) fn change_to(&self, now: Tick, quota: impl FnOnce() -> Quota) {
        self.install_if(now, Turn::Change, |control, old| {
            control.quota = quota();
            Some(old.paused)
        });
    }

    /// Admits nothing until `until`. Exactly one token is available then, or none if more are
    /// owed. An end before the current one changes nothing.
    pub(crate) fn pause(&self, now: Tick, until: Tick) {
        self.install_if(now, Turn::Pause, |_, old| {
            (until > now && until > old.paused).then_some(until)
        });
    }

    /// Ends a pause. One token is available then, or none if more are owed. An instant that was
    /// reserved after the pause stays, and no call comes before it.
    pub(crate) fn resume(&self, now: Tick) {
        self.install_if(now, Turn::Resume, |_, old| {
            (old.paused > now).then_some(Tick::ZERO)
        });
    }

    /// Makes the bucket exact for good.
    #[cold]
    pub(super) fn without_stripes(&self, now: Tick) {
        self.install_if(now, Turn::Change, |control, old| {
            control.striped = Striped::Never;
            (old.stripes.1 > 0).then_some(old.paused)
        });
    }

    /// Moves the origin on: once in two years.
    #[cold]
    pub(super) fn rebase(&self, now: Tick) {
        self.install_if(now, Turn::Change, |_, old| {
            old.is_stale(now).then_some(old.paused)
        });
    }

    /// Installs the next configuration, with the end of the pause that `paused` returns, unless that
    /// is none.
    fn install_if(
        &self,
        now: Tick,
        turn: Turn,
        paused: impl FnOnce(&mut Control, &Config) -> Option<Tick>,
    ) {
        let mut control = self.control.lock();
        // Relaxed: the mutex orders it after the change that made it.
        let word = Word(self.word.load(Ordering::Relaxed));
        let old = self.slot(word.generation()).read();
        if let Some(paused) = paused(&mut control, &old) {
            self.install(&mut control, &old, paused, turn, now);
        }
    }

    fn install(&self, control: &mut Control, old: &Config, paused: Tick, turn: Turn, now: Tick) {
        // First, so that no token is spent from a stripe that the change does not count. A lease
        // that is being fetched is lost.
        let held = self.stripes.close();
        let next = old.next(now, control.quota, paused, control.striped);
        self.slot(next.changes).write(&next);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let tat = old.gather(Word(word).tat(), held, now);
            let (tat, pause) = old.carry(&next, tat, control.pause, turn, now);
            let (tat, tokens) = next.spread(tat, now);
            let to = Word::new(tat, next.changes);
            // Publishes the slot to every load of the word.
            match self
                .word
                .compare_exchange_weak(word, to.0, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => {
                    control.pause = pause;
                    if next.stripes.0 > 0 {
                        self.stripes.open(next.stripes.0, tokens);
                    }
                    return;
                }
                Err(found) => word = found,
            }
        }
    }
}
