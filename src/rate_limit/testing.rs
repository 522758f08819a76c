//! The decisions of bucket and table as tests, models and the fuzzer ask for them.

#[cfg(seawall_loom)]
use super::limit::Asker;
use super::limit::{Ask, Tokens};
use super::state::{Bucket, Charge, Return, Shortfall};
use super::table::{KeyHandle, Table};
#[cfg(not(seawall_loom))]
use crate::rate_limit::Quota;
use crate::time::Tick;

#[cfg(not(seawall_loom))]
impl Shortfall {
    /// The burst, if the cost is above it.
    pub(crate) fn above_burst(self) -> Option<u32> {
        match self {
            Self::AboveBurst(burst) => u32::try_from(burst).ok(),
            Self::For(_) | Self::Unknown => None,
        }
    }
}

impl Tokens<'_> {
    /// Takes `cost` tokens, for use not before `not_before`, if they are available by `latest`.
    fn take_by(
        self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        let ask = Ask::now(cost).at(now);
        self.take(not_before, &Ask { latest, ..ask })
    }

    fn probe_at(self, now: Tick, not_before: Tick, cost: u32) -> Result<Tick, Shortfall> {
        self.probe(&Ask::now(cost).at(now), not_before, 0)
    }
}

impl Bucket {
    fn tokens(&self) -> Tokens<'_> {
        Tokens::One(self)
    }

    /// Takes `cost` tokens if they are available. A cost of 0 is free, also in a paused or stopped
    /// bucket.
    pub(crate) fn admit(&self, now: Tick, cost: u32) -> Result<(), Shortfall> {
        self.admit_now(|| now, cost)
    }

    pub(crate) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        self.tokens().take_by(now, not_before, cost, latest)
    }

    /// The instant at which a charge of `cost`, for use not before `not_before`, would be granted.
    /// Takes nothing.
    pub(crate) fn probe(&self, now: Tick, not_before: Tick, cost: u32) -> Result<Tick, Shortfall> {
        self.tokens().probe_at(now, not_before, cost)
    }

    /// What [`admit`](Self::admit) would return. Takes nothing.
    pub(crate) fn peek(&self, now: Tick, cost: u32) -> Result<(), Shortfall> {
        match self.probe(now, now, cost)? {
            at if at > now => Err(Shortfall::until(at, now)),
            _ => Ok(()),
        }
    }

    /// Takes a token for a call that will wait.
    #[cfg(seawall_loom)]
    pub(crate) fn take_late(&self, now: Tick) -> Result<Charge, Shortfall> {
        let by = Asker::Comer;
        self.tokens().take(
            now,
            &Ask {
                by,
                ..Ask::now(1).at(now)
            },
        )
    }

    pub(crate) fn available(&self, now: Tick) -> u32 {
        self.tokens().available(now)
    }

    pub(crate) fn cancel(&self, charge: &Charge) {
        self.give_back(charge, Return::Whole);
    }

    pub(crate) fn refund(&self, charge: &Charge, tokens: u32, now: Tick) {
        self.give_back(charge, Return::Part { tokens, now });
    }

    #[cfg(not(seawall_loom))]
    pub(crate) fn owe(&self, now: Tick, tokens: u32) {
        self.tokens().owe(tokens, now);
    }

    /// The quota as configured.
    #[cfg(not(seawall_loom))]
    pub(crate) fn quota(&self) -> Quota {
        self.control.lock().quota
    }
}

impl Table {
    fn tokens(&self, key: KeyHandle) -> Tokens<'_> {
        Tokens::Keyed(self, key)
    }

    pub(crate) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        key: KeyHandle,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        self.tokens(key).take_by(now, not_before, cost, latest)
    }

    /// Takes `cost` tokens of a key if they are available now.
    pub(crate) fn admit(&self, now: Tick, key: KeyHandle, cost: u32) -> Result<(), Shortfall> {
        self.admit_now(|| now, key, cost).map(drop)
    }

    /// When a charge of `cost` to a key, for use not before `not_before`, would be granted.
    /// Changes nothing.
    pub(crate) fn probe(
        &self,
        now: Tick,
        not_before: Tick,
        key: KeyHandle,
        cost: u32,
    ) -> Result<Tick, Shortfall> {
        self.tokens(key).probe_at(now, not_before, cost)
    }

    pub(crate) fn available(&self, now: Tick, key: KeyHandle) -> u32 {
        self.tokens(key).available(now)
    }

    pub(crate) fn cancel(&self, key: KeyHandle, charge: &Charge) {
        self.give_back(key, charge, Return::Whole);
    }

    /// The rate of the first tier.
    #[cfg(all(test, not(seawall_loom)))]
    pub(crate) fn rate(&self) -> f64 {
        self.tokens(KeyHandle { hash: 1, tier: 0 }).rate(Tick::ZERO)
    }

    #[cfg(not(seawall_loom))]
    pub(crate) fn refund(&self, key: KeyHandle, charge: &Charge, tokens: u32, now: Tick) {
        self.give_back(key, charge, Return::Part { tokens, now });
    }

    #[cfg(not(seawall_loom))]
    pub(crate) fn owe(&self, now: Tick, key: KeyHandle, tokens: u32) -> bool {
        self.tokens(key).owe(tokens, now)
    }
}
