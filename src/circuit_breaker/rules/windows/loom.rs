use ::loom::thread;

use super::*;
use crate::circuit_breaker::rules::Config;
use crate::circuit_breaker::{Trip, Window};

const MS: u64 = 1_000_000;

/// Whoever may count without the time finds the window in the bucket of this time.
#[test]
fn a_success_is_never_counted_in_a_bucket_that_is_over() {
    ::loom::model(|| {
        let window = Window::time(std::time::Duration::from_millis(1)).buckets(1);
        let config = Config {
            trips: vec![Trip::failure_rate(0.5).over(window)],
            ..Config::default()
        };
        let rules = Arc::new(Rules::new(config, 0, Tick(0), None));
        let windows = Arc::new(Windows::of(&rules));
        let now = Tick(MS);
        let succeed = move |windows: &Windows| {
            let counted = windows.succeed(0, || None, || Count(MS), |_| false);
            if counted.is_err() {
                windows.succeed_at(0, now, None, |tick| Count(tick.0));
            }
        };
        let other = {
            let windows = Arc::clone(&windows);
            thread::spawn(move || succeed(&windows))
        };
        succeed(&windows);
        other.join().unwrap();
        let counts = rules
            .counts(0, now)
            .into_iter()
            .map(|(_, counts)| counts.calls);
        assert_eq!(counts.collect::<Vec<_>>(), [2]);
    });
}
