//! Seawall around a client of reqwest.

use std::time::Duration;

use seawall::ClientStack;
use seawall::reqwest::Client;

use super::Error;

pub fn client() -> Result<Client, Error> {
    let stack = ClientStack::builder("search")
        .total_timeout(Duration::from_secs(3))
        .attempt_timeout(Duration::from_secs(1))
        .build()?;
    Ok(stack.until_body_end().reqwest(reqwest::Client::new()))
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
