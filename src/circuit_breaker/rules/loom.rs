use ::loom::thread;

use super::*;

const NOW: Tick = Tick(5_000_000);

fn record(rules: &Rules, failure: Option<FailureKind>) {
    let call = Ended {
        failure: failure.map(|kind| (kind, None)),
        elapsed: None,
        slot: None,
    };
    // As a breaker does.
    if failure.is_some() || rules.has_streak(1) {
        assert_eq!(rules.record(1, NOW, &call), None);
    }
}

#[test]
fn a_success_leaves_no_streak() {
    let failed = Some(FailureKind::Error);
    for others in [[failed, failed], [failed, None]] {
        ::loom::model(move || {
            let config = Config {
                trips: vec![Trip::consecutive_failures(9)],
                ..Config::default()
            };
            let rules = Arc::new(Rules::new(config, 1, NOW, None));
            record(&rules, failed);
            let others = others.map(|call| {
                let rules = Arc::clone(&rules);
                thread::spawn(move || record(&rules, call))
            });
            record(&rules, None);
            for other in others {
                other.join().unwrap();
            }
            record(&rules, None);
            let (_, counts) = rules.counts(1, NOW)[0];
            assert_eq!((counts.failures, counts.consecutive), (0, 0));
        });
    }
}

#[test]
fn a_success_that_has_ended_is_in_no_run_of_failures() {
    ::loom::model(|| {
        let config = Config {
            trips: vec![Trip::consecutive_failures(2)],
            ..Config::default()
        };
        let rules = Arc::new(Rules::new(config, 1, NOW, None));
        record(&rules, Some(FailureKind::Error));
        let other = {
            let rules = Arc::clone(&rules);
            thread::spawn(move || {
                // The success is between the two failures, whatever the other one does.
                record(&rules, None);
                record(&rules, Some(FailureKind::Error));
            })
        };
        record(&rules, None);
        other.join().unwrap();
    });
}
