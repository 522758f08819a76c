//! The contenders, behind one interface.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::user::{self, Error};

type Answer = BoxFuture<'static, Result<String, Error>>;
type Send = Arc<dyn Fn(String) -> Answer + std::marker::Send + Sync>;

/// One client, with all that its calls share.
#[derive(Clone)]
pub struct Client {
    pub get: Send,
    pub post: Send,
}

/// A crate, and what its user writes.
#[derive(Clone, Copy)]
pub struct Contender {
    pub name: &'static str,
    pub make: fn() -> Client,
    source: &'static str,
}

impl Contender {
    /// How many lines a user writes: neither empty ones nor comments.
    #[must_use]
    pub fn lines(&self) -> usize {
        let lines = self.source.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count()
    }

    /// The function that makes the client.
    #[must_use]
    pub fn client(&self) -> String {
        let lines = self.source.lines();
        let from = lines.skip_while(|line| !line.starts_with("pub fn client"));
        let lines: Vec<_> = from.take_while(|line| *line != "}").collect();
        lines.join("\n") + "\n}\n"
    }

    /// How many lines that has.
    #[must_use]
    pub fn lines_of_client(&self) -> usize {
        self.client().lines().count()
    }
}

macro_rules! contenders {
    ($($name:literal $module:ident;)*) => {
        [$(Contender {
            name: $name,
            make: || {
                let client = Arc::new(user::$module::client().expect("a client"));
                let get = Arc::clone(&client);
                Client {
                    get: Arc::new(move |url| {
                        let client = Arc::clone(&get);
                        Box::pin(async move { user::$module::get(&client, &url).await })
                    }),
                    post: Arc::new(move |url| {
                        let client = Arc::clone(&client);
                        Box::pin(async move { user::$module::post(&client, &url).await })
                    }),
                }
            },
            source: include_str!(concat!("user/", stringify!($module), ".rs")),
        },)*]
    };
}

pub const CONTENDERS: [Contender; 5] = contenders! {
    "reqwest" plain;
    "reqwest-retry" middleware;
    "backon" backon;
    "fetch" fetch;
    "seawall" seawall;
};
