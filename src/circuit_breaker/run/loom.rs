use ::loom::thread;

use super::*;
use crate::sync::Arc;

const NOW: Tick = Tick(5 * MILLI);

#[test]
fn a_late_failure_never_lengthens_a_newer_run() {
    ::loom::model(|| {
        let run = Arc::new(Run::new(1));
        let recent = Arc::new(Recent::new(2, 1));
        let late = {
            let (run, recent) = (Arc::clone(&run), Arc::clone(&recent));
            thread::spawn(move || {
                run.failure(1, NOW, None);
                recent.failure(1, NOW);
            })
        };
        run.begin(2);
        recent.begin(2);
        assert_eq!(run.failure(2, NOW, None), (1, 0));
        assert_eq!(recent.failure(2, NOW), None);
        late.join().unwrap();
        assert_eq!(run.length(2), 1);
        assert_eq!(recent.within(2, NOW, u64::MAX), 1);
    });
}

#[test]
fn a_run_that_is_cut_counts_no_failure_twice() {
    ::loom::model(|| {
        let run = Arc::new(Run::cut(3, 1));
        let fail = |second: u64| {
            let run = Arc::clone(&run);
            move || run.failure(1, Tick(second * 1_000 * MILLI), Some(60_000)).0
        };
        assert_eq!((fail(0)(), fail(50)()), (1, 2));
        let other = thread::spawn(fail(61));
        let here = fail(62)();
        let longest = here.max(other.join().unwrap());
        assert_eq!(longest, run.length(1));
        // Those at 50, 61 and 62, or all but the one that was not written yet.
        assert!(matches!(longest, 2 | 3), "{longest}");
    });
}

#[test]
fn as_many_failures_as_asked_for_are_seen_by_one_of_them() {
    for (asked, opens) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        ::loom::model(move || {
            let recent = Arc::new(Recent::new(asked, 1));
            let fail = || {
                let recent = Arc::clone(&recent);
                move || recent.failure(1, NOW).is_some()
            };
            let others = [thread::spawn(fail()), thread::spawn(fail())];
            let mut opened = fail()();
            for other in others {
                opened |= other.join().unwrap();
            }
            assert_eq!(opened, opens, "{asked}");
            // All three are remembered.
            if asked == 4 {
                assert_eq!(recent.within(1, NOW, 0), 3);
                assert_eq!(recent.failure(1, NOW), Some(0));
            }
        });
    }
}

/// The rules' runs, and that of all calls.
struct Runs(Run, Row);

impl Runs {
    fn new(era: u32) -> Self {
        Self(Run::new(era), Row::new(era))
    }

    fn failure(&self, era: u32) {
        self.0.failure(era, NOW, None);
        self.1.failure(era);
    }

    fn lengths(&self, era: u32) -> [u32; 2] {
        [self.0.length(era), self.1.length(era)]
    }
}

/// A success as the policy ends it.
fn success(hint: &Hint, runs: &Runs, era: u32) {
    if hint.is_set() {
        hint.clear(era);
        runs.0.success(era);
        runs.1.success(era);
    }
}

#[test]
fn no_run_is_left_standing_unseen() {
    ::loom::model(|| {
        let both = Arc::new((Hint::default(), Runs::new(1)));
        let fail = || {
            let both = Arc::clone(&both);
            move || {
                both.1.failure(1);
                both.0.set(1);
            }
        };
        let succeed = || {
            let both = Arc::clone(&both);
            move || success(&both.0, &both.1, 1)
        };
        let others = [
            thread::spawn(fail()),
            thread::spawn(fail()),
            thread::spawn(succeed()),
        ];
        succeed()();
        for other in others {
            other.join().unwrap();
        }
        assert!(both.1.lengths(1) == [0, 0] || both.0.is_set());
    });
}

#[test]
fn a_late_success_hides_no_newer_run() {
    ::loom::model(|| {
        let both = Arc::new((Hint::default(), Runs::new(1)));
        both.1.failure(1);
        both.0.set(1);
        let late = {
            let both = Arc::clone(&both);
            thread::spawn(move || success(&both.0, &both.1, 1))
        };
        both.1.0.begin(2);
        both.1.failure(2);
        both.0.set(2);
        late.join().unwrap();
        assert_eq!((both.1.lengths(2), both.0.is_set()), ([1, 1], true));
    });
}
