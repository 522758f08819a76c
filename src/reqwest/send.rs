use ::reqwest::{Body, Response};
use bytes::Bytes;
use tower_layer::Layer;
use tower_service::Service as TowerService;

use super::attempt::AttemptService;
use super::call::Call;
use crate::http::{BodyError, HttpClientStack};
use crate::rejection::Error;

/// The service of a stack around [`AttemptService`].
pub type Service = <HttpClientStack as Layer<AttemptService>>::Service;

pub(super) async fn send<W, B>(
    mut service: W,
    call: Call,
) -> Result<Response, Error<::reqwest::Error>>
where
    W: TowerService<Call, Response = http::Response<B>, Error = Error<::reqwest::Error>>,
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Sync + 'static,
{
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    let response = service.call(call).await?;
    Ok(response.map(Body::wrap).into())
}
