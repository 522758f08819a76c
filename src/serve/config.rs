use std::time::Duration;

use crate::config::Problems;

#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_connections: u32,
    pub(super) max_per_address: Option<u32>,
    pub(super) max_age: Option<Duration>,
    pub(super) settle: Duration,
    pub(super) drain: Duration,
    pub(super) signals: bool,
}

impl Config {
    pub(super) const DEFAULT: Self = Self {
        // Long enough for a phone in a tunnel, short enough that a held socket is cheap.
        header_timeout: Duration::from_secs(10),
        // Longer than the 60 s of most load balancers: the side that closes last loses no request.
        idle_timeout: Duration::from_secs(75),
        max_connections: 10_000,
        max_per_address: None,
        max_age: None,
        // Together within the 30 s that Kubernetes gives a container.
        settle: Duration::from_secs(5),
        drain: Duration::from_secs(20),
        signals: true,
    };

    pub(super) fn check(&self, problems: &mut Problems) {
        let mut above_zero = |field, value: Option<Duration>| {
            let fits = value.is_none_or(|value| !value.is_zero());
            problems.check(fits, field, value.unwrap_or_default(), "above 0");
        };
        above_zero("header_timeout", Some(self.header_timeout));
        above_zero("idle_timeout", Some(self.idle_timeout));
        above_zero("max_age", self.max_age);
        let mut at_least_one = |field, value: Option<u32>| {
            problems.check(value != Some(0), field, 0, "at least 1");
        };
        at_least_one("max_connections", Some(self.max_connections));
        at_least_one("max_connections_per_address", self.max_per_address);
    }
}
