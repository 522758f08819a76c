use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::GrpcServerBody;
use crate::grpc::methods::Methods;
use crate::macros::debug_fields;

/// A service under a [`GrpcServerStack`](super::GrpcServerStack): `L` is the service under the
/// limits of the stack, and `S` the one without, for exempt methods.
#[derive(Clone)]
pub struct GrpcServerService<L, S> {
    limited: L,
    /// Never polled ready: the clone of an exempt call is.
    exempt: S,
    methods: Methods,
}

impl<L, S> GrpcServerService<L, S> {
    pub(super) fn new(limited: L, exempt: S, methods: Methods) -> Self {
        Self {
            limited,
            exempt,
            methods,
        }
    }
}

impl<L, S, A, LB, SB> Service<Request<A>> for GrpcServerService<L, S>
where
    L: Service<Request<A>, Response = Response<LB>>,
    S: Service<Request<A>, Response = Response<SB>, Error = L::Error> + Clone,
{
    type Response = Response<GrpcServerBody<LB, SB>>;
    type Error = L::Error;
    type Future = GrpcServerFuture<L::Future, S, Request<A>, S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), L::Error>> {
        self.limited.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let state = if self.methods.contains(request.uri().path()) {
            State::Readying {
                service: self.exempt.clone(),
                request: Some(request),
            }
        } else {
            let call = self.limited.call(request);
            State::Limited { call }
        };
        GrpcServerFuture { state }
    }
}

debug_fields!([L: fmt::Debug, S] GrpcServerService<L, S>, this: limited = this.limited,
    exempt = this.methods);

pin_project! {
    /// The response future of [`GrpcServerService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct GrpcServerFuture<F, S, Req, X> {
        #[pin]
        state: State<F, S, Req, X>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, S, Req, X> {
        // A call under the stack.
        Limited {
            #[pin]
            call: F,
        },
        // An exempt call, whose service becomes ready.
        Readying { service: S, request: Option<Req> },
        // An exempt call.
        Exempt {
            #[pin]
            call: X,
        },
    }
}

impl<F, S, Req, X, LB, SB, E> Future for GrpcServerFuture<F, S, Req, X>
where
    F: Future<Output = Result<Response<LB>, E>>,
    S: Service<Req, Response = Response<SB>, Error = E, Future = X>,
    X: Future<Output = Result<Response<SB>, E>>,
{
    type Output = Result<Response<GrpcServerBody<LB, SB>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Limited { call } => {
                    return call.poll(cx).map_ok(GrpcServerBody::limited);
                }
                StateProjection::Readying { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let request = request.take().expect("polled after it was ready");
                    let call = service.call(request);
                    state.set(State::Exempt { call });
                }
                StateProjection::Exempt { call } => {
                    return call.poll(cx).map_ok(GrpcServerBody::exempt);
                }
            }
        }
    }
}

impl<F, S, Req, X> fmt::Debug for GrpcServerFuture<F, S, Req, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Limited { .. } => "Limited",
            State::Readying { .. } => "Readying",
            State::Exempt { .. } => "Exempt",
        })
    }
}
