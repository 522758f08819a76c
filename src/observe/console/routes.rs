//! The page, its data and its levers over HTTP.

use std::fmt::Display;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::handle::Console;
use super::levers::{self, Pull};
use super::viewer::Viewer;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

const JSON: &str = "application/json";

/// A form of another site cannot send it, and a script of another site only after a preflight.
const OURS: HeaderName = HeaderName::from_static("x-seawall-console");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A lever is named in less.
const MAX_BODY: usize = 4 * 1_024;

impl Console {
    /// The routes: the page at `/`, its frames at `/events`, one document at `/data.json`, and
    /// `POST /lever`.
    ///
    /// An open page is a response that does not end. Mount it beside a stack, not under one: it
    /// would hold a permit of the stack's bulkhead.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route("/", get(page))
            .route("/events", get(events))
            .route("/data.json", get(data))
            .route("/lever", post(lever))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self.clone())
    }
}

async fn page(State(console): State<Console>) -> Response {
    // What the page is made of is fixed; the nonce keeps out a script that anything else would add.
    let nonce = console.nonce();
    let page = PAGE
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{nonce}}", &nonce);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'self'"
    );
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = HeaderValue::try_from(policy).expect("a nonce is letters and digits");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn data(State(console): State<Console>) -> Response {
    let document = console.sampler.whole(console.levers);
    respond(StatusCode::OK, JSON, document)
}

async fn events(State(console): State<Console>) -> Response {
    let body = Body::from_stream(Viewer::new(console));
    let mut response = respond(StatusCode::OK, "text/event-stream", body);
    // For nginx, which would keep the frames back.
    let buffering = HeaderName::from_static("x-accel-buffering");
    response
        .headers_mut()
        .insert(buffering, HeaderValue::from_static("no"));
    response
}

async fn lever(State(console): State<Console>, headers: HeaderMap, body: Bytes) -> Response {
    if !console.levers {
        let why = "levers are off: the program has to turn them on";
        return rejected(StatusCode::FORBIDDEN, why);
    }
    if let Err(why) = same_site(&headers) {
        return rejected(StatusCode::FORBIDDEN, why);
    }
    let pull: Pull = match serde_json::from_slice(&body) {
        Ok(pull) => pull,
        Err(error) => {
            let why =
                format!("invalid body: {error} (must be JSON with id, name, lever and value)");
            return rejected(StatusCode::BAD_REQUEST, why);
        }
    };
    match levers::pull(&pull) {
        Ok(did) => respond(StatusCode::OK, JSON, json!({ "did": did }).to_string()),
        Err(levers::Error::Gone) => {
            let why = format!("no policy {} with the name `{}`", pull.id, pull.name);
            rejected(StatusCode::NOT_FOUND, why)
        }
        Err(levers::Error::Invalid(why)) => rejected(StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

/// Whether the request is of a page of this site, or of no page.
fn same_site(headers: &HeaderMap) -> Result<(), &'static str> {
    let is = |name: HeaderName, wanted: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.split(';').next().map(str::trim) == Some(wanted))
    };
    if !is(OURS, "1") {
        return Err("no header `x-seawall-console` (must be 1)");
    }
    if !is(CONTENT_TYPE, JSON) {
        return Err("another content type (must be application/json)");
    }
    // Browsers set it themselves, over TLS and on localhost.
    if headers.contains_key(SEC_FETCH_SITE)
        && !is(SEC_FETCH_SITE, "same-origin")
        && !is(SEC_FETCH_SITE, "none")
    {
        return Err("a request of another site");
    }
    Ok(())
}

fn rejected(status: StatusCode, why: impl Display) -> Response {
    respond(
        status,
        JSON,
        json!({ "error": why.to_string() }).to_string(),
    )
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
