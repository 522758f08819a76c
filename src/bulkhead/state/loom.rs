//! The claims of "Memory ordering", over every interleaving that the memory model allows. A waiter
//! here sleeps until it is woken, so that a lost wake-up is a deadlock.

use std::task::{Wake, Waker};

use ::loom::thread::{self, Thread};

use super::{Admission, MAX_QUEUED, Machine, Order, Settings, WaiterId, WaiterState};
use crate::config::Mode;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Tick;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn settings(limit: u32, mode: Mode) -> Settings {
    let order = Order::Fifo;
    Settings { limit, mode, order }
}

fn machine(limit: u32) -> Arc<Machine> {
    Arc::new(Machine::new(settings(limit, Mode::Enforce)))
}

fn set_limit(machine: &Machine, limit: u32) {
    let admitted = machine.apply(|| settings(limit, Mode::Enforce));
    admitted.into_iter().for_each(Waker::wake);
}

fn queue(machine: &Machine) -> WaiterId {
    queue_until(machine, Tick::NEVER)
}

fn queue_until(machine: &Machine, until: Tick) -> WaiterId {
    match machine.admit_or_queue(MAX_QUEUED, until) {
        Admission::Queued(waiter) => waiter,
        admission => panic!("a permit is free: {admission:?}"),
    }
}

/// Sleeps until the wait ends. False if the bulkhead was closed.
fn wait(machine: &Machine, waiter: WaiterId) -> bool {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match machine.poll_waiter(waiter, Tick::NEVER, &waker) {
            WaiterState::Admitted => return true,
            WaiterState::Closed(_) => return false,
            WaiterState::TakenOver(_) => panic!("a wait without an end"),
            WaiterState::Waiting => thread::park(),
        }
    }
}

fn spawn<T: 'static>(
    machine: &Arc<Machine>,
    f: impl FnOnce(&Machine) -> T + 'static,
) -> thread::JoinHandle<T> {
    let machine = Arc::clone(machine);
    thread::spawn(move || f(&machine))
}

/// Admits a call, which waits as long as it takes. False if the bulkhead was closed.
fn enter(machine: &Machine) -> bool {
    match machine.admit_or_queue(MAX_QUEUED, Tick::NEVER) {
        Admission::Admitted => true,
        Admission::Queued(waiter) => wait(machine, waiter),
        Admission::Full(word) => {
            assert_eq!(word.limit(), 0);
            false
        }
        admission => panic!("{admission:?}"),
    }
}

fn release(machine: &Machine) {
    if let Some(waker) = machine.release() {
        waker.wake();
    }
}

fn is_empty(machine: &Machine) {
    let word = machine.word();
    assert_eq!((word.in_flight(), word.queued()), (0, 0));
    let queue = machine.queue.lock();
    assert!(queue.waiters.is_empty() && queue.admitted.is_empty());
}

// BH1
#[test]
fn two_calls_never_share_the_last_permit() {
    ::loom::model(|| {
        let machine = machine(1);
        let other = spawn(&machine, |machine| machine.admit() == Admission::Admitted);
        let here = machine.admit() == Admission::Admitted;
        let there = other.join().unwrap();
        assert!(here != there);
        assert_eq!(machine.word().in_flight(), 1);
        release(&machine);
        is_empty(&machine);
    });
}

// BH1: two calls under one permit never write at once, and no write is lost.
#[test]
fn a_permit_carries_what_its_call_did() {
    fn add(machine: &Machine, data: &AtomicU64) {
        assert!(enter(machine));
        // Not an exchange: only the permit keeps the two apart.
        let read = data.load(Ordering::Relaxed);
        data.store(read + 1, Ordering::Relaxed);
        release(machine);
    }
    ::loom::model(|| {
        let machine = machine(1);
        let data = Arc::new(AtomicU64::new(0));
        let other = {
            let data = Arc::clone(&data);
            spawn(&machine, move |machine| add(machine, &data))
        };
        add(&machine, &data);
        other.join().unwrap();
        assert_eq!(data.load(Ordering::Relaxed), 2);
        is_empty(&machine);
    });
}

