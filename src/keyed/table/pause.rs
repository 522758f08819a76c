//! Stopping one key.

use super::clock::{Config, Grant};
use super::set::{Word, short};
use super::{Place, Table, charge};
use crate::rate_limit::Refused;
use crate::time::Tick;

impl Table {
    /// Admits nothing of a key's until `until`; one token is there then, or a unit of the clock
    /// later, and no burst. What was charged before is not given back.
    ///
    /// It is a debt: a change of quota or of the key's tier meanwhile keeps the tokens that are
    /// owed, and not the instant. It lasts no longer than a debt can. With a quota of zero
    /// nothing is there until it changes, and nobody without a limit is paused.
    pub(crate) fn pause(&self, now: Tick, key: Place, until: Tick, dropped: &mut bool) {
        loop {
            let config = self.config(key.tier, now);
            if until <= now || config.is_unlimited() {
                return;
            }
            let paused = |end| config.paused(end, until);
            let decide = |end| Ok::<Grant, Refused>(paused(end));
            let set = self.set(key);
            let Some((way, tag)) = set.find(short(key.hash)) else {
                match self.insert(now, key, &config, &decide, dropped) {
                    Some(_) => return,
                    None => continue,
                }
            };
            let word = set.word(way);
            if word.is_claimed() {
                self.help(now, key, &config, (way, word), dropped);
            } else if set.tag(way) == tag {
                let grant = paused(self.end(word, key.tier, &config, now));
                // Else the debt would fall below the pause with what is given back.
                let Some(tag) = set.part(way, tag) else {
                    continue;
                };
                let to = Word(charge(key, &config, &grant, tag).word);
                if set.charge(way, word, to) {
                    return;
                }
            }
        }
    }
}

impl Config {
    /// Who owes up to `end`, and nothing before `until`.
    fn paused(&self, end: u64, until: Tick) -> Grant {
        Grant {
            at: until,
            units: 0,
            end: end.max(self.but_one_token(until)),
        }
    }
}
