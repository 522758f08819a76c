use std::time::Duration;

use crate::config::Mode;
use crate::{Budget, Hedge};

#[test]
fn cx15_a_bad_configuration_is_rejected_with_all_its_problems() {
    let error = Hedge::builder()
        .name("search")
        .quantile(f64::NAN)
        .max_extra(0)
        .min_delay(Duration::from_secs(11))
        .min_samples(0)
        .window(Duration::ZERO)
        .build()
        .unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|p| p.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "quantile",
            "max_extra",
            "min_delay",
            "min_samples",
            "window"
        ]
    );
    assert_eq!(error.policy().as_str(), "search");
    for quantile in [-1.0, 0.0, 1.0, 95.0, f64::INFINITY] {
        Hedge::builder().quantile(quantile).build().unwrap_err();
    }
    Hedge::builder().build().unwrap();
}

#[test]
fn cx18_a_hedge_is_named_after_its_call_site_and_two_of_one_name_stay_two() {
    let line = line!() + 1;
    let hedge = Hedge::fixed(Duration::ZERO);
    assert_eq!(hedge.name().as_str(), format!("hedge@{}:{line}", file!()));
    let (a, b) = (Hedge::builder().name("a"), Hedge::builder().name("a"));
    let (a, b) = (a.build().unwrap(), b.build().unwrap());
    a.set_mode(Mode::Off);
    assert_eq!((a.mode(), b.mode()), (Mode::Off, Mode::Enforce));
    assert_eq!(Hedge::from(&a).mode(), Mode::Off);
    assert!(format!("{a:?}").contains("Off"));
}

#[test]
fn cx19_a_change_keeps_what_it_does_not_set_and_a_bad_one_changes_nothing() {
    let hedge = Hedge::fixed(Duration::MAX);
    assert_eq!(hedge.delay(), Some(Duration::MAX));
    hedge.change(|now| now.max_extra(16)).unwrap();
    let before = hedge.snapshot();
    let second = Duration::from_secs(1);
    let error = hedge.change(|now| now.quantile(1.0).window(second).mode(Mode::Off));
    let fields: Vec<_> = error
        .unwrap_err()
        .problems()
        .iter()
        .map(|p| p.field.clone())
        .collect();
    assert_eq!(fields, ["quantile", "window"]);
    assert_eq!(hedge.snapshot(), before);
    assert_eq!((before.max_extra, before.mode), (16, Mode::Enforce));
}

#[test]
fn rt4_the_budget_is_the_given_one_or_its_own() {
    let budget = Budget::percent(5);
    let hedge = Hedge::builder().budget(&budget).build().unwrap();
    assert_eq!(hedge.budget().snapshot().ratio, 0.05);
    let own = Hedge::builder().name("search").build().unwrap();
    assert_eq!(
        own.budget().snapshot().ratio,
        0.1,
        "a tenth of the successes"
    );
    assert_eq!(own.budget().name().as_str(), "budget of search");
}
