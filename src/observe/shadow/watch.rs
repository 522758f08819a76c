use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Record;
use super::report::Report;
#[cfg(feature = "tokio")]
use crate::config::Mode;
use crate::config::{Name, PolicyKind};
use crate::event::{Event, Subscription};
use crate::observe::registry::{self, Policy};
use crate::sync::{Arc, Mutex};
use crate::time::{self, Tick};
use crate::{bulkhead, macros};

/// How many policies are kept, the policies of keys among them.
const MAX_POLICIES: usize = 1_000;

/// Watches policies and reports what they would have done. See the [module](super).
///
/// Dropping it ends the watch.
#[must_use = "dropping a shadow ends its watch"]
pub struct Shadow {
    seen: Arc<Seen>,
    subscriptions: Vec<Subscription>,
}

struct Seen {
    start: Tick,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    by_name: BTreeMap<Box<str>, Record>,
    not_kept: u64,
}

/// A policy that is watched.
struct Watched {
    kind: PolicyKind,
    bulkhead: Option<bulkhead::Snapshot>,
    /// The shortest limit of the timeouts that are watched and only record. It would end a call
    /// of the bulkhead.
    longest: Duration,
}

impl Shadow {
    /// Watches the policies of a stack, or one policy: those that have this name, and those whose
    /// name begins with it and a point.
    ///
    /// It watches no policy that is built later, and knows a bulkhead by the limit and the queue
    /// that it has now.
    pub fn of(name: &str) -> Self {
        let is_part = |of: &Name| {
            let rest = of.as_str().strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let policies = registry::policies().into_iter();
        Self::watch(policies.filter(|policy| is_part(policy.name())))
    }

    /// Watches these policies.
    pub fn watch(policies: impl IntoIterator<Item = Policy>) -> Self {
        let seen = Arc::new(Seen {
            start: time::now(),
            records: Mutex::default(),
        });
        let policies: Vec<_> = policies.into_iter().collect();
        let longest = policies.iter().filter_map(limit_to_be).min();
        let watch = |policy: &Policy| {
            let seen = Arc::clone(&seen);
            let watched = Watched::new(policy, longest.unwrap_or(Duration::MAX));
            policy.on_event(move |event| seen.note(&watched, event))
        };
        Self {
            subscriptions: policies.iter().map(watch).collect(),
            seen,
        }
    }

    /// How many policies it watches. One for each key counts once.
    pub fn policies(&self) -> usize {
        self.subscriptions.len()
    }

    /// What has been seen until now. The watch goes on.
    pub fn report(&self) -> Report {
        let now = self.seen.elapsed();
        let mut records = self.seen.records.lock();
        let by_name = records.by_name.iter_mut();
        Report {
            watched: now,
            policies: by_name
                .map(|(name, record)| record.verdict(name, now))
                .collect(),
            not_kept: records.not_kept,
        }
    }
}

/// The limit of a timeout that only records.
fn limit_to_be(policy: &Policy) -> Option<Duration> {
    match policy {
        #[cfg(feature = "tokio")]
        Policy::Timeout(timeout) if timeout.mode() == Mode::RecordOnly => Some(timeout.limit()),
        _ => None,
    }
}

impl Watched {
    fn new(policy: &Policy, longest: Duration) -> Self {
        let bulkhead = match policy {
            Policy::Bulkhead(bulkhead) => Some(bulkhead.snapshot()),
            Policy::Keyed(keyed) => match keyed.anonymous() {
                Some(Policy::Bulkhead(bulkhead)) => Some(bulkhead.snapshot()),
                _ => None,
            },
            _ => None,
        };
        Self {
            kind: policy.kind(),
            bulkhead,
            longest,
        }
    }
}

impl Seen {
    fn elapsed(&self) -> Duration {
        time::now().since(self.start)
    }

    fn note(&self, watched: &Watched, event: &Event<'_>) {
        let now = self.elapsed();
        let mut records = self.records.lock();
        let name = event.policy.as_str();
        if !records.by_name.contains_key(name) {
            if records.by_name.len() >= MAX_POLICIES {
                records.not_kept += 1;
                return;
            }
            let record = Record::new(watched.kind, watched.bulkhead.as_ref(), watched.longest);
            records.by_name.insert(name.into(), record);
        }
        if let Some(record) = records.by_name.get_mut(name) {
            record.note(&event.kind, now);
        }
    }
}

macros::debug_fields!(Shadow, this: policies = this.policies());
