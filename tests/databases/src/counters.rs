//! Blocking calls of rusqlite.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use seawall::classify::{self, ErrorsBy, Outcome};
use seawall::{Bulkhead, CircuitBreaker, Classified, Error};

fn by_rusqlite(error: &rusqlite::Error) -> Outcome {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => Outcome::Success,
        _ => classify::by_source(error),
    }
}

type ByRusqlite = ErrorsBy<fn(&rusqlite::Error) -> Outcome>;

pub struct Counters {
    connection: Mutex<Connection>,
    pub breaker: Classified<CircuitBreaker, ByRusqlite>,
    pub bulkhead: Bulkhead,
}

impl Counters {
    pub fn new(connection: Connection) -> Self {
        let judge = ErrorsBy(by_rusqlite as fn(&rusqlite::Error) -> Outcome);
        Self {
            connection: Mutex::new(connection),
            breaker: CircuitBreaker::new("counters").classify(judge),
            // Four threads may wait for the one connection.
            bulkhead: Bulkhead::new(5),
        }
    }

    pub fn add(&self, name: &str) -> Result<i64, Error<rusqlite::Error>> {
        let query = || {
            let connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let sql = "INSERT INTO counters (name) VALUES (?1)
                ON CONFLICT (name) DO UPDATE SET n = n + 1 RETURNING n";
            connection.query_row(sql, [name], |row| row.get(0))
        };
        Ok(self
            .bulkhead
            .run_blocking(|| self.breaker.run_blocking(query))?)
    }
}
