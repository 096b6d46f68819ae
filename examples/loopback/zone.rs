//! A DNS server with one name in it, whose answers can be changed and broken.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
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
    shared: Arc<Shared>,
    _server: Server<Handler>,
}

struct Shared {
    answer: Mutex<Answer>,
    queries: AtomicU64,
}

impl Zone {
    pub(crate) async fn start(addresses: Vec<Ipv4Addr>) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { answer: Mutex::new(Answer::Addresses(addresses)), queries: AtomicU64::new(0) });
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = udp.local_addr()?;
        let tcp = TcpListener::bind(address).await?;
        let mut server = Server::new(Handler(shared.clone()));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        Ok(Self { address, shared, _server: server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many queries have come in so far.
    pub(crate) fn queries(&self) -> u64 {
        self.shared.queries.load(Relaxed)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

struct Handler(Arc<Shared>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        self.0.queries.fetch_add(1, Relaxed);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let mut records = Vec::new();
        match (request.request_info(), self.0.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()) {
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