// BH1: a call that ends takes the lock for a waiter that was cancelled meanwhile, and frees its
// permit there. That too carries what the call did.
#[test]
fn a_permit_without_a_waiter_carries_what_its_call_did() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let waiter = queue(&machine);
        let all = Arc::new([0, 0].map(AtomicU64::new));
        let cancelling = {
            let all = Arc::clone(&all);
            spawn(&machine, move |machine| {
                let [data, ended] = &*all;
                let handed = machine.cancel(waiter).is_none();
                // So that loom tries the end of the other call before this: it does not if both
                // read the word before they exchange it.
                ended.load(Ordering::Relaxed);
                if handed || machine.admit() == Admission::Admitted {
                    assert_eq!(data.load(Ordering::Relaxed), 1);
                    release(machine);
                }
            })
        };
        let [data, ended] = &*all;
        data.store(1, Ordering::Relaxed);
        release(&machine);
        ended.store(1, Ordering::Relaxed);
        cancelling.join().unwrap();
        is_empty(&machine);
    });
}

// BH1, BH5: the permit of a call that ended before the limit was lowered goes, when the limit is
// raised again, to a call that queued in between.
#[test]
fn a_permit_of_a_raised_limit_carries_what_its_call_did() {
    ::loom::model(|| {
        let machine = machine(2);
        assert_eq!(
            (machine.admit(), machine.admit()),
            (Admission::Admitted, Admission::Admitted)
        );
        let data = Arc::new(AtomicU64::new(0));
        let ending = {
            let data = Arc::clone(&data);
            spawn(&machine, move |machine| {
                data.store(1, Ordering::Relaxed);
                release(machine);
            })
        };
        set_limit(&machine, 1);
        let waiter = queue(&machine);
        set_limit(&machine, 2);
        if machine.cancel(waiter).is_none() {
            assert_eq!(data.load(Ordering::Relaxed), 1);
            release(&machine);
        }
        ending.join().unwrap();
        release(&machine);
        is_empty(&machine);
    });
}

// BH4: two calls end while another one queues, and one of them hands its permit over.
#[test]
fn a_new_waiter_gets_a_permit_that_is_released() {
    ::loom::model(|| {
        let machine = machine(2);
        assert_eq!(
            (machine.admit(), machine.admit()),
            (Admission::Admitted, Admission::Admitted)
        );
        let one = spawn(&machine, release);
        let other = spawn(&machine, release);
        assert!(enter(&machine));
        release(&machine);
        one.join().unwrap();
        other.join().unwrap();
        is_empty(&machine);
    });
}

// BH4: a waiter that is cancelled when it is handed a permit passes it on to the other.
#[test]
fn a_cancelled_waiter_passes_its_permit_on() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let waiter = queue(&machine);
        let ending = spawn(&machine, release);
        let cancelling = spawn(&machine, move |machine| {
            if machine.cancel(waiter).is_none() {
                release(machine);
            }
        });
        assert!(enter(&machine));
        release(&machine);
        ending.join().unwrap();
        cancelling.join().unwrap();
        is_empty(&machine);
    });
}

// BH4: an admitted waiter is polled when the end of its wait lets the other take its permit over.
// One of the two gets it.
#[test]
fn a_permit_is_collected_or_taken_over() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let first = queue_until(&machine, Tick(1));
        let second = queue_until(&machine, Tick(2));
        release(&machine);
        let collecting = spawn(&machine, move |machine| {
            match machine.poll_waiter(first, Tick(1), Waker::noop()) {
                WaiterState::Admitted => true,
                WaiterState::TakenOver(_) => false,
                state => panic!("{state:?}"),
            }
        });
        let admitted = machine.take_over(Tick(2), Some(second));
        admitted.into_iter().for_each(Waker::wake);
        let taken_over = machine.cancel(second).is_none();
        let collected = collecting.join().unwrap();
        assert!(collected != taken_over);
        assert_eq!(machine.word().in_flight(), 1);
        release(&machine);
        is_empty(&machine);
    });
}

