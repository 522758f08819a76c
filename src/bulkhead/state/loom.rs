//! The claims under `# Orderings`, over every interleaving that the memory model allows. Who
//! waits here sleeps until he is woken, so that a wake-up that is lost is a deadlock.

use std::task::{Wake, Waker};

use ::loom::thread::{self, Thread};

use super::{Answer, MOST_QUEUED, Machine, Order, Turn};
use crate::config::Mode;
use crate::sync::{Arc, AtomicU64, Ordering};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn machine(limit: u16) -> Arc<Machine> {
    let order = Order::Fifo;
    Arc::new(Machine::new(limit, Mode::Enforce, MOST_QUEUED, order))
}

fn spawn<T: 'static>(
    machine: &Arc<Machine>,
    f: impl FnOnce(&Machine) -> T + 'static,
) -> thread::JoinHandle<T> {
    let machine = Arc::clone(machine);
    thread::spawn(move || f(&machine))
}

/// Goes ahead, queueing for as long as it takes. False if the bulkhead was closed.
fn enter(machine: &Machine) -> bool {
    let ticket = match machine.admit_or_queue() {
        Answer::Ahead => return true,
        Answer::Queued(ticket) => ticket,
        Answer::Full(word) => {
            assert_eq!(word.limit(), 0);
            return false;
        }
        answer => panic!("{answer:?}"),
    };
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match machine.look(ticket, &waker) {
            Turn::Handed => return true,
            Turn::Closed(_) => return false,
            Turn::Waits => thread::park(),
        }
    }
}

fn leave(machine: &Machine) {
    if let Some(waker) = machine.leave() {
        waker.wake();
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

fn is_empty(machine: &Machine) {
    let word = machine.word();
    assert_eq!((word.in_flight(), word.queued()), (0, 0));
    assert!(machine.line.lock().waiting.is_empty());
}

// BH1
#[test]
fn two_calls_never_share_the_last_place() {
    ::loom::model(|| {
        let machine = machine(1);
        let other = spawn(&machine, |machine| machine.admit() == Answer::Ahead);
        let here = machine.admit() == Answer::Ahead;
        let there = other.join().unwrap();
        assert!(here != there);
        assert_eq!(machine.word().in_flight(), 1);
        leave(&machine);
        is_empty(&machine);
    });
}

// BH1: what both write in the one place is never written at once, and never lost.
#[test]
fn a_place_carries_what_was_done_in_it() {
    fn add(machine: &Machine, data: &AtomicU64) {
        assert!(enter(machine));
        // No exchange: only the place keeps the two apart.
        let read = data.load(Ordering::Relaxed);
        data.store(read + 1, Ordering::Relaxed);
        leave(machine);
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

// BH1: who leaves goes to the lock for one who has quit by then, and gives the place up there:
// that too carries what was done in it.
#[test]
fn a_place_that_nobody_waits_for_any_more_carries_what_was_done_in_it() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let Answer::Queued(ticket) = machine.admit_or_queue() else {
            panic!("there is no place");
        };
        let all = Arc::new([0, 0].map(AtomicU64::new));
        let quitting = {
            let all = Arc::clone(&all);
            spawn(&machine, move |machine| {
                let [data, gone] = &*all;
                let handed = machine.quit(ticket).is_none();
                // Only so that loom tries the leaving before this: it does not where both look
                // at the word before they exchange it.
                gone.load(Ordering::Relaxed);
                if handed || machine.admit() == Answer::Ahead {
                    assert_eq!(data.load(Ordering::Relaxed), 1);
                    leave(machine);
                }
            })
        };
        let [data, gone] = &*all;
        data.store(1, Ordering::Relaxed);
        leave(&machine);
        gone.store(1, Ordering::Relaxed);
        quitting.join().unwrap();
        is_empty(&machine);
    });
}

// BH1, BH5: the place of one who left before the limit was lowered goes, when it is raised again,
// to one who has queued in between.
#[test]
fn a_place_that_is_raised_again_carries_what_was_done_in_it() {
    ::loom::model(|| {
        let machine = machine(2);
        assert_eq!(
            (machine.admit(), machine.admit()),
            (Answer::Ahead, Answer::Ahead)
        );
        let data = Arc::new(AtomicU64::new(0));
        let leaving = {
            let data = Arc::clone(&data);
            spawn(&machine, move |machine| {
                data.store(1, Ordering::Relaxed);
                leave(machine);
            })
        };
        wake(machine.set_limit(1));
        let Answer::Queued(ticket) = machine.admit_or_queue() else {
            panic!("there is no place");
        };
        wake(machine.set_limit(2));
        if machine.quit(ticket).is_none() {
            assert_eq!(data.load(Ordering::Relaxed), 1);
            leave(&machine);
        }
        leaving.join().unwrap();
        leave(&machine);
        is_empty(&machine);
    });
}

// BH4: two leave beside one who queues, and one of them hands over.
#[test]
fn who_queues_is_not_forgotten() {
    ::loom::model(|| {
        let machine = machine(2);
        assert_eq!(
            (machine.admit(), machine.admit()),
            (Answer::Ahead, Answer::Ahead)
        );
        let one = spawn(&machine, leave);
        let other = spawn(&machine, leave);
        assert!(enter(&machine));
        leave(&machine);
        one.join().unwrap();
        other.join().unwrap();
        is_empty(&machine);
    });
}

// BH4: he who is handed the place and goes away at that moment passes it on to the other.
#[test]
fn who_quits_passes_his_place_on() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let Answer::Queued(ticket) = machine.admit_or_queue() else {
            panic!("there is no place");
        };
        let leaving = spawn(&machine, leave);
        let quitting = spawn(&machine, move |machine| {
            if machine.quit(ticket).is_none() {
                leave(machine);
            }
        });
        assert!(enter(&machine));
        leave(&machine);
        leaving.join().unwrap();
        quitting.join().unwrap();
        is_empty(&machine);
    });
}

