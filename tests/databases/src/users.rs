//! A repository over SQLite.

use std::time::Duration;

use seawall::classify::{self, ErrorsBy, FailureKind, Outcome};
use seawall::{Backoff, Bulkhead, CircuitBreaker, ConfigError, Pipeline, Rejection, Retry};
use sqlx::SqlitePool;

#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct User {
    pub id: i64,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("query failed")]
    Query(#[from] sqlx::Error),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

// With it `?` takes the error of a `run`.
seawall::carrier!(StoreError::Rejected);

/// What an error of the database says about its health.
pub fn by_sqlx(error: &sqlx::Error) -> Outcome {
    match error {
        // Answers of a database that works.
        sqlx::Error::RowNotFound => Outcome::Success,
        sqlx::Error::Database(error) if error.is_unique_violation() => Outcome::Success,
        sqlx::Error::Database(error) if error.is_foreign_key_violation() => Outcome::Success,
        sqlx::Error::Database(error) if error.is_check_violation() => Outcome::Success,
        // Mistakes of the program fail each time.
        sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } => {
            Outcome::failure(FailureKind::Permanent)
        }
        // No connection was free: it is busy, and need not be down.
        sqlx::Error::PoolTimedOut => Outcome::failure(FailureKind::Throttled),
        // By the error below: a refused connection was not sent, for example.
        error => classify::by_source(error),
    }
}

/// Judges outcomes by [`by_sqlx`].
pub type BySqlx = ErrorsBy<fn(&sqlx::Error) -> Outcome>;

#[derive(Clone)]
pub struct Users {
    pool: SqlitePool,
    reads: Pipeline<BySqlx>,
    writes: Pipeline<BySqlx>,
    pub breaker: CircuitBreaker,
    pub bulkhead: Bulkhead,
}

impl Users {
    /// `connections` is how many the pool has.
    pub fn new(pool: SqlitePool, connections: u32) -> Result<Self, ConfigError> {
        let breaker = CircuitBreaker::new("users");
        // A call that would wait for a connection is rejected instead: half as many may wait here,
        // for at most 50 ms.
        let bulkhead = Bulkhead::builder(connections)
            .name("connections")
            .queue(connections / 2)
            .max_wait(Duration::from_millis(50))
            .build()?;
        let writes = Pipeline::new()
            .timeout(Duration::from_secs(1))
            .breaker(&breaker)
            .bulkhead(&bulkhead)
            .classify(ErrorsBy(by_sqlx as _));
        // Only reads are made again.
        let retry = Retry::new(Backoff::exponential(Duration::from_millis(10)));
        let reads = writes.clone().retry(&retry);
        Ok(Self {
            pool,
            reads,
            writes,
            breaker,
            bulkhead,
        })
    }

    pub async fn find(&self, id: i64) -> Result<Option<User>, StoreError> {
        let query = |_| async move {
            let query = sqlx::query_as("SELECT id, name FROM users WHERE id = ?");
            query.bind(id).fetch_optional(&self.pool).await
        };
        Ok(self.reads.run(query).await?)
    }

    /// The id; none if there is a user of this name.
    pub async fn add(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let insert = |_| async move {
            let query = sqlx::query("INSERT INTO users (name) VALUES (?)").bind(name);
            query.execute(&self.pool).await
        };
        match self.writes.run(insert).await.map_err(StoreError::from) {
            Ok(done) => Ok(Some(done.last_insert_rowid())),
            Err(StoreError::Query(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Both, and none of it on a failure: one connection is held, so it is one call.
    pub async fn rename(&self, id: i64, name: &str) -> anyhow::Result<User> {
        let rename = |_| async move {
            let mut transaction = self.pool.begin().await?;
            let update = sqlx::query("UPDATE users SET name = ? WHERE id = ?");
            update
                .bind(name)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            let query = sqlx::query_as("SELECT id, name FROM users WHERE id = ?");
            let user = query.bind(id).fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(user)
        };
        Ok(self.writes.run(rename).await?)
    }
}
