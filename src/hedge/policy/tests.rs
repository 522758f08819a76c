use std::time::Duration;

use super::{Setting, When};
use crate::config::Mode;
use crate::{Budget, Hedge};

#[test]
fn cx15_a_bad_configuration_is_refused_with_all_its_problems() {
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
fn cx18_a_hedge_is_named_after_its_place_and_two_of_one_name_stay_two() {
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

// CX19
#[test]
fn a_setting_is_kept_in_one_word() {
    for when in [
        When::Fixed(Duration::ZERO),
        When::Fixed(Duration::from_nanos(1)),
        When::Fixed(Duration::from_secs(100 * 24 * 3_600)),
        When::Quantile(0.000_001),
        When::Quantile(0.95),
        When::Quantile(0.999_999),
    ] {
        for mode in [Mode::Enforce, Mode::RecordOnly, Mode::Off] {
            for max_extra in [1, 16] {
                let setting = Setting {
                    when,
                    max_extra,
                    mode,
                };
                assert_eq!(Setting::unpack(setting.pack()), setting);
            }
        }
    }
    let hedge = Hedge::fixed(Duration::MAX);
    assert!(hedge.delay().unwrap() > Duration::from_secs(100 * 24 * 3_600));
    assert_eq!(hedge.mode(), Mode::Enforce);
}

#[test]
fn its_budget_is_the_given_one_or_its_own() {
    let budget = Budget::percent(5);
    let hedge = Hedge::builder().budget(&budget).build().unwrap();
    assert_eq!(hedge.budget().snapshot().ratio, 0.05);
    let own = Hedge::builder().name("search").build().unwrap();
    assert_eq!(own.budget().snapshot().ratio, 0.1);
    assert_eq!(own.budget().name().as_str(), "budget of search");
}
