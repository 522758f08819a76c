use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config::PolicyKind;

/// What a [`Shadow`](super::Shadow) has seen. Its `Display` is a text for people.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// How long the shadow has watched.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub watched: Duration,
    /// What each policy would have done, by name. A policy that no call came to is not here.
    pub policies: Vec<Verdict>,
    /// Events of further policies, which are not kept: there are at most 1,000.
    pub not_kept: u64,
}

/// What one policy would have done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Verdict {
    /// The name of the policy.
    pub policy: String,
    /// Its kind.
    pub kind: PolicyKind,
    /// How many calls ended under it.
    pub calls: u64,
    /// What it would have done in each hour in which a call came; the last 168.
    pub hours: Vec<Hour>,
    /// The number that this traffic suggests.
    pub suggestion: Option<Suggestion>,
}

/// An hour since the shadow began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Hour {
    /// Its number. The first is 0.
    pub number: u64,
    /// How many calls ended.
    pub calls: u64,
    /// What would have been done how often: the [label] of the kind of a rejection, `rejected`
    /// for those of a bulkhead, `opened`, `retried`, `hedged`, `suppressed`, `fell_back`.
    ///
    /// [label]: crate::rejection::RejectionKind::label
    pub would: BTreeMap<&'static str, u64>,
}

/// A number that the traffic suggests: no call of it would have been rejected, or one in a
/// thousand for a timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Suggestion {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What was seen.
    pub reason: String,
}

impl Verdict {
    /// What it would have done how often, in all hours that are kept.
    pub fn would(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for (what, count) in self.hours.iter().flat_map(|hour| &hour.would) {
            *sums.entry(*what).or_default() += count;
        }
        sums
    }

    /// How many calls it would have rejected, for any reason.
    pub fn would_reject(&self) -> u64 {
        const OTHERS: [&str; 5] = ["opened", "retried", "hedged", "suppressed", "fell_back"];
        let would = self.would().into_iter();
        let rejected = would.filter(|(what, _)| !OTHERS.contains(what));
        rejected.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.watched.as_secs() / 60;
        writeln!(f, "watched for {} h {} min", minutes / 60, minutes % 60)?;
        for verdict in &self.policies {
            write!(f, "{verdict}")?;
        }
        match self.not_kept {
            0 => Ok(()),
            events => writeln!(f, "and {events} events of further policies"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (policy, kind, calls) = (&self.policy, self.kind, self.calls);
        let would = Would(&self.would()).to_string();
        writeln!(
            f,
            "{policy} ({kind}): {calls} calls; would have done: {would}"
        )?;
        for hour in self.hours.iter().filter(|hour| !hour.would.is_empty()) {
            let would = Would(&hour.would);
            writeln!(f, "  hour {}: {} calls; {would}", hour.number, hour.calls)?;
        }
        match &self.suggestion {
            Some(Suggestion {
                field,
                value,
                reason,
            }) => {
                writeln!(f, "  suggests {field} = {value}: {reason}")
            }
            None => Ok(()),
        }
    }
}

struct Would<'a>(&'a BTreeMap<&'static str, u64>);

impl fmt::Display for Would<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let mut separator = "";
        for (what, count) in self.0 {
            write!(f, "{separator}{what} {count}")?;
            separator = ", ";
        }
        Ok(())
    }
}
