//! The repository over a real SQLite, and blocking calls over another.

use std::time::{Duration, Instant};

use seawall::circuit_breaker::State;
use seawall::{Error, RejectionKind};
use seawall_databases::counters::Counters;
use seawall_databases::users::{StoreError, User, Users};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

const CONNECTIONS: u32 = 2;

/// A database in memory, which lasts as long as one of its connections.
async fn pool(name: &str) -> SqlitePool {
    let options = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_millis(100));
    let url = format!("sqlite:file:{name}?mode=memory&cache=shared");
    let pool = options.connect(&url).await.unwrap();
    let schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)";
    sqlx::query(schema).execute(&pool).await.unwrap();
    pool
}

async fn users(name: &str) -> (Users, SqlitePool) {
    let pool = pool(name).await;
    (Users::new(pool.clone(), CONNECTIONS).unwrap(), pool)
}

// RN1
#[tokio::test]
async fn rn1_a_unique_violation_is_no_failure_and_the_error_is_the_users_own() {
    let (users, _pool) = users("unique").await;
    let id = users.add("ann").await.unwrap().unwrap();
    for _ in 0..100 {
        assert_eq!(users.add("ann").await.unwrap(), None);
    }
    assert_eq!(users.breaker.state(), State::Closed);
    let ann = users.find(id).await.unwrap();
    assert_eq!(
        ann,
        Some(User {
            id,
            name: "ann".into()
        })
    );
    assert_eq!(users.find(-1).await.unwrap(), None);
    let snapshot = users.breaker.snapshot();
    assert!(snapshot.last_trip.is_none());
}

// CX21, RN1: `?` into an enum with `carrier!` and into anyhow, without `map_err`.
#[tokio::test]
async fn cx21_an_open_breaker_is_found_in_the_enum_and_in_the_report() {
    let (users, _pool) = users("open").await;
    let id = users.add("ann").await.unwrap().unwrap();
    assert_eq!(users.rename(id, "bea").await.unwrap().name, "bea");
    users.breaker.force_open();
    let StoreError::Rejected(rejection) = users.find(id).await.unwrap_err() else {
        panic!("it is rejected");
    };
    assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
    let report = users.rename(id, "cid").await.unwrap_err();
    assert_eq!(
        format!("{report:#}"),
        "users: circuit breaker is open: call was not made"
    );
    let error = report.downcast_ref::<Error<sqlx::Error>>().unwrap();
    assert!(error.rejection().is_some());
}

// RN1: reads are made again, writes are not.
#[tokio::test]
async fn rn1_a_broken_table_fails_reads_three_times_and_writes_once() {
    let (users, pool) = users("broken").await;
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = std::sync::Arc::clone(&calls);
    let permits = move |event: &seawall::Event<'_>| {
        let ended = matches!(event.kind, seawall::event::EventKind::Ended { .. });
        counted.fetch_add(u32::from(ended), std::sync::atomic::Ordering::SeqCst);
    };
    users.bulkhead.on_event(permits).forever();
    let calls = || calls.swap(0, std::sync::atomic::Ordering::SeqCst);
    sqlx::query("DROP TABLE users")
        .execute(&pool)
        .await
        .unwrap();
    assert!(matches!(users.find(1).await, Err(StoreError::Query(_))));
    assert_eq!(calls(), 3);
    assert!(matches!(users.add("ann").await, Err(StoreError::Query(_))));
    assert_eq!(calls(), 1);
}

// BH1: the pool's own wait, 100 ms here, is not reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bh1_calls_above_the_pool_are_rejected_at_once_and_none_waits_for_a_connection() {
    let (users, pool) = users("exhausted").await;
    let held = [
        users.bulkhead.try_acquire_owned().unwrap(),
        users.bulkhead.try_acquire_owned().unwrap(),
    ];
    let start = Instant::now();
    // One waits in the queue, for at most 50 ms.
    let waiting = tokio::spawn({
        let users = users.clone();
        async move { users.find(1).await }
    });
    while users.bulkhead.snapshot().queued == 0 {
        tokio::task::yield_now().await;
    }
    let StoreError::Rejected(full) = users.find(1).await.unwrap_err() else {
        panic!("it is rejected");
    };
    assert!(matches!(
        full.kind(),
        RejectionKind::BulkheadFull {
            limit: CONNECTIONS,
            ..
        }
    ));
    assert!(
        start.elapsed() < Duration::from_millis(50),
        "{:?}",
        start.elapsed()
    );
    let StoreError::Rejected(waited) = waiting.await.unwrap().unwrap_err() else {
        panic!("it is rejected");
    };
    assert!(matches!(waited.kind(), RejectionKind::QueueTimeout { .. }));
    drop(held);

    // Connections that other code holds: the pool's wait ends, and that is no outage.
    let taken = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let start = Instant::now();
    for _ in 0..3 {
        let error = users.add("ann").await.unwrap_err();
        assert!(
            matches!(error, StoreError::Query(sqlx::Error::PoolTimedOut)),
            "{error}"
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(users.breaker.state(), State::Closed);
    drop(taken);
    assert!(users.add("ann").await.unwrap().is_some());
}

// RN3
#[test]
fn rn3_blocking_calls_run_under_breaker_and_bulkhead_without_a_runtime() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let schema = "CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER DEFAULT 1 CHECK (n < 4))";
    connection.execute(schema, []).unwrap();
    let counters = Counters::new(connection);
    assert_eq!(counters.add("a").unwrap(), 1);
    assert_eq!(counters.add("a").unwrap(), 2);
    assert_eq!(counters.add("a").unwrap(), 3);
    // A violation is an answer of a database that works.
    for _ in 0..100 {
        let error = counters.add("a").unwrap_err();
        assert!(error.rejection().is_none(), "{error}");
    }
    assert_eq!(counters.breaker.state(), State::Closed);
    counters.breaker.force_open();
    let error = counters.add("b").unwrap_err();
    assert_eq!(
        error.rejection().unwrap().kind(),
        RejectionKind::CircuitOpen
    );
    counters.breaker.release();
    counters.bulkhead.set_limit(0).unwrap();
    let error = counters.add("b").unwrap_err();
    assert!(matches!(
        error.rejection().unwrap().kind(),
        RejectionKind::BulkheadFull { .. }
    ));
}
