//! The one sampler of a console: it reads all policies twice a second, while a page is open.
//!
//! It has no task. The pages wake up at the same instants, and the first one reads for all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::document::{Document, History, Point, Tile};
use super::judge;
use super::rates::{self, Counted};
use super::reading::{self, Reading};
use super::transitions::Transitions;
use crate::config::Mode;
use crate::registry::{self, Status};
use crate::sync::{Arc, Mutex, Once};
use crate::time::{self, Tick};

/// An open page shows a change within a second, with what the network and the browser take.
const PERIOD: Duration = Duration::from_millis(500);

/// The points of a chart: a minute.
const POINTS: usize = 120;

/// Latencies and attempts are of this many readings, which is 10 s: long enough for a percentile, and
/// short enough to follow an outage.
const RECENT: usize = 20;

/// Rates are of a second, with some room for a timer that is late.
const SECOND: Duration = Duration::from_millis(900);

/// Memory and work are bounded also where a program makes a policy for each of its users.
const MAX_POLICIES: usize = 500;

pub(super) struct Sampler {
    start: Tick,
    transitions: Arc<Transitions>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frame: Option<Arc<Frame>>,
    tracks: BTreeMap<u64, Track>,
    watchers: usize,
}

/// What one policy did lately.
#[derive(Default)]
struct Track {
    points: VecDeque<Point>,
    counted: VecDeque<(Tick, Counted)>,
}

/// All policies at one instant.
pub(super) struct Frame {
    at: Tick,
    document: Document,
    /// As JSON, with and without levers.
    json: [Once<String>; 2],
}

/// Keeps the listeners for transitions while it exists.
pub(super) struct Watch(Arc<Sampler>);

impl Sampler {
    pub(super) fn new() -> Self {
        Self {
            start: time::now(),
            transitions: Arc::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn watch(self: &Arc<Self>) -> Watch {
        self.state.lock().watchers += 1;
        self.transitions.follow(&reading::breakers());
        Watch(Arc::clone(self))
    }

    /// The newest frame.
    pub(super) fn frame(&self) -> Arc<Frame> {
        let now = time::now();
        if let Some(frame) = self.state.lock().current(now) {
            return frame;
        }
        // Outside of the lock, because policies that end meanwhile run code of the program. If
        // two pages come here at once, one has read for nothing.
        let (readings, more) = reading::all(MAX_POLICIES);
        let status = registry::health().status.label();
        let mut state = self.state.lock();
        if let Some(frame) = state.current(now) {
            return frame;
        }
        if state.watchers > 0 {
            self.transitions.follow(&reading::breakers());
        }
        let gaps = state.gaps(now);
        let mut old = std::mem::take(&mut state.tracks);
        let mut policies = Vec::with_capacity(readings.len());
        for Reading { mut tile, counted } in readings {
            let mut track = old.remove(&tile.id).unwrap_or_default();
            track.rates(&mut tile, now, counted);
            judge::judge(&mut tile);
            track.push(gaps, tile.point);
            state.tracks.insert(tile.id, track);
            policies.push(tile);
        }
        // Stable: policies of the same trouble stay in the order in which they were made.
        policies.sort_by_key(|tile| (tile.trouble, tile.mode == Mode::Off.label()));
        let frame = Arc::new(Frame {
            at: now,
            document: Document {
                version: 1,
                now: now.since(self.start).into(),
                status,
                headline: judge::headline(&policies),
                levers: false,
                policies,
                not_shown: more,
                transitions: self.transitions.list(self.start),
            },
            json: [Once::new(), Once::new()],
        });
        state.frame = Some(Arc::clone(&frame));
        frame
    }

    /// The newest frame with the minute before it.
    pub(super) fn whole(&self, levers: bool) -> String {
        let mut document = self.frame().document.clone();
        let state = self.state.lock();
        for tile in &mut document.policies {
            let points = state.tracks.get(&tile.id).map(|track| track.points.iter());
            tile.history = points.map(History::of);
        }
        drop(state);
        document.json(levers)
    }
}

impl State {
    fn current(&self, now: Tick) -> Option<Arc<Frame>> {
        let frame = self.frame.as_ref()?;
        (now < frame.next()).then(|| Arc::clone(frame))
    }

    /// How many readings are missing since the last one.
    fn gaps(&self, now: Tick) -> usize {
        let Some(frame) = &self.frame else { return 0 };
        let periods = now.since(frame.at).div_duration_f64(PERIOD).round();
        (periods as usize).saturating_sub(1).min(POINTS)
    }
}

impl Track {
    fn rates(&mut self, tile: &mut Tile, now: Tick, counted: Counted) {
        let mut newest_first = self.counted.iter().rev();
        let before = newest_first.find(|(at, _)| now.since(*at) >= SECOND);
        if let Some((at, before)) = before.or(self.counted.front()) {
            rates::fill(tile, before, &counted, now.since(*at));
        }
        if let Some((at, before)) = self.counted.front() {
            rates::fill_recent(tile, before, &counted, now.since(*at));
        }
        self.counted.push_back((now, counted));
        if self.counted.len() > RECENT {
            self.counted.pop_front();
        }
    }

    fn push(&mut self, gaps: usize, point: Point) {
        if !self.points.is_empty() {
            self.points.extend((0..gaps).map(|_| Point::default()));
        }
        self.points.push_back(point);
        let more = self.points.len().saturating_sub(POINTS);
        self.points.drain(..more);
    }
}

impl Frame {
    /// When the next frame is due.
    pub(super) fn next(&self) -> Tick {
        self.at.after(PERIOD)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.document.status == Status::Draining.label()
    }

    /// As JSON, without history.
    pub(super) fn update(&self, levers: bool) -> &str {
        self.json[usize::from(levers)].get_or_init(|| self.document.clone().json(levers))
    }
}

impl Document {
    fn json(mut self, levers: bool) -> String {
        self.levers = levers;
        if !levers {
            self.policies
                .iter_mut()
                .for_each(|tile| tile.levers.clear());
        }
        serde_json::to_string(&self).expect("its keys are strings and its numbers finite")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.watchers -= 1;
        if state.watchers == 0 {
            drop(state);
            self.0.transitions.end();
        }
    }
}
