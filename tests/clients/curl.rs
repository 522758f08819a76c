//! A client that many people use first.

use std::process::Command;

use axum::Router;
use axum::routing::get;
use seawall::ServerStack;
use seawall::http::ClientIp;

use super::serve;

/// The head of a response as curl prints it, in lower case.
async fn curl(args: &[&str], url: &str) -> String {
    let args = ["-sS", "-i", "--max-time", "10"]
        .into_iter()
        .chain(args.iter().copied());
    let mut command = Command::new("curl");
    command.args(args).arg(url);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().expect("curl is installed");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().to_lowercase()
}

// HB9, SV1, RL16
#[tokio::test]
async fn hb9_curl_reads_the_status_and_retry_after_on_http1_and_http2() {
    for (args, version) in [
        (&[][..], "http/1.1"),
        (&["--http2-prior-knowledge"], "http/2"),
    ] {
        let stack = ServerStack::http("api", 10).rate_limit(ClientIp::peer().per_minute(1));
        let app = Router::new()
            .route("/", get(|| async { "hello" }))
            .layer(stack);
        let address = serve(app).await;
        let url = format!("http://{address}/");
        let served = curl(args, &url).await;
        assert!(served.starts_with(&format!("{version} 200")), "{served}");
        assert!(served.ends_with("hello"), "{served}");
        // An address that a client makes up is not the client.
        let made_up = [args, &["-H", "x-forwarded-for: 198.51.100.1"]].concat();
        let rejected = curl(&made_up, &url).await;
        assert!(
            rejected.starts_with(&format!("{version} 429")),
            "{rejected}"
        );
        assert!(rejected.contains("\nretry-after: 60\r\n"), "{rejected}");
    }
}
