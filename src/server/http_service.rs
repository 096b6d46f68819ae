use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::RequestBody;
use crate::error::BoxError;

/// A service that a server can serve. Implemented for every tower service that has the traits it asks for, such as
/// the layers of this crate, a tonic `Routes` and an axum router.
///
/// It is cloned for each connection and for each request, and asked for readiness by that request alone.
pub trait HttpService:
    Service<
        Request<RequestBody>,
        Response = Response<Self::ResponseBody>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type ResponseBody: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
}
