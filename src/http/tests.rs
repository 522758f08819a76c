use std::net::IpAddr;

use http::Request;

use super::{ClientIp, Peer};
use crate::event::lines_of;
use crate::keyed::{ByKey, Source};
use crate::{Mode, RateLimiter, RejectionKind};

type PerClient = ByKey<IpAddr, RateLimiter, ClientIp>;

fn picked(clients: &PerClient, request: &Request<()>) -> Option<RejectionKind> {
    clients
        .pick(request)
        .err()
        .map(|rejection| rejection.kind())
}

// RL16, KY5, case 35
#[test]
fn rl16_a_forgotten_peer_address_is_logged_once_and_names_the_line_to_add() {
    let clients = ClientIp::peer().per_second(1);
    let lines = lines_of(|| {
        for _ in 0..3 {
            let kind = picked(&clients.clone(), &Request::new(()));
            assert_eq!(kind, Some(RejectionKind::NoPeerAddress));
        }
    });
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("ERROR"))
        .collect();
    let [error] = errors[..] else {
        panic!("not one error: {lines:?}");
    };
    assert!(error.contains("app.into_make_service_with_connect_info::<SocketAddr>()"));
    assert!(
        error.contains("resilience.policy=rate_limit@src/http/tests.rs"),
        "{error}"
    );
}

#[test]
fn rl16_a_missing_peer_address_may_be_allowed() {
    let lines = lines_of(|| {
        let skipped = ClientIp::peer().per_second(1).or_skip();
        assert_eq!(picked(&skipped, &Request::new(())), None);
        let shared = ClientIp::peer()
            .per_second(1)
            .or(RateLimiter::per_second(1));
        assert_eq!(picked(&shared, &Request::new(())), None);
    });
    assert!(
        !lines.iter().any(|line| line.starts_with("ERROR")),
        "{lines:?}"
    );
}

// CX16, RL16
#[test]
fn cx16_a_missing_peer_address_rejects_nothing_in_record_only_mode() {
    let clients = crate::Keyed::limit(10, crate::Quota::per_second(1)).unwrap();
    clients.set_mode(Mode::RecordOnly);
    let clients = clients.by_client_ip(ClientIp::peer());
    let lines = lines_of(|| assert_eq!(picked(&clients, &Request::new(())), None));
    assert!(
        lines.iter().any(|line| line.contains("would be rejected")),
        "{lines:?}"
    );
}

#[test]
fn rl16_a_peer_address_is_no_reason_for_a_message() {
    let clients = ClientIp::peer().per_second(1);
    let mut request = Request::new(());
    request
        .extensions_mut()
        .insert(Peer(([192, 0, 2, 1], 80).into()));
    assert_eq!(
        lines_of(|| assert_eq!(picked(&clients, &request), None)),
        [""; 0]
    );
}
