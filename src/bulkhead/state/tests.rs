use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::{Answer, MOST_IN_FLIGHT, MOST_QUEUED, Machine, Order, Turn};
use crate::config::Mode;
use crate::fuzzing::cases;
use crate::sync::{Arc, AtomicU64, Ordering};

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Admit,
    Queue,
    /// One of those in flight leaves.
    Leave,
    /// One of those who came looks; which, modulo how many.
    Look(usize),
    /// One of those who queue goes away.
    Quit(usize),
    Limit(u16),
    Most(u32),
    Mode(Mode),
    Order(Order),
}

/// Keeps everything by name and searches it every time.
struct Model {
    limit: usize,
    most: usize,
    mode: Mode,
    order: Order,
    in_flight: usize,
    /// Oldest first.
    waiting: Vec<u64>,
    next: u64,
}

#[derive(Debug, PartialEq)]
enum Said {
    Ahead,
    Above,
    Unseen,
    Queued(u64),
    Full,
}

impl Model {
    fn ask(&mut self, queue: bool) -> Said {
        if self.mode == Mode::Off {
            return Said::Unseen;
        }
        if self.waiting.is_empty() && self.in_flight < self.limit {
            self.in_flight += 1;
            return Said::Ahead;
        }
        if self.mode == Mode::RecordOnly {
            self.in_flight += 1;
            return Said::Above;
        }
        if queue && self.limit > 0 && self.waiting.len() < self.most {
            self.waiting.push(self.next);
            self.next += 1;
            return Said::Queued(self.next - 1);
        }
        Said::Full
    }

    /// Whose turn it is, now that something has changed.
    fn turns(&mut self) -> Vec<u64> {
        let mut turns = Vec::new();
        while !self.waiting.is_empty()
            && (self.mode != Mode::Enforce || self.in_flight < self.limit)
        {
            let next = match self.order {
                Order::Fifo => 0,
                Order::Lifo => self.waiting.len() - 1,
            };
            turns.push(self.waiting.remove(next));
            self.in_flight += 1;
        }
        turns
    }
}

fn said(answer: Answer) -> Said {
    match answer {
        Answer::Ahead => Said::Ahead,
        Answer::Above(_) => Said::Above,
        Answer::Unseen => Said::Unseen,
        Answer::Queued(ticket) => Said::Queued(ticket),
        Answer::Full(_) => Said::Full,
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
        6 => Just(Op::Leave),
        3 => (0..64_usize).prop_map(Op::Look),
        2 => (0..64_usize).prop_map(Op::Quit),
        2 => (0..6_u16).prop_map(Op::Limit),
        1 => (0..6_u32).prop_map(Op::Most),
        1 => mode.prop_map(Op::Mode),
        1 => prop_oneof![Just(Order::Fifo), Just(Order::Lifo)].prop_map(Op::Order),
    ];
    // Most are short, so that what fails is.
    prop_oneof![
        9 => prop::collection::vec(op.clone(), 0..120),
        1 => prop::collection::vec(op, 0..3_000),
    ]
}

fn check(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let machine = Machine::new(2, Mode::Enforce, 3, Order::Fifo);
    let mut model = Model {
        limit: 2,
        most: 3,
        mode: Mode::Enforce,
        order: Order::Fifo,
        in_flight: 0,
        waiting: Vec::new(),
        next: 0,
    };
    // Of all that ever queued and have not been told: the ticket and who is woken.
    let mut tickets: Vec<(u64, Arc<Wakes>)> = Vec::new();
    // Who was woken by a closing and has not looked since: he is not woken again.
    let mut closed: Vec<u64> = Vec::new();
    for op in ops {
        let mut woken: Vec<Waker> = Vec::new();
        let mut turns = Vec::new();
        match op {
            Op::Admit => prop_assert_eq!(said(machine.admit()), model.ask(false)),
            Op::Queue => {
                let answer = said(machine.admit_or_queue());
                prop_assert_eq!(&answer, &model.ask(true));
                if let Said::Queued(ticket) = answer {
                    let wakes = Arc::new(Wakes::default());
                    let waker = Waker::from(Arc::clone(&wakes));
                    prop_assert_eq!(machine.look(ticket, &waker), Turn::Waits);
                    tickets.push((ticket, wakes));
                }
            }
            // Who was handed a place and does not know it yet cannot leave it.
            Op::Leave if model.in_flight + model.waiting.len() == tickets.len() => {}
            Op::Leave => {
                woken.extend(machine.leave());
                model.in_flight -= 1;
                turns = model.turns();
                prop_assert!(turns.len() <= 1);
            }
            Op::Look(_) | Op::Quit(_) if tickets.is_empty() => {}
            Op::Look(which) => {
                let at = which % tickets.len();
                let (ticket, wakes) = &tickets[at];
                let waker = Waker::from(Arc::clone(wakes));
                let waits = model.waiting.contains(ticket);
                let turn = machine.look(*ticket, &waker);
                closed.retain(|other| other != ticket);
                match turn {
                    Turn::Handed => prop_assert!(!waits),
                    Turn::Waits => prop_assert!(waits && model.limit > 0),
                    Turn::Closed(word) => {
                        prop_assert!(waits && model.limit == 0);
                        prop_assert_eq!(word.queued() as usize, model.waiting.len());
                        model.waiting.retain(|other| other != ticket);
                    }
                }
                if turn != Turn::Waits {
                    tickets.remove(at);
                }
            }
            Op::Quit(which) => {
                let (ticket, _) = tickets.remove(which % tickets.len());
                let waits = model.waiting.contains(&ticket);
                model.waiting.retain(|other| *other != ticket);
                prop_assert_eq!(machine.quit(ticket).is_some(), waits);
                if !waits {
                    woken.extend(machine.leave());
                    model.in_flight -= 1;
                    turns = model.turns();
                }
            }
            Op::Limit(limit) => {
                model.limit = usize::from(limit);
                turns = model.turns();
                woken = machine.set_limit(limit);
            }
            Op::Most(most) => {
                model.most = most as usize;
                machine.set_most_queued(most);
            }
            Op::Mode(mode) => {
                model.mode = mode;
                turns = model.turns();
                woken = machine.set_mode(mode);
            }
            Op::Order(order) => {
                model.order = order;
                machine.set_order(order);
            }
        }
        woken.into_iter().for_each(Waker::wake);
        // Whose turn it is was woken, and, but by closing, nobody else.
        for (ticket, wakes) in &tickets {
            let woken = wakes.0.swap(0, Ordering::Relaxed);
            if turns.contains(ticket) {
                // Once, but for who was woken by a closing and has not looked since.
                prop_assert!(woken == 1 || closed.contains(ticket), "{}", ticket);
            } else if model.limit > 0 {
                prop_assert_eq!(woken, 0);
            } else if model.waiting.contains(ticket) && !closed.contains(ticket) {
                prop_assert_eq!(woken, 1);
                closed.push(*ticket);
            }
        }
        let word = machine.word();
        prop_assert_eq!(word.in_flight() as usize, model.in_flight);
        prop_assert!(word.queued() == 0 || !word.has_room());
        prop_assert_eq!(word.queued() as usize, model.waiting.len());
        prop_assert_eq!(
            (word.limit(), word.mode()),
            (model.limit as u16, model.mode)
        );
        let line: Vec<u64> = machine
            .line
            .lock()
            .waiting
            .iter()
            .map(|(t, _)| *t)
            .collect();
        prop_assert_eq!(line, model.waiting.clone());
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(500))]

    // BH1, BH2, BH4, BH5, CX16
    #[test]
    fn bh1_bh4_bh5_decides_like_a_naive_one(ops in ops()) {
        check(ops)?;
    }
}

