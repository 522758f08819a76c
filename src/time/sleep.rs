use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Tick, now};
use crate::macros::debug_fields;

pin_project_lite::pin_project! {
    /// A timer for a [`Tick`], registered with tokio when first polled.
    ///
    /// Ready only when the clock shows the tick: a timer that fires early, because the two clocks
    /// drift apart, is set again. It takes no part in tokio's cooperative budget. Otherwise a
    /// service that uses the whole budget in every poll would never time out.
    pub(crate) struct Sleep {
        until: Tick,
        #[pin]
        timer: Option<tokio::task::Unconstrained<tokio::time::Sleep>>,
    }
}

impl Sleep {
    pub(crate) fn until(until: Tick) -> Self {
        Self { until, timer: None }
    }

    /// For a look again soon: after one step of the runtime's timers.
    pub(crate) fn step(now: Tick) -> Self {
        Self::until(now.after(Duration::from_millis(1)))
    }

    pub(crate) fn deadline(&self) -> Tick {
        self.until
    }

    /// The tick at which the timer was seen to have fired.
    pub(crate) fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Tick> {
        let mut this = self.project();
        if this.until.is_never() {
            return Poll::Pending;
        }
        loop {
            if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
            }
            let now = now();
            if now >= *this.until {
                return Poll::Ready(now);
            }
            let timer = tokio::time::sleep(this.until.since(now));
            this.timer.set(Some(tokio::task::unconstrained(timer)));
        }
    }
}

debug_fields!(Sleep, this: until = this.until);
