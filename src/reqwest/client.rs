use ::reqwest::{IntoUrl, Method, Request, Response};
use bytes::Bytes;
use tower_layer::Layer;
use tower_service::Service as TowerService;

use super::attempt::AttemptService;
use super::call::Call;
use super::request::RequestBuilder;
use super::send::{Service, send};
use crate::http::{BodyError, ClientBodies, SendCallHeaders};
use crate::macros::debug_fields;
use crate::rejection::Error;
use crate::stack::{ClientStack, Overrides};

/// A client of reqwest under a [`ClientStack::http`]; made by [`ClientStack::reqwest`]. The
/// [module](crate::reqwest) describes it.
///
/// It is cheap to clone. Clones share the connections and the policies.
///
/// `W` is the service of the stack. The default is that of [`ClientStack::http`], also with other
/// numbers.
#[derive(Clone)]
pub struct Client<W = Service> {
    client: ::reqwest::Client,
    service: W,
}

/// A client of reqwest under a stack `K`, such as an
/// [`HttpClientStack`](crate::http::HttpClientStack) with options. The
/// [module](crate::reqwest#stacks-with-options) has an example.
pub type ClientOf<K> = Client<<K as Layer<AttemptService>>::Service>;

impl<R, C, L, O, K, P> ClientStack<R, C, L, O, K, ClientBodies<P>> {
    /// Puts the stack around a client of reqwest. The [module](crate::reqwest) has an example.
    pub fn reqwest(&self, client: ::reqwest::Client) -> ClientOf<Self>
    where
        Self: Layer<AttemptService>,
    {
        Client::new(self, client)
    }
}

impl<R, C, L, O, K, P> SendCallHeaders<ClientStack<R, C, L, O, K, ClientBodies<P>>> {
    /// Puts the stack around a client of reqwest, as [`ClientStack::reqwest`] does.
    pub fn reqwest(&self, client: ::reqwest::Client) -> ClientOf<Self>
    where
        Self: Layer<AttemptService>,
    {
        Client::new(self, client)
    }
}

impl<W> Client<W> {
    fn new<K: Layer<AttemptService, Service = W>>(stack: &K, client: ::reqwest::Client) -> Self {
        Self {
            service: stack.layer(AttemptService::new(client.clone())),
            client,
        }
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            pub fn $name<U: IntoUrl>(&self, url: U) -> RequestBuilder<W> {
                self.builder(self.client.$name(url))
            }
        )*
    };
}

impl<W: Clone> Client<W> {
    methods! {
        /// Starts a GET.
        get
        /// Starts a POST. It is sent again only if the first one had no effect, or with an
        /// `Idempotency-Key`.
        post
        /// Starts a PUT.
        put
        /// Starts a PATCH. It is sent again only if the first one had no effect, or with an
        /// `Idempotency-Key`.
        patch
        /// Starts a DELETE.
        delete
        /// Starts a HEAD.
        head
    }

    /// Starts a request with this method.
    pub fn request<U: IntoUrl>(&self, method: Method, url: U) -> RequestBuilder<W> {
        self.builder(self.client.request(method, url))
    }

    fn builder(&self, inner: ::reqwest::RequestBuilder) -> RequestBuilder<W> {
        RequestBuilder::new(self.service.clone(), inner)
    }

    /// Sends a request. Its timeout is the total of the call.
    ///
    /// # Errors
    /// A rejection by the stack, or the error of the last attempt. A failing status is none.
    pub async fn execute<B>(&self, request: Request) -> Result<Response, Error<::reqwest::Error>>
    where
        W: TowerService<Call, Response = http::Response<B>, Error = Error<::reqwest::Error>>,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Sync + 'static,
    {
        send(self.service.clone(), Call::new(request, Overrides::new())).await
    }
}

/// So that `?` takes an error of `error_for_status` or `text` where it takes one of `send`.
impl From<::reqwest::Error> for Error<::reqwest::Error> {
    fn from(error: ::reqwest::Error) -> Self {
        Self::Service(error)
    }
}

debug_fields!([W] Client<W>, this: client = this.client);
