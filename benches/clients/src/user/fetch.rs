//! Microsoft's fetch, whose standard pipeline is that of `seatbelt_http`.

use std::time::Duration;

use fetch::HttpClient;
use fetch::tokio::TokioDeps;

use super::Error;

pub fn client() -> Result<HttpClient, Error> {
    let client = HttpClient::builder_tokio(TokioDeps::default())
        .insecure_allow_http()
        .standard_pipeline(|pipeline, _| {
            pipeline
                .total_timeout(|total| total.timeout(Duration::from_secs(3)))
                .attempt_timeout(|attempt| attempt.timeout(Duration::from_secs(1)))
                .retry(|retry| {
                    retry
                        .max_retry_attempts(2)
                        .base_delay(Duration::from_millis(50))
                })
        });
    Ok(client.build())
}

pub async fn get(client: &HttpClient, url: &str) -> Result<String, Error> {
    Ok(client.get(url).fetch_text_body().await?)
}

pub async fn post(client: &HttpClient, url: &str) -> Result<String, Error> {
    Ok(client.post(url).json(&"order").fetch_text_body().await?)
}
