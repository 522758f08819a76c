use super::document::{Keys, Number, Tile, Trouble};
use super::judge::{headline, judge};
use crate::registry::States;

/// A tile with these rates.
fn rates(kind: &'static str, admitted: f64, rejected: f64) -> Tile {
    Tile {
        name: kind.into(),
        kind,
        mode: "enforce",
        admitted: Some(Number(admitted)),
        rejected: Some([("a_reason", Number(rejected))].into()),
        ..Tile::default()
    }
}

fn states(open: usize) -> States {
    States {
        open,
        ..States::default()
    }
}

#[test]
fn ob20_what_is_wrong_is_one_sentence() {
    let says = |mut tile: Tile| {
        judge(&mut tile);
        (tile.trouble, tile.says)
    };
    let open = Tile {
        state: Some("open"),
        in_state: Some(Number(12.7)),
        ..rates("circuit_breaker", 0.0, 48.2)
    };
    let half_open = Tile {
        state: Some("half_open"),
        in_state: Some(Number(0.4)),
        ..rates("circuit_breaker", 1.0, 0.0)
    };
    let records = Tile {
        mode: "record_only",
        would_reject: Some([("a_reason", Number(3.0))].into()),
        ..rates("bulkhead", 5.0, 0.0)
    };
    let off = Tile {
        mode: "off",
        ..rates("hedge", 0.0, 0.0)
    };
    let switched_off = Tile {
        calls: 7,
        ..off.clone()
    };
    let keyed = |open: &[(&str, &'static str)], count| Tile {
        keys: Some(Keys {
            count,
            states: Some(states(open.len())),
            not_closed: open
                .iter()
                .map(|(key, state)| ((*key).into(), *state))
                .collect(),
            ..Keys::default()
        }),
        ..rates("circuit_breaker", 5.0, 2.0)
    };
    let mut nearly_full = rates("bulkhead", 5.0, 0.0);
    (nearly_full.limit, nearly_full.point.in_flight) = (Some(64), Some(Number(60.0)));
    let spent = Tile {
        suppressed: Some([("budget", Number(12.0))].into()),
        ..rates("retry", 5.0, 0.0)
    };
    let amplified = Tile {
        attempts_per_call: Some(Number(2.24)),
        ..rates("retry", 5.0, 0.0)
    };
    for (tile, trouble, text) in [
        (open, Trouble::Bad, "open since 12 s, rejecting 48/s"),
        (half_open, Trouble::Warn, "half open since 0 s"),
        (
            rates("bulkhead", 10.0, 30.0),
            Trouble::Bad,
            "full, rejecting 30/s",
        ),
        (
            rates("bulkhead", 90.0, 3.0),
            Trouble::Warn,
            "full, rejecting 3.0/s",
        ),
        (
            rates("timeout", 1000.0, 1.0),
            Trouble::Note,
            "timing out 1.0/s",
        ),
        (
            rates("rate_limit", 1.0, 90.0),
            Trouble::Warn,
            "at its limit, rejecting 90/s",
        ),
        (
            records,
            Trouble::Note,
            "only records: it would reject 3.0/s",
        ),
        (
            nearly_full,
            Trouble::Note,
            "nearly full: 60 of 64 in flight",
        ),
        (
            spent,
            Trouble::Warn,
            "the budget is spent: 12/s attempts are not made",
        ),
        (amplified, Trouble::Warn, "2.2 attempts for each call"),
        (
            rates("bulkhead", 120.0, 0.0),
            Trouble::Ok,
            "admits all: 120/s",
        ),
        (rates("bulkhead", 0.0, 0.0), Trouble::Ok, "idle"),
        (off, Trouble::Ok, "off"),
        (
            switched_off,
            Trouble::Note,
            "switched off: it admits all calls",
        ),
        (
            keyed(&[("a.example", "open")], 2),
            Trouble::Bad,
            "open for a.example (1 of 2 keys), rejecting 2.0/s",
        ),
        (
            keyed(&[("a.example", "open"), ("b.example", "half_open")], 9),
            Trouble::Warn,
            "not closed for a.example, b.example (2 of 9 keys), rejecting 2.0/s",
        ),
    ] {
        assert_eq!(says(tile), (trouble, text.to_owned()));
    }
    let mut worst = rates("bulkhead", 10.0, 30.0);
    judge(&mut worst);
    assert_eq!(headline(&[worst]), "bulkhead: full, rejecting 30/s");
    assert_eq!(headline(&[]), "there is no policy yet");
}
