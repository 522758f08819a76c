use ::reqwest::{Body, Response};
use bytes::Bytes;
use tower_service::Service as TowerService;

use super::attempt::AttemptService;
use super::call::Call;
use crate::http::{BodyError, BodyService, UntilBodyEnd};
use crate::rejection::Error;
use crate::service::Native;
use crate::stack::ClientService;

/// The service of a stack around [`AttemptService`].
pub type Service = ClientService<BodyService<AttemptService>, UntilBodyEnd<Native>>;

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
