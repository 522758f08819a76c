//! A cache over Redis.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, ErrorKind, RedisError, ServerErrorKind};
use seawall::classify::{self, ErrorsBy, FailureKind, Outcome};
use seawall::fallback::value;
use seawall::{CircuitBreaker, Error, Fallback, Pipeline};

/// What an error of Redis says about its health.
pub fn by_redis(error: &RedisError) -> Outcome {
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Server(ServerErrorKind::ResponseError) => {
            Outcome::failure(FailureKind::Permanent)
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain) => {
            Outcome::failure(FailureKind::Throttled)
        }
        // A refused connection was not sent; a connection that ended may have been.
        _ => classify::by_source(error),
    }
}

type ByRedis = ErrorsBy<fn(&RedisError) -> Outcome>;

pub struct Cache {
    connection: ConnectionManager,
    commands: Pipeline<ByRedis>,
    pub fallback: Fallback,
}

impl Cache {
    /// Connects. The manager connects again by itself, once per call: the breaker says how often.
    pub async fn connect(url: &str, breaker: &CircuitBreaker) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(Duration::from_millis(100)))
            .set_response_timeout(Some(Duration::from_millis(200)));
        let client = Client::open(url)?;
        Ok(Self {
            connection: client.get_connection_manager_with_config(config).await?,
            commands: Pipeline::new()
                .breaker(breaker)
                .attempt_timeout(Duration::from_millis(200))
                .classify(ErrorsBy(by_redis as _)),
            fallback: Fallback::new(),
        })
    }

    pub async fn set(&self, key: &str, value: &str) -> Result<(), Error<RedisError>> {
        let command = |_| {
            let mut connection = self.connection.clone();
            async move { connection.set(key, value).await }
        };
        self.commands.run(command).await
    }

    pub async fn get(&self, key: &str) -> Result<Option<String>, Error<RedisError>> {
        let command = |_| {
            let mut connection = self.connection.clone();
            async move { connection.get(key).await }
        };
        self.commands.run(command).await
    }

    /// A cache that is down has nothing.
    pub async fn get_if_up(&self, key: &str) -> Option<String> {
        let found = self.fallback.run(value(None), || self.get(key));
        found.await.unwrap_or(None)
    }
}
