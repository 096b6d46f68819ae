//! A DNS server with one name in it, whose answers can be changed and broken.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_server::{
    Server,
    net::runtime::Time,
    proto::{
        op::{Header, HeaderCounts, Metadata, ResponseCode},
        rr::{RData, Record, RecordType, rdata::A},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::net::{TcpListener, UdpSocket};

/// The name that the server knows.
pub(crate) const NAME: &str = "greeter.quickstart.test";

/// What the server says about [`NAME`].
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Addresses(Vec<Ipv4Addr>),
    ServFail,
    NxDomain,
}

/// The server, on one loopback port over UDP and TCP.
pub(crate) struct Zone {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    _server: Server<Handler>,
}

impl Zone {
    pub(crate) async fn start(addresses: Vec<Ipv4Addr>) -> io::Result<Self> {
        let answer = Arc::new(Mutex::new(Answer::Addresses(addresses)));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = udp.local_addr()?;
        let tcp = TcpListener::bind(address).await?;
        let mut server = Server::new(Handler(answer.clone()));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        Ok(Self { address, answer, _server: server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

struct Handler(Arc<Mutex<Answer>>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let mut records = Vec::new();
        match (request.request_info(), self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()) {
            (Err(_), _) => metadata.response_code = ResponseCode::FormErr,
            (Ok(_), Answer::ServFail) => metadata.response_code = ResponseCode::ServFail,
            (Ok(asked), Answer::Addresses(addresses))
                if asked.query.name().to_string().trim_end_matches('.').eq_ignore_ascii_case(NAME) =>
            {
                if asked.query.query_type() == RecordType::A {
                    let name = asked.query.original().name();
                    records.extend(
                        addresses.iter().map(|ip| Record::from_rdata(name.clone(), 1, RData::A(A(*ip)))),
                    );
                }
            }
            (Ok(_), _) => metadata.response_code = ResponseCode::NXDomain,
        }
        let message =
            MessageResponseBuilder::from_message_request(request).build(metadata, &records, [], [], []);
        match response.send_response(message).await {
            Ok(info) => info,
            // The client is gone; there is nobody left to tell.
            Err(_) => ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() }),
        }
    }
}
