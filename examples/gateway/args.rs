//! The command line. An error is one line with the flag, its value and what is allowed.

use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::HeaderName;
use clap::Parser;
use clap::error::ErrorKind;
use seawall::ConfigError;

use crate::policies::Limits;
use crate::target::Target;
use crate::upstream::WORKERS;

/// A reverse proxy that puts rate limits, timeouts, retries, hedging, circuit breakers and bulkheads
/// in front of HTTP services. Without --upstream it demonstrates them: it starts a faulty upstream,
/// sends the same load through an unprotected proxy and through a protected one, and prints a table.
///
/// It answers /healthz and /readyz itself and forwards everything else.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The service to protect: http://host[:port][/path]. https is not supported. With several, requests
    /// go to each in turn, except to those whose breaker rejects them
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    pub(crate) upstream: Vec<Target>,

    /// Where to listen, with --upstream [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Speak HTTP/2 without TLS to the upstream, as gRPC servers expect
    #[arg(long, requires = "upstream")]
    pub(crate) upstream_http2: bool,

    /// After Ctrl-C, how long running requests may take to finish
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) drain: Duration,

    /// How long the demonstration runs, from 6 to 600 [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true)]
    pub(crate) seconds: Option<Duration>,

    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = count, allow_hyphen_values = true)]
    rate: u32,

    /// Requests that may come at one instant [default: a second's worth]
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    burst: Option<u32>,

    /// Requests a second of one client, and at one instant [default: no limit of its own]
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    client_rate: Option<u32>,

    /// The header that identifies a client, if a proxy in front has verified it
    /// [default: the address]
    #[arg(long, value_name = "HEADER", value_parser = header, requires = "client_rate")]
    client_key: Option<HeaderName>,

    /// Requests in flight, to all upstreams together
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = up_to::<65_535>, allow_hyphen_values = true)]
    in_flight: u32,

    /// From the arrival of a request to the head of its response
    /// [default: 10s; in the demonstration 500ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,

    /// From the call of the upstream, upload included, to the head of its response
    /// [default: 3s; in the demonstration 250ms; at most the --timeout]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    attempt_timeout: Option<Duration>,

    /// Attempts of a request at most, with the first. Only idempotent requests without a body have
    /// more than one
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = up_to::<10>, allow_hyphen_values = true)]
    attempts: u32,

    /// Extra attempts of retries and hedges together, in percent of the requests that succeed; one
    /// after throttling counts as five
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = within::<0, 100>, allow_hyphen_values = true)]
    budget: u32,

    /// Starts an extra attempt when one takes longer than this share of them, and returns the first
    /// answer [default: none; in the demonstration 0.95]
    #[arg(long, value_name = "SHARE", value_parser = quantile, allow_hyphen_values = true)]
    hedge: Option<f64>,

    /// Attempts in flight to one upstream
    /// [default: 100; in the demonstration 5, one for each worker of its upstream]
    #[arg(long, value_name = "N", value_parser = up_to::<65_535>, allow_hyphen_values = true)]
    capacity: Option<u32>,

    /// Requests that wait for one of these permits, at most
    /// [default: 100; in the demonstration 10]
    #[arg(long, value_name = "N", value_parser = within::<0, 1_000_000>, allow_hyphen_values = true)]
    queue: Option<u32>,

    /// How long such a request waits at most [default: 100ms; at most the --timeout]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, allow_hyphen_values = true)]
    queue_wait: Option<Duration>,

    /// The breaker of an upstream opens after this many failures in a row ...
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = up_to::<4_095>, allow_hyphen_values = true)]
    failures: u32,

    /// ... that lasted at least this long [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, allow_hyphen_values = true)]
    failing_for: Option<Duration>,

    /// The breaker opens at this share of failures over 10 s, or over the --attempt-timeout where
    /// that is longer, above 0 and at most 1 ...
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share, allow_hyphen_values = true)]
    failure_rate: f64,

    /// ... once they have this number of calls
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = count, allow_hyphen_values = true)]
    min_calls: u32,

    /// How long the breaker stays open at first; it doubles with each failed recovery
    /// [default: 250ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    open_for: Option<Duration>,

    /// How long it stays open at most [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    open_at_most: Option<Duration>,

    /// Probes that a half-open breaker admits; all must succeed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to::<255>, allow_hyphen_values = true)]
    probes: u32,
}

/// Why the program does not start.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The help or the version was requested.
    Answered(clap::Error),
    /// The command line is invalid; the one line that says why.
    Wrong(String),
}

