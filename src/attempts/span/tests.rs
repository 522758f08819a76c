use std::fmt::{Debug, Write};
use std::future::pending;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::Hedge;
use crate::backoff::Jitter;
use crate::sync::{Arc, Mutex};
use crate::testing::{Text, catching, traced};
use crate::{Backoff, CircuitBreaker, Retry};

/// Keeps each span as a line: its fields, and the events inside of it.
#[derive(Clone)]
struct Spans(Arc<Mutex<Seen>>, Level);

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    entered: Vec<usize>,
    /// Whether a span cannot be entered.
    panics: bool,
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let field = field.name().trim_start_matches("resilience.");
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64() - 1).unwrap()
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.1
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.1.into())
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock();
        let mut line = attributes.metadata().name().to_owned();
        if let Some(parent) = seen.entered.last() {
            write!(line, " in {}", parent + 1).unwrap();
        }
        attributes.record(&mut Fields(&mut line));
        seen.lines.push(line);
        Id::from_u64(seen.lines.len().try_into().unwrap())
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().lines[index(id)]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let seen = &mut *self.0.lock();
        if let Some(current) = seen.entered.last() {
            if event.metadata().target() == "app" {
                event.record(&mut Fields(&mut seen.lines[*current]));
            }
        }
    }

    fn enter(&self, id: &Id) {
        let mut seen = self.0.lock();
        assert!(!seen.panics, "of the test");
        seen.entered.push(index(id));
    }

    fn exit(&self, id: &Id) {
        let left = self.0.lock().entered.pop();
        assert_eq!(left, Some(index(id)));
    }
}

/// The spans of `calls`, with the time paused.
fn spans_up_to(level: Level, calls: impl Future<Output = ()>) -> Vec<String> {
    let spans = Spans(Arc::default(), level);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let mut runtime = { runtime }.enable_time().start_paused(true).build();
    let runtime = runtime.as_mut().unwrap();
    traced(spans.clone(), || runtime.block_on(calls));
    let mut seen = spans.0.lock();
    assert!(seen.entered.is_empty());
    std::mem::take(&mut seen.lines)
}

fn spans_of(calls: impl Future<Output = ()>) -> Vec<String> {
    spans_up_to(Level::TRACE, calls)
}

const MS: Duration = Duration::from_millis(1);

fn retry() -> Retry {
    let retry = Retry::builder()
        .name("reads")
        .backoff(Backoff::constant(MS * 20).jitter(Jitter::None));
    retry.build().unwrap()
}

/// Fails once, in two polls. The second of them has an event.
async fn second_succeeds(attempt: u32) -> Result<u32, Text> {
    tokio::time::sleep(MS).await;
    tracing::info!(target: "app", attempt, "polled");
    if attempt == 1 {
        Err(Text("down"))
    } else {
        Ok(attempt)
    }
}

#[test]
fn ob2_each_attempt_of_a_retry_is_a_span_around_its_polls() {
    let calls = async { assert_eq!(retry().run(second_succeeds).await.unwrap(), 2) };
    assert_eq!(
        spans_of(calls),
        [
            "attempt policy=reads attempt=1 delay_ms=0 message=polled attempt=1 failure=error result=failure",
            "attempt policy=reads attempt=2 delay_ms=20 message=polled attempt=2 result=success",
        ]
    );
}

#[cfg(feature = "tower")]
#[test]
fn ob2_each_attempt_of_a_retry_layer_is_a_span_around_its_polls() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tower::{BoxError, Layer, Service, service_fn};

    let attempts = Arc::new(AtomicU32::new(0));
    let inner = service_fn(move |_: u32| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed) + 1;
        async move { second_succeeds(attempt).await.map_err(BoxError::from) }
    });
    let layer = crate::RetryLayer::new(retry())
        .only(|_: &u32| true)
        .resend(|n: &u32| Some(*n));
    let mut service = layer.layer(inner);
    let calls = async { assert_eq!(service.call(7).await.unwrap(), 2) };
    let lines = spans_of(calls);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].ends_with("message=polled attempt=1 failure=error result=failure"),
        "{lines:#?}"
    );
    assert!(
        lines[1].ends_with("delay_ms=20 message=polled attempt=2 result=success"),
        "{lines:#?}"
    );
}

