//! A keyed policy without its types, as the registry lists it.

use std::any::Any;

#[cfg(feature = "serde")]
use super::per_key::Change;
use super::per_key::Each;
use crate::common::Group;
#[cfg(feature = "serde")]
use crate::config::ConfigError;
use crate::config::{Mode, Name, PolicyKind};
use crate::policy_id::{self, PolicyId, Registration};
use crate::sync::{Arc, Weak};

/// A keyed policy of any key and any policy.
pub(crate) trait Erased: Send + Sync {
    /// A [`Keyed`] of its types.
    fn handle(self: Arc<Self>) -> Box<dyn Any>;

    fn name(&self) -> &Name;

    fn kind(&self) -> PolicyKind;

    fn group(&self) -> &Arc<Group>;

    fn mode(&self) -> Mode;

    fn set_mode(&self, mode: Mode);

    /// Applies `change` to the policies that it has made: those of all keys, the anonymous and the
    /// overflow one.
    #[cfg(feature = "serde")]
    fn change(&self, change: &Change<dyn Any>) -> Result<(), ConfigError>;

    /// Applies `change` to each policy that it makes from now on. One that is under construction
    /// needs a [`change`](Self::change) after this.
    #[cfg(feature = "serde")]
    fn change_new(&self, change: Change<dyn Any>);

    fn capacity(&self) -> usize;

    fn len(&self) -> usize;

    fn overflowed(&self) -> u64;

    fn keyless(&self) -> u64;

    /// The policy of requests without a key.
    fn anonymous(&self) -> &dyn Any;

    /// The policy that new keys share, if there is one.
    fn overflow(&self) -> Option<&dyn Any>;

    /// The anonymous and the overflow policy, each if it has had a request or is no longer as good as
    /// new.
    fn shared_in_use(&self) -> [Option<&dyn Any>; 2];

    /// Calls `f` with each entry: the text of its key, and its policy.
    fn each(&self, f: &mut Each<'_, dyn Any>);
}

/// What the registry keeps of a keyed policy.
pub(crate) struct Listing {
    policy: Weak<dyn Erased>,
    registration: Registration,
}

impl Listing {
    pub(super) fn of(policy: Weak<dyn Erased>) -> Arc<Self> {
        policy_id::list(|registration| Self {
            policy,
            registration,
        })
    }

    pub(crate) fn id(&self) -> Option<PolicyId> {
        self.registration.id()
    }

    /// The policy, if it still has a handle.
    pub(crate) fn policy(&self) -> Option<Arc<dyn Erased>> {
        self.policy.upgrade()
    }
}
