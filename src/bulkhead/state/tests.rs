use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::{
    Admission, MAX_IN_FLIGHT, MAX_QUEUED, Machine, Order, Settings, WaiterId, WaiterState,
};
use crate::config::Mode;
use crate::fuzzing::cases;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Tick;

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn settings(limit: u32, mode: Mode) -> Settings {
    let order = Order::Fifo;
    Settings { limit, mode, order }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Admit,
    Queue,
    Release,
    /// Polls one of the waiters: which, modulo their number.
    Poll(usize),
    Cancel(usize),
    /// Time passes, and permits that were not collected in time are taken over.
    Later(u64),
    Limit(u32),
    MaxQueued(u32),
    Mode(Mode),
    Order(Order),
}

/// The naive bulkhead: a list of its waiters, searched every time.
struct Naive {
    settings: Settings,
    max_queued: usize,
    in_flight: usize,
    /// Oldest first.
    waiting: Vec<WaiterId>,
    /// Admitted, and not polled since; oldest first.
    uncollected: Vec<WaiterId>,
    next: u64,
    now: u64,
    /// When the wait of each call ends that ever queued.
    ends: Vec<u64>,
}

/// How long a call waits: every third one not as long.
fn wait(waiter: u64) -> u64 {
    if waiter % 3 == 0 { 2 } else { 5 }
}

#[derive(Debug, PartialEq)]
enum Decision {
    Admitted,
    AboveLimit,
    Uncounted,
    Queued(WaiterId),
    Full,
}

impl Naive {
    fn limit(&self) -> usize {
        self.settings.limit as usize
    }

    fn decide(&mut self, queue: bool) -> Decision {
        if self.settings.mode == Mode::Off {
            return Decision::Uncounted;
        }
        if self.waiting.is_empty() && self.in_flight < self.limit() {
            self.in_flight += 1;
            return Decision::Admitted;
        }
        if self.settings.mode == Mode::RecordOnly {
            self.in_flight += 1;
            return Decision::AboveLimit;
        }
        if queue && self.limit() > 0 && self.waiting.len() < self.max_queued {
            let waiter = WaiterId(self.next);
            self.waiting.push(waiter);
            self.next += 1;
            self.ends.push(self.now + wait(waiter.0));
            return Decision::Queued(waiter);
        }
        Decision::Full
    }

    /// The waiters that are admitted, now that something has changed.
    fn admitted(&mut self) -> Vec<WaiterId> {
        let mut admitted = Vec::new();
        let max = match self.settings.mode {
            Mode::Enforce => self.limit(),
            _ => usize::MAX,
        };
        while !self.waiting.is_empty() && self.in_flight < max {
            let next = match self.settings.order {
                Order::Fifo => 0,
                Order::Lifo => self.waiting.len() - 1,
            };
            let waiter = self.waiting.remove(next);
            admitted.push(waiter);
            self.uncollected.push(waiter);
            self.uncollected.sort_unstable();
            self.in_flight += 1;
        }
        admitted
    }

    /// Takes over the permits that were not collected in time, one after the other.
    fn take_over(&mut self) -> Vec<WaiterId> {
        let mut admitted = Vec::new();
        while let Some(at) = self.late() {
            self.uncollected.remove(at);
            self.in_flight -= 1;
            admitted.extend(self.admitted());
        }
        admitted
    }

    fn late(&self) -> Option<usize> {
        let late = |waiter: &WaiterId| self.ends[waiter.0 as usize] <= self.now;
        self.uncollected.iter().position(late)
    }

    fn collect(&mut self, waiter: WaiterId) -> bool {
        let found = self.uncollected.iter().position(|other| *other == waiter);
        found.is_some_and(|at| self.uncollected.remove(at) == waiter)
    }
}

