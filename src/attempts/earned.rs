//! What a success earns once its body has ended.

use super::call::CallLedger;
use super::ledger::{Ledger, Plan};
use crate::budget::Deposit;
use crate::config::Mode;
use crate::context::CallContext;
use crate::event::Ending;
use crate::outcome::Outcome;
use crate::service::Format;
use crate::sync::Arc;

impl CallLedger {
    /// The call ends with a success by its head, which is judged at the end of its body: until
    /// then what it earns is kept. The terminal event comes now.
    #[inline]
    pub(crate) fn finish_head(&mut self, plan: &Plan, by: u32) -> Earned {
        let mut earned = Earned::default();
        if self.call.mode != Mode::Off {
            earned.win = (by > 1).then(|| Win::of(&plan.ledger));
            // Inside of an attempt nothing is earned, and the body ends outside of it.
            if Self::earns(plan) && CallContext::attempt() == 0 {
                let budget = plan.funding.budget();
                earned.deposit = budget.map(|budget| Deposit::of(1, budget));
            }
        }
        self.add_call(plan);
        self.end(plan, Ending::Success);
        earned
    }
}

/// What the success of a call earns. It is held by the response's body until that ends.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Earned {
    pub(super) win: Option<Win>,
    pub(super) deposit: Option<Deposit>,
}

impl Earned {
    /// Moves it into `response`. If that has no body to wait for, the success is one.
    pub(crate) fn hold<M: Format<Res, Err>, Res, Err>(self, response: &mut Res) {
        let win = self.win.and_then(|win| M::hold(response, win));
        if let Some(win) = win {
            win.judge(Outcome::Success);
        }
        let deposit = self.deposit;
        if let Some(deposit) = deposit.and_then(|deposit| M::hold(response, deposit)) {
            deposit.judge(Outcome::Success);
        }
    }
}

/// An extra attempt whose success was returned.
#[derive(Debug)]
pub(crate) struct Win(Arc<Ledger>);

impl Win {
    pub(super) fn of(ledger: &Arc<Ledger>) -> Self {
        Self(Arc::clone(ledger))
    }

    /// The call has ended: it is counted if it is a success.
    pub(crate) fn judge(self, outcome: Outcome) {
        if outcome == Outcome::Success {
            self.0.count_win();
        }
    }
}
