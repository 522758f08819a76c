//! `sqlx` turns on the feature `log` of `tracing`: a program with a logger and without a subscriber
//! gets its events there.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};
use seawall::{CircuitBreaker, Trip};

struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn ob2_a_logger_without_a_subscriber_gets_the_transitions_of_a_breaker() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Info);
    let breaker = CircuitBreaker::builder("users").trip_on(Trip::consecutive_failures(1));
    let breaker = breaker.build().unwrap();
    breaker.try_acquire().unwrap().failure();
    breaker.reset();
    let lines = LINES.0.lock().unwrap();
    let starts = [
        "WARN seawall circuit breaker opened resilience.policy=users",
        "INFO seawall circuit breaker changed state resilience.policy=users",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}
