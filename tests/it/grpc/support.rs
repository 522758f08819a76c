//! A gRPC service as tonic generates it, without protoc: messages are text.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures::stream::{self, BoxStream, StreamExt};
use http::uri::PathAndQuery;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::Endpoint;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Code, IntoRequest, IntoStreamingRequest, Request, Response, Status};
use tower::layer::util::Identity;
use tower::{BoxError, Layer, Service};

#[derive(Clone, Copy, Default)]
pub(super) struct Text;

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.into())
            .map(Some)
            .map_err(|error| Status::from_error(error.into()))
    }
}

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

/// The client. Its bounds are those of generated ones.
#[derive(Clone)]
pub(super) struct OrdersClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> OrdersClient<T>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    pub(super) fn new(inner: T) -> Self {
        let inner = tonic::client::Grpc::new(inner);
        Self { inner }
    }

    /// Over a service that takes whole addresses.
    pub(super) fn with_origin(inner: T, address: SocketAddr) -> Self {
        let origin = format!("http://{address}").parse().unwrap();
        let inner = tonic::client::Grpc::with_origin(inner, origin);
        Self { inner }
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.inner.ready().await;
        ready.map_err(|error| Status::unknown(format!("not ready: {}", error.into())))
    }

    async fn unary(
        &mut self,
        path: &'static str,
        request: impl IntoRequest<String>,
    ) -> Result<Response<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(path);
        self.inner.unary(request.into_request(), path, Text).await
    }

    /// Idempotent.
    pub(super) async fn get(&mut self, r: impl IntoRequest<String>) -> Result<String, Status> {
        Ok(self.unary(GET, r).await?.into_inner())
    }

    /// Not idempotent.
    pub(super) async fn put(&mut self, r: impl IntoRequest<String>) -> Result<String, Status> {
        Ok(self.unary(PUT, r).await?.into_inner())
    }

    /// A health check.
    pub(super) async fn check(&mut self, r: impl IntoRequest<String>) -> Result<String, Status> {
        Ok(self
            .unary("/grpc.health.v1.Health/Check", r)
            .await?
            .into_inner())
    }

    /// A stream of responses.
    pub(super) async fn watch(
        &mut self,
        request: impl IntoRequest<String>,
    ) -> Result<Streaming<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(WATCH);
        let call = self
            .inner
            .server_streaming(request.into_request(), path, Text);
        Ok(call.await?.into_inner())
    }

    /// A stream of requests.
    pub(super) async fn upload(
        &mut self,
        request: impl IntoStreamingRequest<Message = String>,
    ) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(UPLOAD);
        let request = request.into_streaming_request();
        let call = self.inner.client_streaming(request, path, Text);
        Ok(call.await?.into_inner())
    }
}

pub(super) const GET: &str = "/orders.Orders/Get";
pub(super) const PUT: &str = "/orders.Orders/Put";
pub(super) const WATCH: &str = "/orders.Orders/Watch";
pub(super) const UPLOAD: &str = "/orders.Orders/Upload";

/// One call as the server sees it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// From 1.
    pub(super) number: usize,
    /// The first message.
    pub(super) text: String,
    pub(super) metadata: MetadataMap,
}

impl Call {
    pub(super) fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name)?.to_str().ok()
    }
}

pub(super) type Messages = BoxStream<'static, Result<String, Status>>;
type Answer = Pin<Box<dyn Future<Output = Result<Messages, Status>> + Send>>;

/// A response of one message.
pub(super) fn one(text: impl Into<String>) -> Messages {
    stream::iter([Ok(text.into())]).boxed()
}

/// These messages, each after a delay.
pub(super) fn paced(
    messages: impl IntoIterator<Item = Result<String, Status>, IntoIter: Send + 'static>,
    delay: Duration,
) -> Messages {
    let after = move |message| async move {
        tokio::time::sleep(delay).await;
        message
    };
    stream::iter(messages).then(after).boxed()
}

/// A status with this pushback.
pub(super) fn pushed_back(code: Code, pushback: &str) -> Status {
    let mut status = Status::new(code, "");
    let value = pushback.parse().unwrap();
    status
        .metadata_mut()
        .insert("grpc-retry-pushback-ms", value);
    status
}

/// The server: what it answers is a closure's.
#[derive(Clone)]
pub(super) struct Orders {
    calls: Arc<AtomicUsize>,
    answer: Arc<dyn Fn(Call) -> Answer + Send + Sync>,
}

impl Orders {
    pub(super) fn new<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Messages, Status>> + Send + 'static,
    {
        Self {
            calls: Arc::default(),
            answer: Arc::new(move |call| Box::pin(answer(call))),
        }
    }

    /// Another server that answers as this one does.
    pub(super) fn again(&self) -> Self {
        Self {
            calls: Arc::default(),
            answer: Arc::clone(&self.answer),
        }
    }

    /// How many calls have reached it.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Serves it without a layer.
    pub(super) async fn serve(&self) -> SocketAddr {
        self.serve_under(Identity::new()).await
    }

    /// Serves it under a layer of the server.
    pub(super) async fn serve_under<L, B>(&self, layer: L) -> SocketAddr
    where
        L: Layer<tonic::service::Routes> + Clone + Send + 'static,
        L::Service:
            Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
        <L::Service as Service<http::Request<Body>>>::Future: Send,
        <L::Service as Service<http::Request<Body>>>::Error: Into<BoxError> + Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().layer(layer).add_service(self.clone());
        let server = server.add_service(Health(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }
}

impl NamedService for Orders {
    const NAME: &'static str = "orders.Orders";
}

impl tonic::server::StreamingService<String> for Orders {
    type Response = String;
    type ResponseStream = Messages;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Messages>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let this = self.clone();
        Box::pin(async move {
            let (metadata, _, mut messages) = request.into_parts();
            let text = messages.message().await?.unwrap_or_default();
            let call = Call {
                number,
                text,
                metadata,
            };
            (this.answer)(call).await.map(Response::new)
        })
    }
}

impl Service<http::Request<Body>> for Orders {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            Ok(tonic::server::Grpc::new(Text)
                .streaming(this, request)
                .await)
        })
    }
}

/// The service of health checks, which answers as the orders do.
#[derive(Clone)]
struct Health(Orders);

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl Service<http::Request<Body>> for Health {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <Orders as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Service::call(&mut self.0, request)
    }
}

/// A client without the timer of tonic's channel.
pub(super) fn without_timer(
    address: SocketAddr,
) -> OrdersClient<legacy::Client<HttpConnector, Body>> {
    let mut client = legacy::Client::builder(TokioExecutor::new());
    OrdersClient::with_origin(client.http2_only(true).build_http(), address)
}

pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::try_from(format!("http://{address}")).unwrap()
}