fn fill(machine: &Machine, tickets: u64) {
    for ticket in 0..tickets {
        assert_eq!(machine.admit_or_queue(), Answer::Queued(ticket));
    }
}

// BH2
#[test]
fn bh2_a_queue_without_bound_ends_where_it_can_be_counted() {
    let machine = Machine::new(1, Mode::Enforce, MOST_QUEUED, Order::Fifo);
    assert_eq!(machine.admit(), Answer::Ahead);
    // As if four million had come: the line itself is not looked at.
    let one_less = (0..MOST_QUEUED - 1).fold(machine.word(), |word, _| word.one_queues());
    machine.word.store(one_less.0, Ordering::Relaxed);
    assert_eq!(machine.admit_or_queue(), Answer::Queued(0));
    let Answer::Full(word) = machine.admit_or_queue() else {
        panic!("it wrapped");
    };
    assert_eq!(
        (word.limit(), word.in_flight(), word.queued()),
        (1, 1, MOST_QUEUED)
    );
    // CX19: all of them at once, and the counts are still right.
    drop(machine.set_mode(Mode::Off));
    assert_eq!(machine.word().in_flight(), 1 + MOST_QUEUED);
    assert_eq!(machine.word().queued(), 0);
}

// CX16: what is only recorded is counted up to what the word holds, and goes ahead beyond.
#[test]
fn cx16_what_cannot_be_counted_goes_ahead_uncounted() {
    let machine = Machine::new(1, Mode::RecordOnly, 0, Order::Fifo);
    let full = (0..MOST_IN_FLIGHT - 1).fold(machine.word(), |word, _| word.one_in());
    machine.word.store(full.0, Ordering::Relaxed);
    assert_eq!(machine.admit(), Answer::Above(full));
    assert_eq!(machine.admit(), Answer::Unseen);
    let word = machine.word();
    assert_eq!((word.in_flight(), word.queued()), (MOST_IN_FLIGHT, 0));
    assert_eq!((word.limit(), word.mode()), (1, Mode::RecordOnly));
}

// BH4
#[test]
fn bh4_who_is_in_the_middle_can_go() {
    let machine = Machine::new(1, Mode::Enforce, 10, Order::Fifo);
    assert_eq!(machine.admit(), Answer::Ahead);
    fill(&machine, 3);
    assert!(machine.quit(1).is_some());
    assert!(machine.leave().is_none(), "nobody has looked yet");
    assert_eq!(machine.look(0, Waker::noop()), Turn::Handed);
    assert_eq!(machine.look(2, Waker::noop()), Turn::Waits);
    assert!(machine.leave().is_some());
    assert_eq!(machine.look(2, Waker::noop()), Turn::Handed);
    assert!(machine.leave().is_none());
    assert_eq!(format!("{machine:?}"), "0/1 in flight, 0 queued, Enforce");
}

// BH4: a waker that is replaced is dropped outside of the lock, for it may hold the last handle
// of a task that queues here too.
#[test]
fn bh4_a_waker_may_come_back_in_its_drop() {
    struct Back(Arc<Machine>);
    impl Wake for Back {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Back {
        fn drop(&mut self) {
            let _ = self.0.order();
        }
    }
    let machine = Arc::new(Machine::new(1, Mode::Enforce, 10, Order::Fifo));
    assert_eq!(machine.admit(), Answer::Ahead);
    fill(&machine, 2);
    for ticket in [0, 1] {
        let back = Waker::from(Arc::new(Back(Arc::clone(&machine))));
        assert_eq!(machine.look(ticket, &back), Turn::Waits);
    }
    assert_eq!(machine.look(0, Waker::noop()), Turn::Waits);
    assert!(machine.quit(1).is_some());
}
