//! Stopping one key.

use super::clock::{Config, Grant};
use super::set::{Word, short};
use super::{Place, Table, charge};
use crate::rate_limit::Refused;
use crate::time::Tick;

impl Table {
    /// Admits nothing of a key's until `until`; one token is there then, and no burst. It is a
    /// debt, so a change of quota meanwhile keeps the tokens that are owed and not the instant.
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
                self.help(now, key, &config, dropped);
            } else if set.tag(way) == tag {
                let grant = paused(self.end(word, key.tier, &config, now));
                let to = Word(charge(key, &config, &grant).word);
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
