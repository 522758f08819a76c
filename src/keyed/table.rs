//! stub
use crate::rate_limit::Quota;
use crate::rate_limit::Refused;
use crate::time::Tick;
#[derive(Debug)]
pub(crate) struct Table;
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(crate) hash: u64,
    pub(crate) tier: u8,
}
#[derive(Clone, Copy)]
pub(crate) struct Charge {
    pub(crate) at: Tick,
}
impl Table {
    pub(crate) fn new(_now: Tick, _p: usize, _q: &[Quota]) -> Self {
        Self
    }
    pub(crate) fn places(&self) -> usize {
        0
    }
    pub(crate) fn used(&self) -> usize {
        0
    }
    pub(crate) fn evicted(&self) -> u64 {
        0
    }
    pub(crate) fn take(
        &self,
        now: Tick,
        _nb: Tick,
        _k: Place,
        _c: u32,
        _l: Tick,
    ) -> Result<Charge, Refused> {
        Ok(Charge { at: now })
    }
    pub(crate) fn admit(&self, _now: Tick, _k: Place, _c: u32) -> Result<(), Refused> {
        Ok(())
    }
    pub(crate) fn probe(&self, now: Tick, _nb: Tick, _k: Place, _c: u32) -> Result<Tick, Refused> {
        Ok(now)
    }
    pub(crate) fn peek(&self, _now: Tick, _k: Place, _c: u32) -> Result<(), Refused> {
        Ok(())
    }
    pub(crate) fn available(&self, _now: Tick, _k: Place) -> u32 {
        0
    }
    pub(crate) fn cancel(&self, _k: Place, _c: &Charge) {}
    pub(crate) fn change(&self, _now: Tick, _t: u8, _q: Quota) {}
    pub(crate) fn quota(&self, _t: u8) -> Quota {
        Quota::unlimited()
    }
    pub(crate) fn rate(&self, _t: u8) -> f64 {
        0.0
    }
    pub(crate) fn pause(&self, _now: Tick, _k: Place, _u: Tick) {}
}