fn decision(admission: Admission) -> Decision {
    match admission {
        Admission::Admitted => Decision::Admitted,
        Admission::AboveLimit(_) => Decision::AboveLimit,
        Admission::Uncounted => Decision::Uncounted,
        Admission::Queued(waiter) => Decision::Queued(waiter),
        Admission::Full(_) => Decision::Full,
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let mode = prop_oneof![
        8 => Just(Mode::Enforce),
        1 => Just(Mode::RecordOnly),
        1 => Just(Mode::Off),
    ];
    let op = prop_oneof![
        3 => Just(Op::Admit),
        6 => Just(Op::Queue),
        6 => Just(Op::Release),
        3 => (0..64_usize).prop_map(Op::Poll),
        2 => (0..64_usize).prop_map(Op::Cancel),
        2 => (0..4_u64).prop_map(Op::Later),
        2 => (0..6_u32).prop_map(Op::Limit),
        1 => (0..6_u32).prop_map(Op::MaxQueued),
        1 => mode.prop_map(Op::Mode),
        1 => prop_oneof![Just(Order::Fifo), Just(Order::Lifo)].prop_map(Op::Order),
    ];
    // Most are short, so that a failure is.
    prop_oneof![
        9 => prop::collection::vec(op.clone(), 0..120),
        1 => prop::collection::vec(op, 0..3_000),
    ]
}

fn check(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut naive = Naive {
        settings: settings(2, Mode::Enforce),
        max_queued: 3,
        in_flight: 0,
        waiting: Vec::new(),
        uncollected: Vec::new(),
        next: 0,
        now: 0,
        ends: Vec::new(),
    };
    let machine = Machine::new(naive.settings);
    // The waiters whose wait has not ended, and their wakes.
    let mut waiters: Vec<(WaiterId, Arc<Wakes>)> = Vec::new();
    // The waiters that a closing woke and that were not polled since: they are not woken again.
    let mut closed: Vec<WaiterId> = Vec::new();
    for op in ops {
        let mut woken: Vec<Waker> = Vec::new();
        let mut admitted = Vec::new();
        match op {
            Op::Admit => prop_assert_eq!(decision(machine.admit()), naive.decide(false)),
            Op::Queue => {
                let decided =
                    decision(machine.admit_or_queue(
                        naive.max_queued as u32,
                        Tick(naive.now + wait(naive.next)),
                    ));
                prop_assert_eq!(&decided, &naive.decide(true));
                if let Decision::Queued(waiter) = decided {
                    let wakes = Arc::new(Wakes::default());
                    let waker = Waker::from(Arc::clone(&wakes));
                    let until = Tick(naive.ends[waiter.0 as usize]);
                    let state = machine.poll_waiter(waiter, until, &waker);
                    prop_assert_eq!(state, WaiterState::Waiting);
                    waiters.push((waiter, wakes));
                }
            }
            // A waiter that was admitted and not polled since has no permit to release yet.
            Op::Release if naive.in_flight == naive.uncollected.len() => {}
            Op::Release => {
                woken.extend(machine.release());
                naive.in_flight -= 1;
                admitted = naive.admitted();
                prop_assert!(admitted.len() <= 1);
            }
            Op::Poll(_) | Op::Cancel(_) if waiters.is_empty() => {}
            Op::Poll(which) => {
                let at = which % waiters.len();
                let (waiter, wakes) = &waiters[at];
                let waker = Waker::from(Arc::clone(wakes));
                let waits = naive.waiting.contains(waiter);
                let until = Tick(naive.ends[waiter.0 as usize]);
                let state = machine.poll_waiter(*waiter, until, &waker);
                let uncollected = naive.collect(*waiter);
                closed.retain(|other| other != waiter);
                match state {
                    WaiterState::Admitted => prop_assert!(uncollected),
                    WaiterState::TakenOver(_) => prop_assert!(!waits && !uncollected),
                    WaiterState::Waiting => prop_assert!(waits && naive.limit() > 0),
                    WaiterState::Closed(word) => {
                        prop_assert!(waits && naive.limit() == 0);
                        prop_assert_eq!(word.queued() as usize, naive.waiting.len());
                        naive.waiting.retain(|other| other != waiter);
                    }
                }
                if state != WaiterState::Waiting {
                    waiters.remove(at);
                }
            }
            Op::Cancel(which) => {
                let (waiter, _) = waiters.remove(which % waiters.len());
                let waits = naive.waiting.contains(&waiter);
                naive.waiting.retain(|other| *other != waiter);
                let uncollected = naive.collect(waiter);
                prop_assert!(!waits || !uncollected);
                prop_assert_eq!(machine.cancel(waiter).is_none(), uncollected);
                if uncollected {
                    woken.extend(machine.release());
                    naive.in_flight -= 1;
                    admitted = naive.admitted();
                }
            }
            Op::Later(by) => {
                naive.now += by;
                admitted = naive.take_over();
                woken = machine.take_over(Tick(naive.now), None);
            }
            Op::MaxQueued(max) => naive.max_queued = max as usize,
            Op::Limit(_) | Op::Mode(_) | Op::Order(_) => {
                match op {
                    Op::Limit(limit) => naive.settings.limit = limit,
                    Op::Mode(mode) => naive.settings.mode = mode,
                    Op::Order(order) => naive.settings.order = order,
                    _ => {}
                }
                admitted = naive.admitted();
                woken = machine.apply(|| naive.settings);
            }
        }
        woken.into_iter().for_each(Waker::wake);
        // The waiters that were admitted are woken, and no other, except by a closing.
        for (waiter, wakes) in &waiters {
            let woken = wakes.0.swap(0, Ordering::Relaxed);
            if admitted.contains(waiter) {
                prop_assert!(woken == 1 || closed.contains(waiter), "{:?}", waiter);
            } else if naive.limit() > 0 {
                prop_assert_eq!(woken, 0);
            } else if naive.waiting.contains(waiter) && !closed.contains(waiter) {
                prop_assert_eq!(woken, 1);
                closed.push(*waiter);
            }
        }
        let word = machine.word();
        prop_assert_eq!(word.in_flight() as usize, naive.in_flight);
        prop_assert!(word.queued() == 0 || !word.has_permit());
        prop_assert_eq!(word.queued() as usize, naive.waiting.len());
        let (limit, mode) = (naive.settings.limit, naive.settings.mode);
        prop_assert_eq!((word.limit(), word.mode()), (limit, mode));
        let queue = machine.queue.lock();
        let queued: Vec<WaiterId> = queue.waiters.iter().map(|entry| entry.id).collect();
        prop_assert_eq!(queued, naive.waiting.clone());
        let uncollected: Vec<WaiterId> = queue.admitted.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(uncollected, naive.uncollected.clone());
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(500))]

    // BH1, BH2, BH4, BH5, CX16
    #[test]
    fn bh1_bh4_bh5_the_machine_decides_like_the_naive_bulkhead(ops in ops()) {
        check(ops)?;
    }
}