impl Args {
    /// Reads the command line. With an error everything is printed, and the exit code is left.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::from(std::env::args_os()).map_err(|stop| match stop {
            Stop::Answered(error) => {
                let _ = error.print();
                ExitCode::SUCCESS
            }
            Stop::Wrong(what) => wrong(what),
        })
    }

    pub(crate) fn from<T: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = T>,
    ) -> Result<Self, Stop> {
        let args = Self::try_parse_from(line).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Answered(error),
            kind => {
                let text = error.to_string();
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                // After the first line comes the usage, or the names of the missing flags.
                let count = if kind == ErrorKind::MissingRequiredArgument {
                    2
                } else {
                    1
                };
                let lines: Vec<_> = lines.take(count).collect();
                Stop::Wrong(lines.join(" ").trim_start_matches("error: ").to_owned())
            }
        })?;
        args.check().map_err(Stop::Wrong)?;
        Ok(args)
    }

    fn check(&self) -> Result<(), String> {
        match (self.upstream.is_empty(), self.listen, self.seconds) {
            (true, Some(listen), _) => {
                Err(format!("invalid --listen: {listen} (only with --upstream)"))
            }
            (false, _, Some(seconds)) => Err(format!(
                "invalid --seconds: {} (only without --upstream)",
                seconds.as_secs_f64()
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(([127, 0, 0, 1], 8080).into())
    }

    /// The limits in front of an upstream of unknown speed.
    pub(crate) fn limits(&self) -> Result<Limits, String> {
        self.limits_with(&Defaults {
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            hedge: None,
            hedge_samples: 100,
            capacity: 100,
            queue: 100,
            second: Duration::from_secs(1),
        })
    }

    /// The limits in front of the demonstration's upstream, which answers in milliseconds. A short
    /// demonstration has short outages, so `scale` shortens the breaker's times.
    pub(crate) fn demo_limits(&self, scale: f64) -> Result<Limits, String> {
        let attempt = Duration::from_millis(250).mul_f64(scale.max(0.6));
        self.limits_with(&Defaults {
            timeout: 2 * attempt,
            attempt_timeout: attempt,
            hedge: Some(0.95),
            // A quarter of a second's load: fewer calls than before the first stragglers.
            hedge_samples: 50,
            capacity: WORKERS,
            queue: 2 * WORKERS,
            second: Duration::from_secs(1).mul_f64(scale),
        })
    }

    fn limits_with(&self, defaults: &Defaults) -> Result<Limits, String> {
        let second = defaults.second;
        let open_for = self.open_for.unwrap_or(second / 4);
        let open_at_most = self.open_at_most.unwrap_or(second.max(open_for));
        if open_at_most < open_for {
            return Err(format!(
                "invalid --open-at-most: {open_at_most:?} (must be at least the {open_for:?} of --open-for)"
            ));
        }
        let timeout = self.timeout.unwrap_or(defaults.timeout);
        let within = |default: Duration| default.min(timeout);
        let attempt_timeout = self.attempt_timeout;
        Ok(Limits {
            rate: self.rate,
            burst: self.burst.unwrap_or(self.rate),
            client_rate: self.client_rate,
            client_key: self.client_key.clone(),
            in_flight: self.in_flight,
            timeout,
            attempt_timeout: attempt_timeout.unwrap_or(within(defaults.attempt_timeout)),
            attempts: self.attempts,
            budget: self.budget,
            hedge: self.hedge.or(defaults.hedge),
            hedge_samples: defaults.hedge_samples,
            capacity: self.capacity.unwrap_or(defaults.capacity),
            queue: self.queue.unwrap_or(defaults.queue),
            queue_wait: self.queue_wait.unwrap_or(within(QUEUE_WAIT)),
            failures: self.failures,
            failing_for: self.failing_for.unwrap_or(second),
            failure_rate: self.failure_rate,
            min_calls: self.min_calls,
            open_for,
            open_at_most,
            probes: self.probes,
        })
    }
}

const QUEUE_WAIT: Duration = Duration::from_millis(100);

/// The defaults that differ between a gateway and the demonstration.
struct Defaults {
    timeout: Duration,
    attempt_timeout: Duration,
    hedge: Option<f64>,
    hedge_samples: u32,
    capacity: u32,
    queue: u32,
    /// The second that the breaker's times are in.
    second: Duration,
}

/// The problems that the policies found, under the names of the flags. Each flag by itself was
/// checked before.
pub(crate) fn named(error: &ConfigError) -> String {
    let problems = error.problems().iter().map(|problem| {
        let flag = match problem.field.as_str() {
            "bulkhead.max_wait" => "queue-wait".into(),
            field => field.replace('_', "-"),
        };
        let allowed = problem.allowed.replace("total_timeout", "--timeout");
        format!("invalid --{flag}: {} (must be {allowed})", problem.value)
    });
    problems.collect::<Vec<_>>().join("; ")
}

/// Prints what is wrong.
pub(crate) fn wrong(what: impl Display) -> ExitCode {
    eprintln!("gateway: {what}");
    ExitCode::from(2)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an address and a port like 127.0.0.1:8080".into())
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse()
        .map_err(|_| "must be the name of a header like x-api-key".into())
}

fn count(text: &str) -> Result<u32, String> {
    up_to::<{ u32::MAX }>(text)
}

fn up_to<const MOST: u32>(text: &str) -> Result<u32, String> {
    within::<1, MOST>(text)
}

fn within<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (LEAST..=MOST).contains(&count) => Ok(count),
        _ => Err(format!("must be a whole number from {LEAST} to {MOST}")),
    }
}

fn quantile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.000_001..=0.999_999).contains(&share) => Ok(share),
        _ => Err("must be a number above 0 and below 1, to the millionth".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("must be a number above 0 and at most 1".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (6.0..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number of seconds from 6 to 600".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be a time above 0 and at most 1h, like 250ms, 3s or 1m".into()),
    }
}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be a time from 0s to 1h, like 250ms, 3s or 1m".into())
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (0.0..=3_600.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}
