use ::loom::thread;

use super::*;
use crate::sync::Arc;

const NOW: Tick = Tick(5 * MILLI);

#[test]
fn a_late_failure_never_lengthens_a_newer_streak() {
    ::loom::model(|| {
        let streak = Arc::new(Streak::new(1));
        let recent = Arc::new(Recent::new(2, 1));
        let late = {
            let (streak, recent) = (Arc::clone(&streak), Arc::clone(&recent));
            thread::spawn(move || {
                streak.failure(1, NOW, None);
                recent.failure(1, NOW);
            })
        };
        streak.begin(2);
        recent.begin(2);
        assert_eq!(streak.failure(2, NOW, None), (1, 0));
        assert_eq!(recent.failure(2, NOW), None);
        late.join().unwrap();
        assert_eq!(streak.length(2), 1);
        assert_eq!(recent.count(2, NOW, u64::MAX), 1);
    });
}

#[test]
fn a_streak_that_is_cut_counts_no_failure_twice() {
    ::loom::model(|| {
        let streak = Arc::new(Streak::within(3, 1));
        let fail = |second: u64| {
            let streak = Arc::clone(&streak);
            move || {
                streak
                    .failure(1, Tick(second * 1_000 * MILLI), Some(60_000))
                    .0
            }
        };
        assert_eq!((fail(0)(), fail(50)()), (1, 2));
        let other = thread::spawn(fail(61));
        let here = fail(62)();
        let longest = here.max(other.join().unwrap());
        assert_eq!(longest, streak.length(1));
        // The failures at 50, 61 and 62 s, or all but the one that is not stored yet.
        assert!(matches!(longest, 2 | 3), "{longest}");
    });
}

#[test]
fn one_of_as_many_failures_as_configured_finds_the_others() {
    for (needed, opens) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        ::loom::model(move || {
            let recent = Arc::new(Recent::new(needed, 1));
            let fail = || {
                let recent = Arc::clone(&recent);
                move || recent.failure(1, NOW).is_some()
            };
            let others = [thread::spawn(fail()), thread::spawn(fail())];
            let mut opened = fail()();
            for other in others {
                opened |= other.join().unwrap();
            }
            assert_eq!(opened, opens, "{needed}");
            // All three are stored.
            if needed == 4 {
                assert_eq!(recent.count(1, NOW, 0), 3);
                assert_eq!(recent.failure(1, NOW), Some(0));
            }
        });
    }
}