fn fill(machine: &Machine, waiters: u64) {
    for waiter in 0..waiters {
        let queued = Admission::Queued(WaiterId(waiter));
        assert_eq!(machine.admit_or_queue(10, Tick::NEVER), queued);
    }
}

#[test]
fn bh2_an_unbounded_queue_ends_at_the_highest_count() {
    let machine = Machine::new(settings(1, Mode::Enforce));
    assert_eq!(machine.admit(), Admission::Admitted);
    // As if a million calls had queued; only their number matters here.
    let one_less = (0..MAX_QUEUED - 1).fold(machine.word(), |word, _| word.waiter_queued());
    machine.word.store(one_less.0, Ordering::Relaxed);
    let queued = Admission::Queued(WaiterId(0));
    assert_eq!(machine.admit_or_queue(MAX_QUEUED, Tick::NEVER), queued);
    let Admission::Full(word) = machine.admit_or_queue(MAX_QUEUED, Tick::NEVER) else {
        panic!("the count wrapped");
    };
    assert_eq!(
        (word.limit(), word.in_flight(), word.queued()),
        (1, 1, MAX_QUEUED)
    );
    // CX19: all of them are admitted at once, and the counts are still right.
    drop(machine.apply(|| settings(1, Mode::Off)));
    assert_eq!(machine.word().in_flight(), 1 + MAX_QUEUED);
    assert_eq!(machine.word().queued(), 0);
}

#[test]
fn cx16_calls_above_the_highest_count_are_admitted_uncounted() {
    let machine = Machine::new(settings(1, Mode::RecordOnly));
    let full = (0..MAX_IN_FLIGHT - 1).fold(machine.word(), |word, _| word.call_admitted());
    machine.word.store(full.0, Ordering::Relaxed);
    assert_eq!(machine.admit(), Admission::AboveLimit(full));
    assert_eq!(machine.admit(), Admission::Uncounted);
    let word = machine.word();
    assert_eq!((word.in_flight(), word.queued()), (MAX_IN_FLIGHT, 0));
    assert_eq!((word.limit(), word.mode()), (1, Mode::RecordOnly));
}

#[test]
fn bh5_the_word_holds_the_highest_limit() {
    let machine = Machine::new(settings(1_000_000, Mode::Enforce));
    assert_eq!(machine.admit(), Admission::Admitted);
    let word = machine.word();
    assert_eq!((word.limit(), word.in_flight()), (1_000_000, 1));
}

#[test]
fn bh4_a_waiter_in_the_middle_can_leave() {
    let machine = Machine::new(settings(1, Mode::Enforce));
    let poll = |waiter| machine.poll_waiter(WaiterId(waiter), Tick::NEVER, Waker::noop());
    assert_eq!(machine.admit(), Admission::Admitted);
    fill(&machine, 3);
    assert!(machine.cancel(WaiterId(1)).is_some());
    assert!(machine.release().is_none(), "no waiter was polled yet");
    assert_eq!(
        (poll(0), poll(2)),
        (WaiterState::Admitted, WaiterState::Waiting)
    );
    assert!(machine.release().is_some());
    assert_eq!(poll(2), WaiterState::Admitted);
    assert!(machine.release().is_none());
    assert_eq!(format!("{machine:?}"), "0/1 in flight, 0 queued, Enforce");
}

// A waker that is replaced is dropped outside the lock, because it may hold the last handle of a
// task that waits here too.
#[test]
fn bh4_the_drop_of_a_waker_may_use_the_bulkhead() {
    struct Reentrant(Arc<Machine>);
    impl Wake for Reentrant {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Reentrant {
        fn drop(&mut self) {
            drop(self.0.queue.lock());
        }
    }
    let machine = Arc::new(Machine::new(settings(1, Mode::Enforce)));
    assert_eq!(machine.admit(), Admission::Admitted);
    fill(&machine, 2);
    for waiter in [0, 1].map(WaiterId) {
        let reentrant = Waker::from(Arc::new(Reentrant(Arc::clone(&machine))));
        let state = machine.poll_waiter(waiter, Tick::NEVER, &reentrant);
        assert_eq!(state, WaiterState::Waiting);
    }
    let state = machine.poll_waiter(WaiterId(0), Tick::NEVER, Waker::noop());
    assert_eq!(state, WaiterState::Waiting);
    assert!(machine.cancel(WaiterId(1)).is_some());
}
