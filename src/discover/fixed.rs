//! Endpoints that never change.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    discover::Resolve,
    endpoint::{Endpoint, EndpointSet},
    error::Error,
};

/// A resolver that knows its endpoints: it yields one set, and ends.
///
/// ```
/// use std::net::SocketAddr;
/// use grpc_balance::{discover::Fixed, endpoint::Endpoint};
///
/// let by_address = Fixed::new([SocketAddr::from(([10, 0, 0, 1], 80)), SocketAddr::from(([10, 0, 0, 2], 80))]);
/// let by_endpoint = Fixed::new(["10.0.0.1:80".parse::<Endpoint>()?.with_weight(10)]);
/// # Ok::<(), grpc_balance::endpoint::ParseAddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fixed(Option<Arc<EndpointSet>>);

impl Fixed {
    /// A resolver of these endpoints or addresses, in order of preference.
    #[must_use]
    pub fn new<E: Into<Endpoint>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self::from_set(EndpointSet::new(endpoints.into_iter().map(|endpoint| endpoint.into()), 1))
    }

    /// A resolver of this set.
    #[must_use]
    pub fn from_set(set: impl Into<Arc<EndpointSet>>) -> Self {
        Self(Some(set.into()))
    }
}

impl Resolve for Fixed {
    fn poll_resolve(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
