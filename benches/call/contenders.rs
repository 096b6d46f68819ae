//! Those whose calls are measured, each connected to the backends.

use std::{
    collections::HashSet,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use ginepro::{LoadBalancedChannel, LookupService, ServiceDefinition};
use h2::client::SendRequest;
use http::{Request, Uri};
use prost::Message;
use tonic::transport::{Channel, Endpoint};

use crate::pb::helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Makes one call after the other.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

pub(crate) struct Contenders {
    pub(crate) h2: H2,
    pub(crate) tonic: GreeterClient<Channel>,
    pub(crate) balance_list: GreeterClient<Channel>,
    pub(crate) ginepro: Ginepro,
    pub(crate) grpc_balance: GreeterClient<grpc_balance::Channel>,
}

impl Contenders {
    pub(crate) async fn connect(addresses: &[SocketAddr]) -> Self {
        let endpoint = |address: &SocketAddr| Endpoint::from_shared(format!("http://{address}")).unwrap();
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let balanced = grpc_balance::Channel::builder(format!("ipv4:{}", list.join(","))).build().unwrap();
        balanced.ready(addresses.len(), std::time::Duration::from_secs(5)).await.unwrap();
        Self {
            h2: H2::connect(addresses).await.unwrap(),
            tonic: GreeterClient::new(endpoint(&addresses[0]).connect().await.unwrap()),
            balance_list: GreeterClient::new(Channel::balance_list(addresses.iter().map(endpoint))),
            ginepro: Ginepro::connect(addresses).await,
            grpc_balance: GreeterClient::new(balanced),
        }
    }
}

impl Caller for GreeterClient<Channel> {
    async fn call(&mut self) -> Result<()> {
        self.say_hello(HelloRequest { name: "world".into() }).await?;
        Ok(())
    }
}

impl Caller for GreeterClient<grpc_balance::Channel> {
    async fn call(&mut self) -> Result<()> {
        self.say_hello(HelloRequest { name: "world".into() }).await?;
        Ok(())
    }
}

/// Bare HTTP/2 streams, the connections in turn.
#[derive(Clone)]
pub(crate) struct H2 {
    connections: Vec<SendRequest<Bytes>>,
    request: Request<()>,
    message: Bytes,
    next: Arc<AtomicUsize>,
}

impl H2 {
    async fn connect(addresses: &[SocketAddr]) -> Result<Self> {
        let mut connections = Vec::new();
        for address in addresses {
            let socket = tokio::net::TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let (send_request, connection) = h2::client::Builder::new()
                // The default budget for unread small DATA frames ends the connection at this concurrency.
                .data_frame_budget(1 << 24)
                .handshake(socket)
                .await?;
            tokio::spawn(connection);
            connections.push(send_request);
        }
        let request = Request::post(Uri::from_static("http://backends/helloworld.Greeter/SayHello"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(())?;
        let message = HelloRequest { name: "world".into() }.encode_to_vec();
        let mut framed = vec![0];
        framed.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        framed.extend_from_slice(&message);
        Ok(Self { connections, request, message: framed.into(), next: Arc::default() })
    }
}

impl Caller for H2 {
    async fn call(&mut self) -> Result<()> {
        let turn = self.next.fetch_add(1, Relaxed) % self.connections.len();
        let mut connection = self.connections[turn].clone().ready().await?;
        let (response, mut body) = connection.send_request(self.request.clone(), false)?;
        body.send_data(self.message.clone(), true)?;
        let mut body = response.await?.into_body();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        let trailers = body.trailers().await?;
        assert!(trailers.is_some_and(|trailers| trailers["grpc-status"] == "0"));
        Ok(())
    }
}

/// `ginepro`, which stands on an older tonic than ours: its generated client is spelled out here.
#[derive(Clone)]
pub(crate) struct Ginepro(tonic_013::client::Grpc<LoadBalancedChannel>);

impl Ginepro {
    async fn connect(addresses: &[SocketAddr]) -> Self {
        let channel = LoadBalancedChannel::builder(("backends", addresses[0].port()))
            .lookup_service(Fixed(addresses.iter().copied().collect()))
            .channel()
            .await
            .unwrap();
        Self(tonic_013::client::Grpc::new(channel))
    }
}

impl Caller for Ginepro {
    async fn call(&mut self) -> Result<()> {
        self.0.ready().await?;
        let request = tonic_013::Request::new(HelloRequest { name: "world".into() });
        let path = http::uri::PathAndQuery::from_static("/helloworld.Greeter/SayHello");
        let _: tonic_013::Response<HelloReply> = self.0.unary(request, path, Codec).await?;
        Ok(())
    }
}

struct Fixed(HashSet<SocketAddr>);

#[async_trait::async_trait]
impl LookupService for Fixed {
    async fn resolve_service_endpoints(&self, _: &ServiceDefinition) -> anyhow::Result<HashSet<SocketAddr>> {
        Ok(self.0.clone())
    }
}

/// Our prost's messages for the older tonic.
struct Codec;

impl tonic_013::codec::Codec for Codec {
    type Encode = HelloRequest;
    type Decode = HelloReply;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic_013::codec::Encoder for Codec {
    type Item = HelloRequest;
    type Error = tonic_013::Status;

    fn encode(
        &mut self,
        item: HelloRequest,
        to: &mut tonic_013::codec::EncodeBuf<'_>,
    ) -> std::result::Result<(), tonic_013::Status> {
        item.encode(to).map_err(|error| tonic_013::Status::internal(error.to_string()))
    }
}

impl tonic_013::codec::Decoder for Codec {
    type Item = HelloReply;
    type Error = tonic_013::Status;

    fn decode(
        &mut self,
        from: &mut tonic_013::codec::DecodeBuf<'_>,
    ) -> std::result::Result<Option<HelloReply>, tonic_013::Status> {
        HelloReply::decode(from).map(Some).map_err(|error| tonic_013::Status::internal(error.to_string()))
    }
}
