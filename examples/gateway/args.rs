//! The command line. An error is one line with the flag, its value and what is allowed.

use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use seawall::ConfigError;
use seawall::http::IpNet;

use crate::policies::{Breaker, Limits};
use crate::target::Target;
use crate::upstream::WORKERS;

/// A reverse proxy that puts rate limits, timeouts, retries, hedging, circuit breakers and bulkheads
/// in front of HTTP services. Without --upstream it demonstrates them: it starts a faulty upstream,
/// sends the same load through an unprotected proxy and through a protected one, and prints a table.
///
/// It answers /healthz, /readyz and /metrics itself and forwards everything else.
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

    /// After SIGTERM, how long it serves on while it is not ready [default: 5s]
    #[arg(long, requires = "upstream", value_name = "DURATION", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) settle: Option<Duration>,

    /// After that, how long requests in flight may take to finish [default: 20s]
    #[arg(long, requires = "upstream", value_name = "DURATION", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) drain: Option<Duration>,

    /// Where to serve the live page of the policies [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    console: Option<SocketAddr>,

    /// The page can also change the policies. Put your own authentication in front of --console
    #[arg(long)]
    pub(crate) levers: bool,

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

    /// A network of the proxies in front. A client's address is then what they say it is
    #[arg(long, value_name = "NETWORK", value_parser = network, requires = "client_rate")]
    trust: Vec<IpNet>,

    /// Requests in flight, to all upstreams together
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = up_to::<65_535>, allow_hyphen_values = true)]
    in_flight: u32,

    /// From the arrival of a request to the head of its response; a body may take as long as it makes
    /// progress [default: 10s; in the demonstration 500ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,

    /// From the call of the upstream, upload included, to the head of its response
    /// [default: 3s; in the demonstration 250ms; at most 10s and the --timeout]
    #[arg(long, value_name = "DURATION", value_parser = attempt, allow_hyphen_values = true)]
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

    pub(crate) fn console(&self) -> SocketAddr {
        self.console.unwrap_or(([127, 0, 0, 1], 0).into())
    }

    /// The limits in front of an upstream of unknown speed.
    pub(crate) fn limits(&self) -> Limits {
        let secs = Duration::from_secs;
        let timeout = self.timeout.unwrap_or(secs(10));
        self.limits_with(timeout, secs(3), [100, 100])
    }

    /// The limits in front of the demonstration's upstream, which answers in milliseconds. A short
    /// demonstration has short outages, so `scale` shortens the breaker's times.
    pub(crate) fn demo_limits(&self, scale: f64) -> Limits {
        let attempt = Duration::from_millis(250).mul_f64(scale.max(0.6));
        let timeout = self.timeout.unwrap_or(2 * attempt);
        let limits = self.limits_with(timeout, attempt, [WORKERS, 2 * WORKERS]);
        Limits {
            hedge: self.hedge.or(Some(0.95)),
            // A quarter of a second's load: fewer calls than before the first stragglers.
            hedge_samples: 50,
            breaker: (scale < 1.0).then(|| Breaker::within(Duration::from_secs(1).mul_f64(scale))),
            ..limits
        }
    }

    fn limits_with(&self, timeout: Duration, attempt: Duration, upstream: [u32; 2]) -> Limits {
        Limits {
            rate: self.rate,
            burst: self.burst.unwrap_or(self.rate),
            client_rate: self.client_rate,
            trust: self.trust.clone(),
            in_flight: self.in_flight,
            timeout,
            attempt_timeout: self.attempt_timeout.unwrap_or(attempt).min(timeout),
            attempts: self.attempts,
            budget: self.budget,
            hedge: self.hedge,
            hedge_samples: 100,
            capacity: self.capacity.unwrap_or(upstream[0]),
            queue: self.queue.unwrap_or(upstream[1]),
            queue_wait: timeout.min(Duration::from_millis(100)),
            breaker: None,
        }
    }
}

/// The problems that the policies found, under the names of the flags. Each flag by itself was
/// checked before.
pub(crate) fn named(error: &ConfigError) -> String {
    let problems = error.problems().iter().map(|problem| {
        let flag = problem.field.replace('_', "-");
        format!(
            "invalid --{flag}: {} (must be {})",
            problem.value, problem.allowed
        )
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

fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .map_err(|_| "must be a network like 10.0.0.0/8".into())
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

/// At most what the rate of a breaker looks back over.
fn attempt(text: &str) -> Result<Duration, String> {
    let at_most = |time: &Duration| *time <= Duration::from_secs(10);
    let attempt = duration(text).ok().filter(at_most);
    attempt.ok_or_else(|| "must be a time above 0 and at most 10s, like 250ms".into())
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
