//! What is called: an echo that does as it is told, behind gRPC-Web and CORS.

use std::{future::pending, net::SocketAddr, time::Duration};

use bytes::Bytes;
use grpc_balance::{
    server::{RequestBody as Received, Server},
    web::{self, GrpcWebLayer, Origins, RequestBody},
};
use http::{Request, Response as HttpResponse};
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Response, Status, Streaming, service::Routes};
use tower::{Service, ServiceBuilder};

use crate::pb::echo::{
    EchoReply, EchoRequest,
    echo_server::{Echo, EchoServer},
};

type Replies = std::pin::Pin<Box<dyn Stream<Item = Result<EchoReply, Status>> + Send>>;

struct Obedient;

fn reply(request: &EchoRequest, payload: Vec<u8>) -> EchoReply {
    let payload = if request.reply_bytes > 0 { vec![7; request.reply_bytes as usize] } else { payload };
    EchoReply { payload, ..EchoReply::default() }
}

fn status(request: &EchoRequest) -> Result<(), Status> {
    match &request.status {
        Some(status) => Err(Status::with_details(
            Code::from(status.code as i32),
            status.message.clone(),
            Bytes::from(status.details.clone()),
        )),
        None => Ok(()),
    }
}

#[tonic::async_trait]
impl Echo for Obedient {
    async fn unary(&self, request: tonic::Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
        let request = request.into_inner();
        status(&request)?;
        Ok(Response::new(reply(&request, request.payload.clone())))
    }

    async fn upload(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoReply>, Status> {
        let mut requests = request.into_inner();
        let mut payload = Vec::new();
        while let Some(request) = requests.message().await? {
            payload.extend(request.payload);
        }
        Ok(Response::new(EchoReply { payload, ..EchoReply::default() }))
    }

    type DownloadStream = Replies;

    async fn download(&self, request: tonic::Request<EchoRequest>) -> Result<Response<Replies>, Status> {
        let request = request.into_inner();
        let replies = 0..request.replies;
        let last = status(&request).err().map(Err);
        let replies = replies.map(move |i| Ok(reply(&request, i.to_be_bytes().to_vec()))).chain(last);
        Ok(Response::new(Box::pin(futures_util::stream::iter(replies))))
    }

    type ChatStream = Replies;

    async fn chat(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let replies = request.into_inner().map(|request| {
            let request = request?;
            Ok(reply(&request, request.payload.clone()))
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

/// A served port. Dropping it ends it.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    serves: JoinHandle<()>,
}

impl Served {
    /// The echo behind gRPC-Web, for pages of any origin.
    pub(crate) fn echo() -> Self {
        Self::around(Routes::new(EchoServer::new(Obedient).max_decoding_message_size(usize::MAX)))
    }

    /// Any service behind gRPC-Web, for pages of any origin.
    pub(crate) fn around<S, B>(inner: S) -> Self
    where
        S: Service<Request<RequestBody<Received>>, Response = HttpResponse<B>> + Clone + Send + 'static,
        S::Error: Into<grpc_balance::error::BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<grpc_balance::error::BoxError>,
    {
        let app =
            ServiceBuilder::new().layer(web::cors(Origins::any())).layer(GrpcWebLayer::new()).service(inner);
        let listening = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().unwrap();
        let address = listening.local_addrs().next().unwrap();
        Self { address, serves: tokio::spawn(listening.serve(app, pending())) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serves.abort();
    }
}
