//! Tower's deltas as snapshots.

use std::{
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower::discover::{Change, Discover};

use crate::{
    discover::{Resolve, roster::Roster},
    endpoint::{Endpoint, EndpointSet},
    error::{BoxError, Error, Phase},
    grpc::Code,
};

/// Any tower [`Discover`] of endpoints as a resolver.
///
/// It takes all changes that are there before it yields a set, so that 10 000 insertions are one set. Errors are
/// passed on, and do not end it; when the discovery ends, its last set is final. The keys are the discovery's own:
/// of endpoints with the same identity under different keys, the one whose key came first counts.
///
/// ```
/// use std::convert::Infallible;
/// use futures_util::stream;
/// use grpc_balance::{discover::FromDiscover, endpoint::Endpoint};
/// use tower::discover::Change;
///
/// let endpoint: Endpoint = "10.0.0.1:50051".parse()?;
/// let changes = stream::iter([Ok::<_, Infallible>(Change::Insert("pod-1", endpoint))]);
/// let resolver = FromDiscover::new(changes);
/// # Ok::<(), grpc_balance::endpoint::ParseAddressError>(())
/// ```
#[pin_project]
#[derive(Debug)]
pub struct FromDiscover<D: Discover> {
    #[pin]
    discover: Option<D>,
    roster: Roster<D::Key>,
    changed: bool,
    generation: u64,
    error: Option<Error>,
}

impl<D> FromDiscover<D>
where
    D: Discover<Service: Into<Arc<Endpoint>>, Error: Into<BoxError>> + Send + 'static,
    D::Key: Hash + Send,
{
    /// A resolver of what `discover` discovers.
    #[must_use]
    pub fn new(discover: D) -> Self {
        Self { discover: Some(discover), roster: Roster::new(), changed: false, generation: 0, error: None }
    }
}

impl<D> Resolve for FromDiscover<D>
where
    D: Discover<Service: Into<Arc<Endpoint>>, Error: Into<BoxError>> + Send + 'static,
    D::Key: Hash + Send,
{
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        let mut this = self.project();
        if let Some(error) = this.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let drained = loop {
            let Some(discover) = this.discover.as_mut().as_pin_mut() else { break Poll::Ready(None) };
            match discover.poll_discover(cx) {
                Poll::Ready(Some(Ok(Change::Insert(key, endpoint)))) => {
                    *this.changed |= this.roster.insert(key, endpoint.into());
                }
                Poll::Ready(Some(Ok(Change::Remove(key)))) => *this.changed |= this.roster.remove(&key),
                Poll::Ready(Some(Err(cause))) => {
                    let error = Error::new(Code::Unavailable, Phase::Resolve, "the discovery failed");
                    break Poll::Ready(Some(Err(error.because(cause))));
                }
                // A discovery that ends without a word has nothing, and that is an answer.
                Poll::Ready(None) => {
                    *this.changed |= *this.generation == 0;
                    this.discover.set(None);
                }
                Poll::Pending => break Poll::Pending,
            }
        };
        if !*this.changed {
            return drained;
        }
        // What came before the error is published before it.
        if let Poll::Ready(Some(Err(error))) = drained {
            *this.error = Some(error);
        }
        *this.changed = false;
        *this.generation += 1;
        let set = EndpointSet::new(this.roster.endpoints().iter().cloned(), *this.generation);
        Poll::Ready(Some(Ok(Arc::new(set))))
    }
}
