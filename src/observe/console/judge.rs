//! What is wrong with a policy, and how urgent that is.

use std::collections::BTreeSet;

use super::document::{ByLabel, Keys, Number, Tile, Trouble};

/// A policy that rejects more of its calls than this is failing: most callers get nothing.
const MOST: f64 = 0.5;

/// Below this share of the calls, what is rejected is worth a look, and no alarm.
const FEW: f64 = 0.01;

/// A bulkhead with more of its permits in use rejects soon.
const NEARLY_FULL: f64 = 0.9;

/// Retries that send this many attempts for each call are a load of their own.
const MANY_ATTEMPTS: f64 = 1.5;

/// Sets the tile's trouble, and the sentence that says it.
pub(super) fn judge(tile: &mut Tile) {
    let (trouble, says) = match tile.mode {
        // A part of a stack that is not in use is off from the start.
        "off" if tile.calls == 0 => (Trouble::Ok, "off".to_owned()),
        "off" => (
            Trouble::Note,
            "switched off: it admits all calls".to_owned(),
        ),
        "record_only" => {
            let would = total(tile.would_reject.as_ref());
            let says = match would > 0.0 {
                true => format!("only records: it would reject {}", rate(would)),
                false => "only records: it rejects nothing".to_owned(),
            };
            (Trouble::Note, says)
        }
        _ => wrong(tile).unwrap_or_else(|| (Trouble::Ok, fine(tile))),
    };
    tile.trouble = trouble;
    tile.says = says;
}

/// The headline of all policies, the worst first.
pub(super) fn headline(tiles: &[Tile]) -> String {
    let wrong = |tile: &&Tile| tile.trouble <= Trouble::Warn;
    match tiles.first().filter(wrong) {
        Some(worst) => format!("{}: {}", worst.name, worst.says),
        None => match tiles.len() {
            0 => "there is no policy yet".into(),
            1 => "the one policy is fine".into(),
            n => format!("all {n} policies are fine"),
        },
    }
}

fn wrong(tile: &Tile) -> Option<(Trouble, String)> {
    let rejected = total(tile.rejected.as_ref());
    let rejecting = match rejected > 0.0 {
        true => format!(", rejecting {}", rate(rejected)),
        false => String::new(),
    };
    if let Some(state) = tile.state {
        let since = age(tile.in_state.map_or(0.0, |time| time.0));
        let text = || format!("{} since {since}{rejecting}", state.replace('_', " "));
        match state {
            "open" | "forced_open" => return Some((Trouble::Bad, text())),
            "half_open" | "recovering" => return Some((Trouble::Warn, text())),
            _ => {}
        }
    }
    if let Some(keys) = tile.keys.as_ref().filter(|keys| keys.open() > 0) {
        let trouble = match 2 * keys.open() >= keys.count {
            true => Trouble::Bad,
            false => Trouble::Warn,
        };
        return Some((trouble, keys.text() + &rejecting));
    }
    if rejected > 0.0 {
        let says = match tile.kind {
            "bulkhead" => format!("full{rejecting}"),
            "rate_limit" => format!("at its limit{rejecting}"),
            "timeout" => format!("timing out {}", rate(rejected)),
            _ => format!("rejecting {}", rate(rejected)),
        };
        let share = rejected / (rejected + tile.admitted.map_or(0.0, |rate| rate.0));
        // To reject most calls is what a limiter under a flood is for.
        let trouble = match share {
            _ if share >= MOST && tile.kind != "rate_limit" => Trouble::Bad,
            _ if share >= FEW => Trouble::Warn,
            _ => Trouble::Note,
        };
        return Some((trouble, says));
    }
    let not_made = tile
        .suppressed
        .as_ref()
        .and_then(|kinds| kinds.get("budget"));
    if let Some(rate_of) = not_made.filter(|rate| rate.0 > 0.0) {
        let says = format!(
            "the budget is spent: {} attempts are not made",
            rate(rate_of.0)
        );
        return Some((Trouble::Warn, says));
    }
    if let Some(attempts) = tile.attempts_per_call.filter(|n| n.0 >= MANY_ATTEMPTS) {
        let says = format!("{:.1} attempts for each call", attempts.0);
        return Some((Trouble::Warn, says));
    }
    let (in_flight, limit) = (tile.point.in_flight?.0, f64::from(tile.limit?));
    let says = || format!("nearly full: {in_flight:.0} of {limit:.0} in flight");
    (in_flight >= NEARLY_FULL * limit).then(|| (Trouble::Note, says()))
}

impl Keys {
    /// Which circuit breakers are not closed.
    fn text(&self) -> String {
        let named: Vec<_> = self.not_closed.iter().map(|(key, _)| &**key).collect();
        let states: BTreeSet<_> = self.not_closed.iter().map(|(_, state)| *state).collect();
        let state = match states.len() {
            1 => states.first().map(|state| state.replace('_', " ")),
            _ => None,
        };
        format!(
            "{} for {} ({} of {} keys)",
            state.unwrap_or("not closed".into()),
            named.join(", "),
            self.open(),
            self.count
        )
    }

    /// How many circuit breakers are not closed.
    fn open(&self) -> usize {
        let states = self.states.unwrap_or_default();
        states.open + states.forced_open + states.half_open + states.recovering
    }
}

fn fine(tile: &Tile) -> String {
    match (tile.state, tile.admitted) {
        (Some(state), _) => {
            let since = age(tile.in_state.map_or(0.0, |time| time.0));
            format!("{} since {since}", state.replace('_', " "))
        }
        (None, Some(admitted)) if admitted.0 > 0.0 => format!("admits all: {}", rate(admitted.0)),
        // A budget counts no calls.
        _ if tile.kind == "budget" => tile.point.balance.map_or("idle".into(), |balance| {
            format!("{:.0} extra attempts are left", balance.0)
        }),
        _ => "idle".into(),
    }
}

pub(super) fn total(kinds: Option<&ByLabel<Number>>) -> f64 {
    kinds.map_or(0.0, |kinds| kinds.values().map(|rate| rate.0).sum())
}

fn rate(value: f64) -> String {
    match value < 9.95 {
        true => format!("{value:.1}/s"),
        false => format!("{value:.0}/s"),
    }
}

/// A time that has passed, in whole seconds or more.
fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}
