//! What the policies of one keyed policy share.

#[cfg(feature = "tracing")]
use super::summary::Summaries;
use crate::config::PolicyKind;
use crate::counters::Cells;
use crate::event::Listeners;
use crate::per_thread;
use crate::sync::Arc;

/// What the policies of one keyed policy share.
#[derive(Debug)]
pub(crate) struct Group {
    kind: PolicyKind,
    /// They receive the events of all these policies, and those of the keyed policy itself.
    pub(crate) listeners: Listeners,
    /// Their rejections are summarised together.
    #[cfg(feature = "tracing")]
    pub(super) summaries: Summaries,
    /// They count all calls of these policies.
    pub(crate) cells: Arc<Cells>,
}

impl Group {
    pub(crate) fn new(kind: PolicyKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            listeners: Listeners::default(),
            #[cfg(feature = "tracing")]
            summaries: Summaries::default(),
            cells: Arc::default(),
        })
    }

    /// Runs `make`. The policies of this kind that it makes belong to the group, and the registry
    /// lists none that it makes.
    pub(crate) fn make<T>(self: &Arc<Self>, make: impl FnOnce() -> T) -> T {
        self.make_for(None, make)
    }

    /// The same for a key, whose text the events of the policies carry.
    pub(crate) fn make_for<T>(
        self: &Arc<Self>,
        key: Option<String>,
        make: impl FnOnce() -> T,
    ) -> T {
        let group = Arc::clone(self);
        let key = key.map(Arc::from);
        per_thread::in_group(Arc::new(Member { group, key }), make)
    }
}

/// What a policy gets from the group that it is made for.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: Arc<Group>,
    /// The text of its key, if events carry it.
    pub(super) key: Option<Arc<str>>,
}

impl Member {
    /// That of a policy of this kind that is made now.
    pub(super) fn of(kind: PolicyKind) -> Option<Arc<Self>> {
        per_thread::group().filter(|member: &Arc<Self>| member.group.kind == kind)
    }
}

/// Runs `make`. The registry lists no policy that it makes.
pub(crate) fn unlisted<T>(make: impl FnOnce() -> T) -> T {
    per_thread::in_group(Arc::new(()), make)
}
