//! The protected services, by their URLs. Each request is for one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::header::HeaderValue;
use axum::http::uri::{Authority, Scheme};
use axum::http::{Error, Request, Uri};
use seawall::stack::Addressed;
use seawall::{CircuitBreaker, Keyed};

/// The protected service.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    authority: Authority,
    pub(crate) host: HeaderValue,
    /// The path before that of each request, without a slash at its end.
    prefix: String,
    /// Whether requests are sent in HTTP/2.
    pub(crate) http2: bool,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        const ALLOWED: &str = "must be an absolute http URL like http://127.0.0.1:9000";
        let uri: Uri = url.parse().map_err(|_| ALLOWED)?;
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Err(format!("https is not supported, {ALLOWED}"));
        }
        let authority = uri
            .authority()
            .filter(|_| uri.scheme() == Some(&Scheme::HTTP));
        let authority = authority.ok_or(ALLOWED)?;
        if authority.host().is_empty() || authority.as_str().contains('@') || uri.query().is_some()
        {
            return Err(format!("{ALLOWED}, with neither a user nor a query"));
        }
        // A port that is no number or too large parses as an authority without one.
        if authority.port().is_some() != authority.port_u16().is_some()
            || authority.port_u16() == Some(0)
            || (authority.port().is_none() && !authority.as_str().ends_with(authority.host()))
        {
            return Err(format!("{ALLOWED}, with a port from 1 to 65535"));
        }
        let host = HeaderValue::try_from(authority.as_str()).map_err(|_| ALLOWED)?;
        Ok(Self {
            authority: authority.clone(),
            host,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            http2: false,
        })
    }

    pub(crate) fn with_http2(self, http2: bool) -> Self {
        Self { http2, ..self }
    }

    /// The URL at this service for a request to `uri`.
    pub(crate) fn uri(&self, uri: &Uri) -> Result<Uri, Error> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

/// All of them. Clones share the turns.
#[derive(Clone, Debug)]
pub(crate) struct Targets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// With the breaker that the stack finds by the authority of a request.
    all: Vec<(Target, Option<CircuitBreaker>)>,
    next: AtomicUsize,
}

impl Targets {
    pub(crate) fn new(targets: &[Target], breakers: Option<&Keyed<str, CircuitBreaker>>) -> Self {
        let breaker = |target: &Target| {
            let uri = target.uri(&Uri::from_static("/")).ok()?;
            let request = Request::get(uri).body(()).ok()?;
            Some(breakers?.get(&request.authority()?))
        };
        let all = targets.iter().map(|one| (one.clone(), breaker(one)));
        Self(Arc::new(Inner {
            all: all.collect(),
            next: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn http2(&self) -> bool {
        self.0.all.iter().any(|(target, _)| target.http2)
    }

    /// The next in turn whose breaker would admit a call. If none would, the next in turn: it
    /// rejects the call and says when to retry.
    pub(crate) fn pick(&self) -> &Target {
        let Inner { all, next } = &*self.0;
        let turn = next.fetch_add(1, Ordering::Relaxed) % all.len();
        let (before, from) = all.split_at(turn);
        let admits = |breaker: &CircuitBreaker| breaker.peek().is_ok();
        let mut in_turn = from.iter().chain(before);
        let admitted = in_turn.find(|(_, breaker)| breaker.as_ref().is_none_or(admits));
        &admitted.unwrap_or(&all[turn]).0
    }
}
