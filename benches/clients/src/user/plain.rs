//! reqwest alone.

use std::time::Duration;

use reqwest::Client;

use super::Error;

pub fn client() -> Result<Client, Error> {
    let client = Client::builder().timeout(Duration::from_secs(1));
    Ok(client.build()?)
}

pub async fn get(client: &Client, url: &str) -> Result<String, Error> {
    Ok(client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}

pub async fn post(client: &Client, url: &str) -> Result<String, Error> {
    let order = client.post(url).json("order").send().await?;
    Ok(order.error_for_status()?.text().await?)
}
