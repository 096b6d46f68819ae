//! Connections that answer at once, so that what is measured is the balancer.

use std::{
    future::{Ready, ready},
    hint::black_box,
    net::Ipv4Addr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use grpc_balance::{
    Balance, Error,
    balance::Builder,
    connect::{Connect, Connection, ConnectionState, Established, Permit, Replay, SendError},
    discover::Fixed,
    endpoint::Endpoint,
    policy::P2c,
    stats::ChannelState,
};
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::Empty;
use tokio::sync::watch;

pub(crate) type RequestBody = Empty<Bytes>;

/// A request for a URI that was parsed before.
pub(crate) fn request(uri: &Uri) -> Request<RequestBody> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri.clone();
    request
}

/// Connects to what answers at once.
pub(crate) struct AtOnce;

#[derive(Debug)]
pub(crate) struct Line {
    _health: watch::Sender<ConnectionState>,
}

pub(crate) struct Nothing {
    _permit: Permit,
}

impl Connect for AtOnce {
    type Connection = Line;
    type Future = Ready<Result<Established<Line>, Error>>;

    fn connect(&self, _endpoint: &Arc<Endpoint>) -> Self::Future {
        let (health, watch) = watch::channel(ConnectionState::Open { max_streams: usize::MAX });
        ready(Ok(Established::new(Arc::new(Line { _health: health }), watch)))
    }
}

impl Connection<RequestBody> for Line {
    type Body = Nothing;
    type Future = Ready<Result<Response<Nothing>, SendError<RequestBody>>>;

    fn send(self: &Arc<Self>, request: Request<Replay<RequestBody>>, permit: Permit) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(Nothing { _permit: permit })))
    }
}

impl Body for Nothing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// A balancer over this many endpoints that are ready.
pub(crate) async fn balanced(
    endpoints: u16,
    configure: impl FnOnce(Builder<AtOnce>) -> Builder<AtOnce>,
) -> Balance<AtOnce> {
    let fixed =
        (1..=endpoints).map(|port| Endpoint::new(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    let builder = Balance::builder(Fixed::new(fixed), AtOnce).policy(P2c::least_pending());
    let balance = configure(builder).build().expect("in a runtime");
    let mut watch = balance.watch();
    let ready = |now: &grpc_balance::balance::Connectivity| {
        now.state() == ChannelState::Ready && now.ready() == usize::from(endpoints)
    };
    watch.wait_for(ready).await.expect("the balancer lives");
    balance
}
