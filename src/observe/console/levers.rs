//! The levers: changes of live policies by hand.

use serde::Deserialize;
use serde_json::Value;

use super::document::Handle;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::config::{Mode, PolicyKind};
use crate::observe::settings;
use crate::rate_limit::{Quota, RateLimiter};
use crate::registry::{self, Policy};

const MODES: &[&str] = &["enforce", "record_only", "off"];

/// One use of a lever.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pull {
    pub(super) id: u64,
    /// Compared with that of the policy, so that a page that is old changes no other one.
    pub(super) name: String,
    lever: String,
    #[serde(default)]
    value: Value,
}

#[derive(Debug, PartialEq)]
pub(super) enum Error {
    /// There is no such policy any more.
    Gone,
    Invalid(String),
}

impl Error {
    fn invalid(what: &str, value: &str, allowed: &str) -> Self {
        Self::Invalid(format!("invalid `{what}`: {value} (must be {allowed})"))
    }
}

/// A lever of a breaker.
type Act = fn(&CircuitBreaker);
const OF_BREAKERS: [(&str, Act); 3] = [
    ("force_open", CircuitBreaker::force_open),
    ("release", CircuitBreaker::release),
    ("reset", CircuitBreaker::reset),
];

/// The levers of a policy, with their present values.
pub(super) fn of(policy: &Policy) -> Vec<Handle> {
    let setter = |lever, now| Handle {
        lever,
        now: Some(now),
        ..Handle::default()
    };
    let mut levers = vec![Handle {
        allowed: Some(MODES),
        ..setter("mode", policy.mode().label().to_owned())
    }];
    match policy {
        Policy::RateLimiter(limiter) => levers.push(setter("rate", written(limiter.quota()))),
        Policy::Bulkhead(bulkhead) => levers.push(setter("limit", bulkhead.limit().to_string())),
        _ if policy.kind() == PolicyKind::CircuitBreaker => {
            levers.extend(OF_BREAKERS.map(|(lever, _)| Handle {
                lever,
                key: policy.is_keyed(),
                ..Handle::default()
            }));
        }
        _ => {}
    }
    levers
}

/// Does what the lever says, and says what it did.
pub(super) fn pull(pull: &Pull) -> Result<String, Error> {
    let policies = registry::policies();
    let mut policies = policies.iter();
    let policy = policies
        .find(|policy| policy.id() == Some(pull.id) && policy.name().as_str() == pull.name)
        .ok_or(Error::Gone)?;
    let value = match &pull.value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let did = work(policy, &pull.lever, &value)?;
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "seawall", { resilience.policy = %pull.name, resilience.did = %did }, "a lever of the console was used");
    Ok(did)
}

fn work(policy: &Policy, lever: &str, value: &str) -> Result<String, Error> {
    let breaker = OF_BREAKERS.iter().find(|(name, _)| *name == lever);
    match (policy, lever, breaker) {
        (_, "mode", _) => set_mode(policy, value),
        (Policy::RateLimiter(limiter), "rate", _) => set_rate(limiter, value),
        (Policy::Bulkhead(bulkhead), "limit", _) => set_limit(bulkhead, value),
        (Policy::CircuitBreaker(breaker), _, Some((_, act))) => Ok(steer(breaker, act)),
        (Policy::Keyed(keyed), _, Some((_, act))) if keyed.kind() == PolicyKind::CircuitBreaker => {
            match keyed.policy_of(value) {
                Some(Policy::CircuitBreaker(breaker)) => {
                    Ok(format!("{value}: {}", steer(&breaker, act)))
                }
                _ => Err(Error::invalid("key", value, "a key that has an entry")),
            }
        }
        _ => {
            let levers = of(policy);
            let levers: Vec<_> = levers.iter().map(|handle| handle.lever).collect();
            Err(Error::invalid("lever", lever, &levers.join(" or ")))
        }
    }
}

fn steer(breaker: &CircuitBreaker, act: &Act) -> String {
    let before = breaker.state();
    act(breaker);
    format!("{} (it was {before})", breaker.state())
}

fn set_mode(policy: &Policy, value: &str) -> Result<String, Error> {
    let modes = [Mode::Enforce, Mode::RecordOnly, Mode::Off];
    let mode = modes.into_iter().find(|&mode| mode.label() == value);
    let mode = mode.ok_or_else(|| Error::invalid("mode", value, &MODES.join(" or ")))?;
    let before = policy.mode();
    policy.set_mode(mode);
    Ok(format!("the mode is {mode} (it was {before})"))
}

fn set_limit(bulkhead: &Bulkhead, value: &str) -> Result<String, Error> {
    let allowed = "a whole number from 0 to 1,000,000";
    let limit = value
        .parse()
        .map_err(|_| Error::invalid("limit", value, allowed))?;
    let before = bulkhead.limit();
    let set = bulkhead.set_limit(limit);
    set.map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(format!("the limit is {limit} (it was {before})"))
}

fn set_rate(limiter: &RateLimiter, value: &str) -> Result<String, Error> {
    let before = limiter.quota();
    let quota = settings::quota(value);
    let quota = quota.ok_or_else(|| Error::invalid("rate", value, settings::RATE))?;
    // A burst that was set stays; otherwise it is what one period gives.
    let quota = match before.max_burst() == before.count() {
        true => quota,
        false => quota.burst(before.max_burst()),
    };
    let set = limiter.set_quota(quota);
    set.map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(format!("the rate is {quota} (it was {before})"))
}

/// The text that [`settings::quota`] takes, if there is a short one.
fn written(quota: Quota) -> String {
    let units = [("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400)];
    let unit = units
        .iter()
        .find(|(_, seconds)| quota.period().as_secs_f64() == f64::from(*seconds));
    match unit {
        Some((unit, _)) if !quota.is_unlimited() => format!("{}/{unit}", quota.count()),
        _ => quota.to_string(),
    }
}