// BH4: the waiter that times out when the permit is released gets it after the first one, whose
// wait has ended too, or has cancelled its wait before. No permit is lost.
#[test]
fn a_permit_released_at_the_end_of_all_waits_is_not_lost() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let first = queue_until(&machine, Tick(1));
        let second = queue_until(&machine, Tick(1));
        let ending = spawn(&machine, release);
        let admitted = machine.take_over(Tick(1), Some(second));
        admitted.into_iter().for_each(Waker::wake);
        let taken_over = machine.cancel(second).is_none();
        ending.join().unwrap();
        let admitted = machine.cancel(first).is_none();
        assert!(admitted != taken_over);
        release(&machine);
        is_empty(&machine);
    });
}

// BH4, BH5: a waiter that is cancelled when a change admits it releases its permit.
#[test]
fn a_waiter_cancelled_during_a_change_releases_its_permit() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let waiter = queue(&machine);
        let raising = spawn(&machine, |machine| set_limit(machine, 2));
        if machine.cancel(waiter).is_none() {
            release(&machine);
        }
        raising.join().unwrap();
        release(&machine);
        is_empty(&machine);
    });
}

// BH5
#[test]
fn a_raised_limit_wakes_the_waiter() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let raising = spawn(&machine, |machine| set_limit(machine, 2));
        // No call ends before this one is admitted.
        assert!(enter(&machine));
        assert_eq!(machine.word().in_flight(), 2);
        raising.join().unwrap();
        release(&machine);
        release(&machine);
        is_empty(&machine);
    });
}

// BH5: never above the lower limit once a call has ended.
#[test]
fn a_lowered_limit_admits_no_waiter() {
    ::loom::model(|| {
        let machine = machine(2);
        assert_eq!(
            (machine.admit(), machine.admit()),
            (Admission::Admitted, Admission::Admitted)
        );
        let lowering = spawn(&machine, |machine| set_limit(machine, 1));
        let ending = spawn(&machine, |machine| {
            let lowered = machine.word().limit() == 1;
            release(machine);
            lowered
        });
        let admission = machine.admit_or_queue(MAX_QUEUED, Tick::NEVER);
        lowering.join().unwrap();
        let lowered = ending.join().unwrap();
        let waiter = match admission {
            Admission::Admitted => None,
            Admission::Queued(waiter) => Some(waiter),
            admission => panic!("{admission:?}"),
        };
        let handed = waiter.is_some_and(|waiter| machine.cancel(waiter).is_none());
        let word = machine.word();
        let ours = u32::from(waiter.is_none() || handed);
        assert!(
            ours == 0 || !lowered,
            "a permit above the limit was handed over"
        );
        assert_eq!((word.in_flight(), word.queued()), (1 + ours, 0));
        for _ in 0..word.in_flight() {
            release(&machine);
        }
        is_empty(&machine);
    });
}

// BH5
#[test]
fn a_closed_bulkhead_wakes_its_waiters() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let closing = spawn(&machine, |machine| set_limit(machine, 0));
        assert!(!enter(&machine));
        closing.join().unwrap();
        release(&machine);
        is_empty(&machine);
    });
}

// BH5: a waiter is rejected or admitted, whichever change it sees.
#[test]
fn a_bulkhead_closed_and_reopened_leaves_no_waiter_asleep() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let closing = spawn(&machine, |machine| {
            set_limit(machine, 0);
            set_limit(machine, 2);
        });
        if enter(&machine) {
            release(&machine);
        }
        closing.join().unwrap();
        release(&machine);
        is_empty(&machine);
    });
}

// CX19
#[test]
fn a_switched_off_bulkhead_admits_its_waiters() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Admission::Admitted);
        let waiter = queue(&machine);
        let off = spawn(&machine, |machine| {
            let admitted = machine.apply(|| settings(1, Mode::Off));
            admitted.into_iter().for_each(Waker::wake);
        });
        assert!(wait(&machine, waiter));
        off.join().unwrap();
        release(&machine);
        release(&machine);
        is_empty(&machine);
    });
}
