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
        let mut control = self.control.lock();
        control.quota = quota();
        let old = self.current();
        self.install(&mut control, &old, old.paused, Turn::Change, now);
    }

    /// Admits nothing until `until`. Exactly one token is available then, or none if more are
    /// owed. An end before the current one changes nothing.
    pub(crate) fn pause(&self, now: Tick, until: Tick) {
        let mut control = self.control.lock();
        let old = self.current();
        if until > now && until > old.paused {
            self.install(&mut control, &old, until, Turn::Pause, now);
        }
    }

    /// Ends a pause. One token is available then, or none if more are owed. An instant that was
    /// reserved after the pause stays, and no call comes before it.
    pub(crate) fn resume(&self, now: Tick) {
        let mut control = self.control.lock();
        let old = self.current();
        if old.paused > now {
            self.install(&mut control, &old, Tick::ZERO, Turn::Resume, now);
        }
    }

    /// Makes the bucket exact for good.
    #[cold]
    pub(super) fn without_stripes(&self, now: Tick) {
        let mut control = self.control.lock();
        control.striped = Striped::Never;
        let old = self.current();
        if old.stripes.1 > 0 {
            self.install(&mut control, &old, old.paused, Turn::Change, now);
        }
    }

    /// The configuration in force. Relaxed: the mutex orders it after the change that made it.
    fn current(&self) -> Config {
        let word = Word(self.word.load(Ordering::Relaxed));
        self.slot(word.generation()).read()
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

    /// Moves the origin on: once in two years.
    #[cold]
    pub(super) fn rebase(&self, now: Tick) {
        let mut control = self.control.lock();
        let old = self.current();
        if old.is_stale(now) {
            self.install(&mut control, &old, old.paused, Turn::Change, now);
        }
    }
}
