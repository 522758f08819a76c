//! The client's address, as a key.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::HeaderName;
use http::{Extensions, HeaderMap, Request};
use ipnet::IpNet;

use super::forwarded;
use crate::config::Name;
use crate::event::notice;
use crate::keyed::{ByKey, Keyed, PerKey, Picked, Source};
use crate::macros::debug_fields;
use crate::rate_limit::{Quota, RateLimiter};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{Arc, AtomicBool, Ordering};

/// The address of the connection's peer, as a request extension.
///
/// [`serve`](crate::serve) inserts it. With plain hyper one line does:
///
/// ```
/// # let peer: std::net::SocketAddr = ([127, 0, 0, 1], 80).into();
/// # let mut request = http::Request::new(());
/// request.extensions_mut().insert(seawall::http::Peer(peer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

/// The client's address, as the key of a [`Keyed`] policy.
///
/// By default it is the address of the connection's peer. Behind a reverse proxy or a load balancer
/// that is the proxy, the same for all clients. Then say which proxies to trust, and the address
/// comes from the header that they write:
///
#[cfg_attr(feature = "axum", doc = "```no_run")]
#[cfg_attr(not(feature = "axum"), doc = "```ignore")]
/// use std::net::SocketAddr;
/// use axum::{Router, routing::get};
/// use seawall::{ServerStack, http::ClientIp};
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clients = ClientIp::trusting(["10.0.0.0/8".parse()?, "fd00::/8".parse()?]);
/// let stack = ServerStack::new("api", 200).rate_limit(clients.per_second(50));
/// let app = Router::new().route("/", get(|| async { "hello" })).layer(stack);
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
/// # Ok(()) }
/// ```
///
/// # Where the peer's address comes from
///
/// | host | line |
/// |---|---|
/// | [`serve`](crate::serve) | none: it inserts a [`Peer`] |
/// | `axum::serve` | `app.into_make_service_with_connect_info::<SocketAddr>()`, and the feature `axum` |
/// | plain hyper | `request.extensions_mut().insert(Peer(address))` |
/// | any other | [`peer_from`](Self::peer_from) with the host's own extension |
///
/// If the host gives none, every call is rejected with
/// [`RejectionKind::NoPeerAddress`], over HTTP with the status 500, and the first one is reported as an
/// error that names the line to add. One limit for all clients together would be an outage under load,
/// and nothing would show why. [`ByKey::or_skip`] and [`ByKey::or`] choose otherwise, such as for a
/// Unix socket.
///
/// # Which address
///
/// - The header is read from the right, one entry for each trusted proxy. What a client puts into it
///   stands to the left of what the proxies add and is not reached.
/// - Only one header is read, by default `X-Forwarded-For`. A proxy passes on the headers that it does
///   not write, so a second one would be the client's own choice.
/// - If an entry that has to be read is no address, the peer is the client.
/// - An IPv4-mapped IPv6 address is the IPv4 address.
/// - An IPv6 key is the address's network of 64 bits, which is what one client usually gets. Otherwise
///   a client would have 2^64 keys.
#[derive(Clone)]
pub struct ClientIp(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    trust: Trust,
    header: Header,
    ipv6_prefix: u8,
    peer_from: Option<PeerFrom>,
    /// Whether a missing peer address has been reported. Publishes nothing: relaxed.
    reported: Arc<AtomicBool>,
}

type PeerFrom = Arc<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

#[derive(Clone, Debug)]
enum Trust {
    Hops(usize),
    Networks(Vec<IpNet>),
}

#[derive(Clone, Debug)]
enum Header {
    Forwarded,
    List(HeaderName),
}

impl ClientIp {
    /// The peer's address. No header is read.
    pub fn peer() -> Self {
        Self::trusting_hops(0)
    }

    /// The last address that is not in one of these networks: of the peer, and of the header's entries
    /// from the right. If all are, it is the leftmost.
    ///
    /// List the networks of your proxies. A client within them can make up any address.
    pub fn trusting(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let networks = networks.into_iter().map(unfolded).collect();
        Self::new(Trust::Networks(networks))
    }

    /// The address that `hops` proxies in a row have seen: the entry of the header that is this far
    /// from the right. Each proxy adds one; the last of them is the peer. With fewer entries the peer
    /// is the client.
    ///
    /// For proxies whose addresses change. Every call has to come through all of them: a client that
    /// can reach the server directly can make up any address.
    pub fn trusting_hops(hops: usize) -> Self {
        Self::new(Trust::Hops(hops))
    }

    fn new(trust: Trust) -> Self {
        Self(Arc::new(Settings {
            trust,
            header: Header::List(HeaderName::from_static("x-forwarded-for")),
            ipv6_prefix: 64,
            peer_from: None,
            reported: Arc::default(),
        }))
    }

    /// Reads `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    #[must_use]
    pub fn forwarded(self) -> Self {
        self.with(|settings| settings.header = Header::Forwarded)
    }

