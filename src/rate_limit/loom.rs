//! No wake-up of a waiter is lost: either an attempt finds the tokens, or its waker is woken after.

use std::task::{Wake, Waker};

use ::loom::thread;

use super::queue::{Queues, Turn, WaiterId};
use super::state::Bucket;
use crate::rate_limit::Quota;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::time::Tick;

const NOW: Tick = Tick(1 << 50);

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Waiting {
    id: WaiterId,
    flag: Arc<Flag>,
}

struct Limit {
    queues: Queues,
    bucket: Bucket,
}

impl Limit {
    fn new(burst: u32) -> Arc<Self> {
        Arc::new(Self {
            queues: Queues::new(1),
            bucket: Bucket::new(NOW, Quota::per_second(1).burst(burst)),
        })
    }

    fn join(&self) -> Waiting {
        Waiting {
            id: self.queues.push(0, NOW, 1, Tick::NEVER),
            flag: Arc::default(),
        }
    }

    fn leave(&self, id: WaiterId) {
        let next = self.queues.remove(0, id);
        next.into_iter().for_each(Waker::wake);
    }

    /// One poll of a waiter. Returns whether it got its token.
    fn attempt(&self, waiting: &Waiting) -> bool {
        let waker = Waker::from(Arc::clone(&waiting.flag));
        let (turn, next) = self.queues.poll(0, waiting.id, Tick::NEVER, &waker, NOW);
        assert!(next.is_none());
        let got = turn == Turn::Head && self.bucket.take_late(NOW).is_ok();
        if got {
            self.leave(waiting.id);
        }
        got
    }
}

fn woken(waiting: &Waiting) -> bool {
    waiting.flag.0.load(Ordering::Relaxed)
}

// RL4, RL17
#[test]
fn a_refund_reaches_the_head() {
    ::loom::model(|| {
        let limit = Limit::new(1);
        let charge = limit.bucket.take(NOW, NOW, 1, NOW).unwrap();
        let head = limit.join();
        let thread = {
            let limit = Arc::clone(&limit);
            thread::spawn(move || {
                limit.bucket.refund(&charge, 1, NOW);
                limit.queues.head(0).into_iter().for_each(Waker::wake);
            })
        };
        let got = limit.attempt(&head);
        thread.join().unwrap();
        assert!(got || woken(&head));
    });
}

// RL4, CX19
#[test]
fn a_change_reaches_every_waiter() {
    ::loom::model(|| {
        let limit = Limit::new(1);
        assert!(limit.bucket.admit(NOW, 1).is_ok());
        let (head, next) = (limit.join(), limit.join());
        let thread = {
            let limit = Arc::clone(&limit);
            thread::spawn(move || {
                limit.bucket.change(NOW, Quota::unlimited());
                limit.queues.all().into_iter().for_each(Waker::wake);
            })
        };
        let first = limit.attempt(&head);
        let second = limit.attempt(&next);
        thread.join().unwrap();
        // A head that was woken takes its token, and wakes the next.
        assert!(first || (woken(&head) && limit.attempt(&head)));
        assert!(second || woken(&next));
    });
}

// RL4: dropped, and admitted.
#[test]
fn a_head_that_leaves_wakes_the_next() {
    ::loom::model(|| {
        let limit = Limit::new(1);
        let (head, next) = (limit.join(), limit.join());
        let id = head.id;
        let thread = {
            let limit = Arc::clone(&limit);
            thread::spawn(move || limit.leave(id))
        };
        let got = limit.attempt(&next);
        thread.join().unwrap();
        assert!(got || woken(&next));
        assert_eq!(limit.queues.any(), !got);
    });
}
