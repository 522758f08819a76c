//! The account beside a log of everything that happened, from which each balance is computed
//! again from the start.

use std::time::Duration;

use super::{Account, EPOCH, ONE, Terms};
use crate::fuzzing::Bytes;
use crate::per_thread::ThreadSlot;
use crate::time::Tick;

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Entry {
    Deposit,
    /// At this price, in attempts.
    Withdrawal(u64),
    Erased,
}

/// The naive budget.
pub(super) struct Log {
    burst: u64,
    /// Each with its epoch and terms.
    entries: Vec<(u64, Terms, Entry)>,
    /// The balance after each entry.
    balances: Vec<u64>,
}

impl Log {
    pub(super) fn new(now: u64, terms: Terms) -> Self {
        Self {
            burst: terms.burst(),
            entries: vec![(now / EPOCH, terms, Entry::Erased)],
            balances: vec![terms.burst()],
        }
    }

    fn last(&self) -> u64 {
        self.entries[self.entries.len() - 1].0
    }

    /// The epoch of the clock, or of the last entry if the clock has stepped back since.
    pub(super) fn epoch(&self, now: u64) -> u64 {
        self.last().max(now / EPOCH)
    }

    /// Returns its index.
    pub(super) fn push(&mut self, now: u64, terms: Terms, entry: Entry) -> usize {
        self.entries.push((self.epoch(now), terms, entry));
        self.compute();
        self.entries.len() - 1
    }

    /// What the entries before `at` leave to `epoch`.
    fn before(&self, at: usize, epoch: u64, terms: Terms) -> u64 {
        let (balance, last) = (self.balances[at - 1], self.entries[at - 1].0);
        // Later epochs change nothing.
        let ended = (last..epoch).take(2);
        ended.fold(balance, |balance, ended| {
            let deposits = self.entries[..at].iter().filter_map(|&(of, terms, entry)| {
                (of == ended && entry == Entry::Deposit).then_some(terms.ratio())
            });
            balance.min(terms.burst() + deposits.sum::<u64>())
        })
    }

    fn compute(&mut self) {
        for at in self.balances.len()..self.entries.len() {
            let (epoch, terms, entry) = self.entries[at];
            let balance = self.before(at, epoch, terms);
            self.balances.push(match entry {
                Entry::Deposit => balance + terms.ratio(),
                Entry::Withdrawal(price) => balance - price * ONE,
                Entry::Erased => balance,
            });
        }
    }

    pub(super) fn balance(&self, now: u64, terms: Terms) -> u64 {
        self.before(self.entries.len(), self.epoch(now), terms)
    }

    /// Erases a withdrawal of this epoch or the last and computes all balances after it again.
    /// Returns how much higher the balance is now.
    pub(super) fn erase(&mut self, at: usize, now: u64, terms: Terms) -> u64 {
        if self.entries[at].0 + 1 < self.epoch(now) {
            return 0;
        }
        let before = self.balance(now, terms);
        self.entries[at].2 = Entry::Erased;
        self.balances.truncate(at);
        self.compute();
        self.push(now, terms, Entry::Erased);
        self.balance(now, terms) - before
    }

    /// RT4: in any number of epochs at most the deposits of these and the one before, and a burst,
    /// at the stated prices.
    pub(super) fn check(&self) {
        let most = self.entries.iter().map(|(_, terms, _)| terms.burst());
        let burst = most.max().unwrap_or(0).max(self.burst);
        let mut epochs: Vec<(u64, u64, u64)> = Vec::new();
        for &(epoch, terms, entry) in &self.entries {
            if epochs.last().is_none_or(|(last, ..)| *last != epoch) {
                epochs.push((epoch, 0, 0));
            }
            if let Some((_, given, taken)) = epochs.last_mut() {
                match entry {
                    Entry::Deposit => *given += terms.ratio(),
                    Entry::Withdrawal(price) => *taken += price * ONE,
                    Entry::Erased => {}
                }
            }
        }
        for from in 0..epochs.len() {
            let before = from.checked_sub(1).map(|before| epochs[before]);
            let before = before.filter(|before| before.0 + 1 == epochs[from].0);
            let (mut given, mut taken) = (before.map_or(0, |(_, given, _)| given), 0);
            for &(epoch, more, spent) in &epochs[from..] {
                (given, taken) = (given + more, taken + spent);
                let most = given + burst;
                assert!(
                    taken <= most,
                    "{} to {epoch}: {taken} of {most}",
                    epochs[from].0
                );
            }
        }
    }
}