    /// Reads the header `name` instead of `X-Forwarded-For`: a list of the same form, or a single
    /// address, such as `X-Real-IP` or `CF-Connecting-IP`.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.header = Header::List(name))
    }

    /// How many leading bits of an IPv6 address are its key. The default is 64; with 128 or more each
    /// address is a key of its own. Some networks give each client more: 56 or 48.
    #[must_use]
    pub fn ipv6_prefix(self, bits: u8) -> Self {
        self.with(|settings| settings.ipv6_prefix = bits.min(128))
    }

    /// Reads the peer's address from the host's own request extension, instead of [`Peer`] and, with
    /// the feature `axum`, `ConnectInfo<SocketAddr>`.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use seawall::http::ClientIp;
    ///
    /// #[derive(Clone)]
    /// struct Connection(SocketAddr);
    ///
    /// let clients = ClientIp::peer().peer_from(|extensions| Some(extensions.get::<Connection>()?.0));
    /// # let _ = clients;
    /// ```
    #[must_use]
    pub fn peer_from(
        self,
        peer: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.peer_from = Some(Arc::new(peer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// A limit of `n` a second for each client, for up to 10,000 clients. For other options make the
    /// limiter first and use [`Keyed::by_client_ip`].
    #[track_caller]
    pub fn per_second(self, n: u32) -> ByKey<IpAddr, RateLimiter, Self> {
        self.limit(Quota::per_second(n))
    }

    /// A limit of `n` a minute for each client, for up to 10,000 clients.
    #[track_caller]
    pub fn per_minute(self, n: u32) -> ByKey<IpAddr, RateLimiter, Self> {
        self.limit(Quota::per_minute(n))
    }

    #[track_caller]
    fn limit(self, quota: Quota) -> ByKey<IpAddr, RateLimiter, Self> {
        let limit = Keyed::limit(10_000, quota);
        limit.expect("these quotas are valid").by_client_ip(self)
    }

    /// The client's address, whole. None if the host gives no peer address.
    pub fn address<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = self.peer_of(request.extensions())?;
        Some(self.behind(peer, request.headers()).unwrap_or(peer))
    }

    /// The key of the request: the address, or its network if it is an IPv6 address. None if the host
    /// gives no peer address.
    pub fn key<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        Some(network(self.address(request)?, self.0.ipv6_prefix))
    }

    fn peer_of(&self, extensions: &Extensions) -> Option<IpAddr> {
        let peer = match &self.0.peer_from {
            Some(peer_from) => peer_from(extensions),
            None => peer_of(extensions),
        };
        Some(peer?.ip().to_canonical())
    }

    /// The client by the header. None if the header is too short or malformed.
    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        match (&self.0.trust, &self.0.header) {
            (Trust::Hops(0), _) => Some(peer),
            (trust, Header::List(name)) => trust.client(peer, forwarded::addresses(headers, name)),
            (trust, Header::Forwarded) => trust.client(peer, forwarded::forwarded(headers)),
        }
    }

    /// Reports a missing peer address, once.
    #[cold]
    fn report(&self, policy: &Name) {
        if !self.0.reported.swap(true, Ordering::Relaxed) {
            notice::error(policy, FORGOTTEN);
        }
    }
}

const FORGOTTEN: &str = "requests have no peer address, so that clients cannot be distinguished and \
    every call is answered 500. Serve with `seawall::serve`, or with \
    `axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())` and the feature \
    `axum`, or insert the extension `seawall::http::Peer(address)` into each request";

impl Trust {
    fn client(
        &self,
        peer: IpAddr,
        mut hops: impl Iterator<Item = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        match self {
            Self::Hops(hop) => hops.nth(hop - 1)?,
            Self::Networks(networks) => {
                let mut client = peer;
                while networks.iter().any(|network| network.contains(&client)) {
                    match hops.next() {
                        Some(hop) => client = hop?,
                        None => break,
                    }
                }
                Some(client)
            }
        }
    }
}

fn peer_of(extensions: &Extensions) -> Option<SocketAddr> {
    if let Some(peer) = extensions.get::<Peer>() {
        return Some(peer.0);
    }
    #[cfg(feature = "axum")]
    {
        use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};
        let real = extensions.get::<ConnectInfo<SocketAddr>>();
        let mock = || extensions.get::<MockConnectInfo<SocketAddr>>();
        real.map(|real| real.0)
            .or_else(|| mock().map(|mock| mock.0))
    }
    #[cfg(not(feature = "axum"))]
    None
}

/// The network that an IPv6 address is in; an IPv4 address as it is.
pub(crate) fn network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = 128 - u32::from(ipv6_prefix);
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
        address => address,
    }
}

/// A network of IPv4-mapped addresses is one of IPv4 addresses.
fn unfolded(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else {
        return network;
    };
    let prefix = network.prefix_len() - (network.max_prefix_len() - 32).min(network.prefix_len());
    IpNet::new(address.into(), prefix).unwrap_or(network)
}

impl<P: PerKey> Keyed<IpAddr, P> {
    /// For a layer, instead of a policy: each request gets the policy of its client's address. A
    /// request without a peer address is rejected, as [`ClientIp`] says.
    ///
    /// ```
    /// use seawall::{Keyed, Quota, RateLimitLayer, http::ClientIp};
    ///
    /// let per_client = Keyed::limit(100_000, Quota::per_second(20).burst(50))?;
    /// let layer = RateLimitLayer::new(per_client.by_client_ip(ClientIp::trusting_hops(1)));
    /// # let _ = layer;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn by_client_ip(&self, clients: ClientIp) -> ByKey<IpAddr, P, ClientIp> {
        self.by_type(clients)
            .must_have_key(RejectionKind::NoPeerAddress)
    }
}

impl<B, P: PerKey> Source<Request<B>, P> for ByKey<IpAddr, P, ClientIp> {
    fn pick(&self, request: &Request<B>) -> Result<Picked<'_, P>, Rejection> {
        let key = self.key().key(request);
        if key.is_none() && self.rejects_keyless() {
            self.key().report(self.keyed().name());
        }
        self.pick_key(key.as_ref())
    }
}

debug_fields!(ClientIp, this: trust = this.0.trust, header = this.0.header,
    ipv6_prefix = this.0.ipv6_prefix);