#[test]
fn ob2_the_span_of_an_attempt_says_which_rejection_ended_it() {
    let breaker = CircuitBreaker::new("payments");
    breaker.force_open();
    let calls = async {
        let call = |_| breaker.run(async || Ok::<_, Text>(()));
        drop(retry().run(call).await.unwrap_err());
    };
    let lines = spans_of(calls);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(" rejection=circuit_open"), "{lines:#?}");
}

#[cfg(feature = "test-util")]
#[test]
fn ob2_the_span_of_a_hedge_that_wins_says_so() {
    let hedge = Hedge::builder()
        .delay(MS * 50)
        .name("reads")
        .build()
        .unwrap();
    let calls = async {
        let call = async |attempt| match attempt {
            1 => pending().await,
            _ => second_succeeds(attempt).await,
        };
        hedge.run(call).await.unwrap();
    };
    assert_eq!(
        spans_of(calls),
        [
            "attempt policy=reads attempt=1 delay_ms=0 result=dropped",
            "attempt policy=reads attempt=2 delay_ms=50 message=polled attempt=2 hedge_won=true result=success",
        ]
    );
}

// Its attempts start by the paused clock.
#[cfg(feature = "test-util")]
#[test]
fn ob2_the_span_of_a_hedge_that_does_not_win_says_so() {
    let hedge = Hedge::builder().delay(MS * 50).name("reads");
    let hedge = hedge.max_extra(2).build().unwrap();
    let calls = async {
        // The second attempt fails, the third is overtaken by the first.
        let call = async |attempt| match attempt {
            1 => {
                tokio::time::sleep(MS * 120).await;
                Ok(attempt)
            }
            2 => second_succeeds(1).await,
            _ => pending().await,
        };
        assert_eq!(hedge.run(call).await.unwrap(), 1);
    };
    assert_eq!(
        spans_of(calls),
        [
            "attempt policy=reads attempt=1 delay_ms=0 result=success",
            "attempt policy=reads attempt=2 delay_ms=50 message=polled attempt=1 hedge_won=false failure=error result=failure",
            "attempt policy=reads attempt=3 delay_ms=51 result=dropped",
        ]
    );
}

#[cfg(all(feature = "tower", feature = "test-util"))]
mod of_a_hedge_layer {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    use tower::{BoxError, Layer, Service, ServiceExt};

    use super::*;
    use crate::HedgeLayer;

    type Answer = Pin<Box<dyn Future<Output = Result<u32, BoxError>>>>;

    /// Answers by the number of the attempt. Its clones may fail before they are ready.
    struct Attempts<A> {
        answer: A,
        made: Arc<AtomicU32>,
        fails_to_get_ready: bool,
        is_clone: bool,
    }

    impl<A: Clone> Clone for Attempts<A> {
        fn clone(&self) -> Self {
            Self {
                answer: self.answer.clone(),
                made: Arc::clone(&self.made),
                is_clone: true,
                ..*self
            }
        }
    }

    impl<A: Fn(u32) -> Answer> Service<u32> for Attempts<A> {
        type Response = u32;
        type Error = BoxError;
        type Future = Answer;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            match self.is_clone && self.fails_to_get_ready {
                true => Poll::Ready(Err(Text("no connection").into())),
                false => Poll::Ready(Ok(())),
            }
        }