fn terms(bytes: &mut Bytes<'_>) -> Terms {
    let ratio = bytes.pick(&[0, 1, 100, 200, 600, 750, 999, 1_000]);
    let burst = match bytes.byte() {
        0xFF => 1_000_000,
        0xFE => 1_022 + u32::from(bytes.byte() % 4),
        n => u32::from(n % 24),
    };
    Terms::new(ratio, burst)
}

/// RT4, CX7: every balance is the log's, and every idle time.
pub fn run(data: &[u8]) {
    const MS: u64 = 1_000_000;
    let mut bytes = Bytes::new(data);
    // Also shortly before the last tick.
    let origin = bytes.pick(&[0, 1_000 * EPOCH, u64::MAX]);
    let origin = origin.saturating_sub(u64::from(bytes.word()) * MS);
    let mut now = origin;
    let mut terms = terms(&mut bytes);
    let account = Account::new(Tick(now), terms);
    let mut log = Log::new(now, terms);
    let mut out: Vec<(u64, u64, usize)> = Vec::new();
    let mut spent = 0;
    while !bytes.is_empty() && spent < 6_000 {
        let tick = Tick(now);
        let times = |bytes: &mut Bytes<'_>| match bytes.byte() {
            n @ 0xF8.. => u32::from(n - 0xF7) * 150,
            n => 1 + u32::from(n % 4),
        };
        match bytes.byte() % 16 {
            0..=3 => {
                // By one of a few threads, or by one without a slot.
                let by = bytes.byte();
                let by = (by % 4 < 3).then(|| ThreadSlot::numbered(by % 3 * 30));
                for _ in 0..times(&mut bytes) {
                    account.deposit_by(by, tick, terms);
                    log.push(now, terms, Entry::Deposit);
                    spent += 1;
                }
            }
            4..=7 => {
                let price = bytes.pick(&[1, 1, 1, 5]);
                let (times, available) = (times(&mut bytes), log.balance(now, terms) / ONE / price);
                let took = (0..times).map_while(|_| account.withdraw(tick, terms, price));
                let took: Vec<u64> = took.collect();
                assert_eq!(took.len() as u64, available.min(times.into()));
                for taken in took {
                    out.push((taken, price, log.push(now, terms, Entry::Withdrawal(price))));
                    spent += 1;
                }
            }
            8..=10 => {
                for _ in 0..times(&mut bytes) {
                    if out.is_empty() {
                        break;
                    }
                    let which = bytes.below(out.len().min(256) as u32) as usize;
                    let (taken, price, at) = out.swap_remove(which);
                    let before = account.balance(tick, terms);
                    account.give_back(tick, terms, taken, price);
                    let back = account.balance(tick, terms) - before;
                    assert_eq!(back, log.erase(at, now, terms));
                    // The log is slow to compute again.
                    spent += 4;
                }
            }
            11 => terms = self::terms(&mut bytes),
            12 | 13 => now = now.saturating_add(u64::from(bytes.word()) * MS / 2),
            14 => now = now.saturating_sub(u64::from(bytes.word()) * MS / 2),
            _ => match bytes.byte() % 4 {
                0 => now = now.saturating_sub(bytes.magnitude()),
                1 => now = now.saturating_add(bytes.magnitude()),
                2 => now = (now / EPOCH + 1).saturating_mul(EPOCH),
                _ => now = (now / EPOCH).saturating_mul(EPOCH).saturating_sub(1),
            },
        }
        now = now.min(u64::MAX - 1);
        assert_eq!(account.balance(Tick(now), terms), log.balance(now, terms));
        let idle = (now / EPOCH).saturating_sub(log.last() + 1);
        let idle = Duration::from_nanos(idle * EPOCH);
        assert_eq!(account.idle(Tick(now)), idle);
    }
    log.check();
}
