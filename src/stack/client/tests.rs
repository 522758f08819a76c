use std::time::Duration;

use tower::{BoxError, Layer, ServiceExt, service_fn};

use super::*;

#[tokio::test]
async fn smoke() {
    let stack = ClientStack::new("s");
    let service = stack.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    assert_eq!(service.oneshot(3).await.unwrap(), 3);
    println!("{stack:?}");
    let _ = Duration::ZERO;
}