// BH4, BH5: he who is handed the place by a change, and goes away at that moment, leaves it.
#[test]
fn who_quits_beside_a_change_leaves_the_place_he_was_handed() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let Answer::Queued(ticket) = machine.admit_or_queue() else {
            panic!("there is no place");
        };
        let raising = spawn(&machine, |machine| wake(machine.set_limit(2)));
        if machine.quit(ticket).is_none() {
            leave(&machine);
        }
        raising.join().unwrap();
        leave(&machine);
        is_empty(&machine);
    });
}

// BH5
#[test]
fn a_change_of_limit_wakes_who_queues() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let raising = spawn(&machine, |machine| wake(machine.set_limit(2)));
        // Nobody leaves before it is in.
        assert!(enter(&machine));
        assert_eq!(machine.word().in_flight(), 2);
        raising.join().unwrap();
        leave(&machine);
        leave(&machine);
        is_empty(&machine);
    });
}

// BH5: never above the lower limit once who was in has left.
#[test]
fn lowering_against_leaving_hands_nothing_over() {
    ::loom::model(|| {
        let machine = machine(2);
        assert_eq!(
            (machine.admit(), machine.admit()),
            (Answer::Ahead, Answer::Ahead)
        );
        let lowering = spawn(&machine, |machine| wake(machine.set_limit(1)));
        let leaving = spawn(&machine, |machine| {
            let lowered = machine.word().limit() == 1;
            leave(machine);
            lowered
        });
        let answer = machine.admit_or_queue();
        lowering.join().unwrap();
        let lowered = leaving.join().unwrap();
        let ticket = match answer {
            Answer::Ahead => None,
            Answer::Queued(ticket) => Some(ticket),
            answer => panic!("{answer:?}"),
        };
        let handed = ticket.is_some_and(|ticket| machine.quit(ticket).is_none());
        let word = machine.word();
        let ours = u32::from(ticket.is_none() || handed);
        assert!(
            ours == 0 || !lowered,
            "a place that is no more was handed over"
        );
        assert_eq!((word.in_flight(), word.queued()), (1 + ours, 0));
        for _ in 0..word.in_flight() {
            leave(&machine);
        }
        is_empty(&machine);
    });
}

// BH5: closed, everybody who queues is told.
#[test]
fn closing_tells_who_queues() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let closing = spawn(&machine, |machine| wake(machine.set_limit(0)));
        assert!(!enter(&machine));
        closing.join().unwrap();
        leave(&machine);
        is_empty(&machine);
    });
}

// BH5: closed and opened again at once, whoever queued is told or goes ahead.
#[test]
fn opened_again_nobody_is_left_asleep() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let closing = spawn(&machine, |machine| {
            wake(machine.set_limit(0));
            wake(machine.set_limit(2));
        });
        if enter(&machine) {
            leave(&machine);
        }
        closing.join().unwrap();
        leave(&machine);
        is_empty(&machine);
    });
}

// CX19
#[test]
fn switched_off_nobody_is_left_in_the_queue() {
    ::loom::model(|| {
        let machine = machine(1);
        assert_eq!(machine.admit(), Answer::Ahead);
        let Answer::Queued(ticket) = machine.admit_or_queue() else {
            panic!("there is no place");
        };
        let off = spawn(&machine, |machine| wake(machine.set_mode(Mode::Off)));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        while machine.look(ticket, &waker) == Turn::Waits {
            thread::park();
        }
        off.join().unwrap();
        leave(&machine);
        leave(&machine);
        is_empty(&machine);
    });
}
