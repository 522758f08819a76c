//! backon around reqwest.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Client, StatusCode};
use tokio::time::timeout;

use super::Error;

const TOTAL: Duration = Duration::from_secs(3);

pub fn client() -> Result<Client, Error> {
    let client = Client::builder().timeout(Duration::from_secs(1));
    Ok(client.build()?)
}

fn is_transient(error: &reqwest::Error) -> bool {
    match error.status() {
        Some(status) => status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        None => true,
    }
}

pub async fn get(client: &Client, url: &str) -> Result<String, Error> {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_times(2)
        .with_jitter();
    let text = || async {
        client
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await
    };
    let text = text.retry(backoff).when(is_transient);
    Ok(timeout(TOTAL, text).await??)
}

pub async fn post(client: &Client, url: &str) -> Result<String, Error> {
    let order = client.post(url).json("order").send().await?;
    Ok(order.error_for_status()?.text().await?)
}
