//! One connection, from its handshake to its end.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use super::activity::{Activity, Due};
use super::config::Config;
use super::io::{Kept, Stream};
use super::request::Connection;
use super::server::{Phase, Shared};
use super::service::Connected;
use crate::sync::{Arc, Ordering::Relaxed};
use crate::time::{self, Sleep, Tick};

pub(super) async fn run<T, S, B>(
    server: Arc<Shared>,
    handshake: impl Future<Output = io::Result<T>>,
    app: S,
    peer: SocketAddr,
    kept: Kept,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let accepted = time::now();
    let mut clock = Clock::new(&server, accepted);
    let mut timer = pin!(Sleep::until(accepted.after(clock.limits.header_timeout)));
    let stream = tokio::select! {
        biased;
        () = server.reached(Phase::Closing) => return,
        stream = handshake => stream,
        _ = elapsed(timer.as_mut()) => return,
    };
    // A failed handshake concerns the client alone.
    let Ok(stream) = stream else { return };

    let activity = Arc::new(Activity::new(accepted));
    let stream = Stream::new(stream, Arc::clone(&activity), kept);
    let connection = Arc::new(Connection {
        peer,
        activity: Arc::clone(&activity),
        server: Arc::clone(&server),
    });
    let app = TowerToHyperService::new(Connected::new(app, connection));
    let http = &server.http;
    let mut conversation = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), app));
    let mut phase = server.phase();
    phase.mark_changed();
    timer.set(Sleep::until(clock.next_look(&activity, time::now())));
    loop {
        let closes = tokio::select! {
            biased;
            _ = phase.changed() => {
                let phase = *phase.borrow();
                if phase == Phase::Ended {
                    server.cut.fetch_add(activity.unfinished(), Relaxed);
                    return;
                }
                phase == Phase::Closing
            }
            // An error means that the client has closed the connection, or speaks no HTTP.
            _ = conversation.as_mut() => return,
            now = elapsed(timer.as_mut()) => match clock.look(&activity, now) {
                Some(Due::Cut) => return,
                Some(Due::Close) => true,
                None => {
                    timer.set(Sleep::until(clock.next_look(&activity, now)));
                    false
                }
            },
        };
        if closes && clock.closing.is_none() {
            let now = time::now();
            clock.closing = Some(now);
            conversation.as_mut().graceful_shutdown();
            timer.set(Sleep::until(clock.next_look(&activity, now)));
        }
    }
}

async fn elapsed(mut timer: Pin<&mut Sleep>) -> Tick {
    poll_fn(|cx| timer.as_mut().poll_elapsed(cx)).await
}

/// When the task of a connection looks at its activity, and what it then does.
struct Clock {
    limits: Config,
    old_at: Tick,
    closing: Option<Tick>,
}

impl Clock {
    fn new(server: &Shared, accepted: Tick) -> Self {
        let config = &server.config;
        let old_at = config.max_age.map_or(Tick::NEVER, |age| {
            accepted.after(age.mul_f64(1.0 - server.jitter.fraction() / 10.0))
        });
        Self {
            limits: *config,
            old_at,
            closing: None,
        }
    }

    fn look(&self, activity: &Activity, now: Tick) -> Option<Due> {
        let due = activity.deadline(&self.limits, self.closing);
        let due = due.filter(|(at, _)| *at <= now).map(|(_, due)| due);
        let is_old = self.closing.is_none() && self.old_at <= now;
        due.or(is_old.then_some(Due::Close))
    }

    /// No deadline is before it: one that does not exist yet is at least a timeout away.
    fn next_look(&self, activity: &Activity, now: Tick) -> Tick {
        let Config {
            header_timeout,
            idle_timeout,
            ..
        } = self.limits;
        let mut next = now.after(header_timeout.min(idle_timeout));
        if let Some((at, _)) = activity.deadline(&self.limits, self.closing) {
            next = next.min(at);
        }
        if self.closing.is_none() {
            next = next.min(self.old_at);
        }
        next
    }
}
