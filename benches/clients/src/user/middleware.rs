//! reqwest-middleware with reqwest-retry.

use std::time::Duration;

use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tokio::time::timeout;

use super::Error;

const TOTAL: Duration = Duration::from_secs(3);

pub fn client() -> Result<ClientWithMiddleware, Error> {
    let client = Client::builder().timeout(Duration::from_secs(1)).build()?;
    let policy = ExponentialBackoff::builder()
        .retry_bounds(Duration::from_millis(50), Duration::from_secs(2))
        .build_with_max_retries(2);
    let retry = RetryTransientMiddleware::new_with_policy(policy);
    Ok(ClientBuilder::new(client).with(retry).build())
}

pub async fn get(client: &ClientWithMiddleware, url: &str) -> Result<String, Error> {
    let response = timeout(TOTAL, client.get(url).send()).await??;
    Ok(response.error_for_status()?.text().await?)
}

pub async fn post(client: &ClientWithMiddleware, url: &str) -> Result<String, Error> {
    let order = client.post(url).json("order").send();
    let order = timeout(TOTAL, order).await??;
    Ok(order.error_for_status()?.text().await?)
}