        fn call(&mut self, _: u32) -> Answer {
            (self.answer)(self.made.fetch_add(1, Ordering::Relaxed) + 1)
        }
    }

    /// The spans of a call with a hedge after 50 ms, and its answer.
    fn spans(
        fails_to_get_ready: bool,
        answer: impl Fn(u32) -> Answer + Clone + Send + Sync + 'static,
    ) -> (Vec<String>, u32) {
        let hedge = Hedge::builder().delay(MS * 50).name("reads");
        let layer = HedgeLayer::new(hedge.build().unwrap())
            .only(|_: &u32| true)
            .resend(|n: &u32| Some(*n));
        let mut service = layer.layer(Attempts {
            answer,
            made: Arc::default(),
            fails_to_get_ready,
            is_clone: false,
        });
        let mut answered = 0;
        let lines = spans_of(async {
            let service = service.ready().await.unwrap();
            answered = service.call(7).await.unwrap();
        });
        (lines, answered)
    }

    #[allow(clippy::disallowed_methods)] // A test's own service may box.
    fn boxed(answer: impl Future<Output = Result<u32, Text>> + 'static) -> Answer {
        Box::pin(async { answer.await.map_err(BoxError::from) })
    }

    /// Answers after 120 ms.
    async fn late(attempt: u32) -> Result<u32, Text> {
        tokio::time::sleep(MS * 120).await;
        Ok(attempt)
    }

    #[test]
    fn ob2_each_attempt_is_a_span_around_its_polls_and_says_whether_it_has_won() {
        let wins = |attempt| match attempt {
            1 => boxed(pending()),
            _ => boxed(second_succeeds(attempt)),
        };
        let expected = [
            "attempt policy=reads attempt=1 delay_ms=0 result=dropped",
            "attempt policy=reads attempt=2 delay_ms=50 message=polled attempt=2 hedge_won=true result=success",
        ];
        assert_eq!(spans(false, wins), (expected.map(String::from).into(), 2));
        let fails = |attempt| match attempt {
            1 => boxed(late(attempt)),
            _ => boxed(second_succeeds(1)),
        };
        let expected = [
            "attempt policy=reads attempt=1 delay_ms=0 result=success",
            "attempt policy=reads attempt=2 delay_ms=50 message=polled attempt=1 hedge_won=false failure=error result=failure",
        ];
        assert_eq!(spans(false, fails), (expected.map(String::from).into(), 1));
    }

    #[test]
    fn ob2_an_attempt_whose_service_does_not_get_ready_has_not_won() {
        let expected = [
            "attempt policy=reads attempt=1 delay_ms=0 result=success",
            "attempt policy=reads attempt=2 delay_ms=50 hedge_won=false failure=error result=failure",
        ];
        let found = spans(true, |attempt| boxed(late(attempt)));
        assert_eq!(found, (expected.map(String::from).into(), 1));
    }
}

#[test]
fn ob2_a_dropped_or_panicked_attempt_says_so() {
    let calls = async {
        let retry = retry();
        let never = |_| pending::<Result<(), Text>>();
        drop(tokio::time::timeout(MS, retry.run(never)).await);
        let panics = retry.run(async |_| -> Result<(), Text> { panic!("of the test") });
        let mut panics = pin!(panics);
        let mut cx = Context::from_waker(Waker::noop());
        drop(catching(|| panics.as_mut().poll(&mut cx)).unwrap_err());
        // Already where the attempt is made.
        let hedge = Hedge::builder().delay(MS).build().unwrap();
        let not_made = |_| -> std::future::Ready<Result<(), Text>> { panic!("of the test") };
        let mut panics = pin!(hedge.run(not_made));
        drop(catching(|| panics.as_mut().poll(&mut cx)).unwrap_err());
    };
    let lines = spans_of(calls);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].ends_with(" result=dropped"), "{lines:#?}");
    assert!(lines[1].ends_with(" result=panicked"), "{lines:#?}");
    assert!(lines[2].ends_with(" result=panicked"), "{lines:#?}");
}

#[test]
fn ob1_a_subscriber_that_panics_leaves_no_call_without_an_end() {
    let spans = Spans(Arc::default(), Level::TRACE);
    spans.0.lock().panics = true;
    let hedge = Hedge::builder().delay(MS).build().unwrap();
    let retry = retry();
    traced(spans, || {
        let mut cx = Context::from_waker(Waker::noop());
        let mut hedged = pin!(hedge.run(|_| async { Ok::<_, Text>(7) }));
        drop(catching(|| hedged.as_mut().poll(&mut cx)).unwrap_err());
        let mut retried = pin!(retry.run(|_| async { Ok::<_, Text>(7) }));
        drop(catching(|| retried.as_mut().poll(&mut cx)).unwrap_err());
    });
    for totals in [hedge.snapshot().totals, retry.snapshot().totals] {
        assert_eq!(totals.in_flight(), 0, "{totals:?}");
    }
}

#[test]
fn ob2_no_span_is_made_for_a_subscriber_above_debug() {
    let calls = async { assert_eq!(retry().run(second_succeeds).await.unwrap(), 2) };
    assert!(spans_up_to(Level::INFO, calls).is_empty());
}
