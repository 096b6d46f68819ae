//! A real DNS server on the loopback interface, whose zone and whose faults a test decides.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    missing_debug_implementations,
    reason = "test support"
)]

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use hickory_server::{
    Server,
    net::{runtime::Time, xfer::Protocol},
    proto::{
        op::{Header, HeaderCounts, Metadata, ResponseCode},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, AAAA, CNAME, SOA, SRV},
        },
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
};

/// How long "soon" may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A DNS server on UDP and TCP. It stops when it is dropped.
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Zone>,
    _server: Server<Handler>,
}

/// What the server does with a question.
#[derive(Clone, Debug)]
pub enum Reply {
    Addresses {
        ips: Vec<IpAddr>,
        ttl: u32,
    },
    Services {
        records: Vec<Service>,
        ttl: u32,
    },
    /// The addresses of another name, by way of an alias.
    Alias {
        of: String,
        alias_ttl: u32,
        ips: Vec<IpAddr>,
        ttl: u32,
    },
    NxDomain {
        negative_ttl: u32,
    },
    NoData {
        negative_ttl: u32,
    },
    ServFail,
    Refused,
    Drop,
    /// Over UDP an empty answer that says TC; over TCP this one.
    Truncated(Box<Reply>),
}

/// An SRV record.
#[derive(Clone, Debug)]
pub struct Service {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// A question that the server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In lower case, with the final dot.
    pub name: String,
    pub record_type: RecordType,
    pub tcp: bool,
}

#[derive(Default)]
struct Zone {
    replies: Mutex<HashMap<(String, RecordType), Reply>>,
    fault: Mutex<Option<Reply>>,
    queries: watch::Sender<Vec<Query>>,
}

struct Handler(Arc<Zone>);

impl DnsServer {
    pub async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let zone = Arc::new(Zone::default());
        let mut server = Server::new(Handler(zone.clone()));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        Self { address, zone, _server: server }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name its addresses; a family that it has none of is answered without records.
    pub fn set(&self, name: &str, ttl: u32, ips: impl IntoIterator<Item = IpAddr>) {
        let (v4, v6): (Vec<_>, Vec<_>) = ips.into_iter().partition(IpAddr::is_ipv4);
        for (record_type, ips) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
            let reply = match ips.is_empty() {
                true => Reply::NoData { negative_ttl: ttl },
                false => Reply::Addresses { ips, ttl },
            };
            self.reply(name, record_type, reply);
        }
    }

    /// Decides what is replied to one question.
    pub fn reply(&self, name: &str, record_type: RecordType, reply: Reply) {
        self.zone.replies.lock().unwrap().insert((absolute(name), record_type), reply);
    }

    /// Takes a name out of the zone: NXDOMAIN.
    pub fn remove(&self, name: &str) {
        let name = absolute(name);
        self.zone.replies.lock().unwrap().retain(|(known, _), _| *known != name);
    }

    /// Replies the same to every question, whatever the zone says.
    pub fn fail_with(&self, reply: Reply) {
        *self.zone.fault.lock().unwrap() = Some(reply);
    }

    /// Replies what the zone says again.
    pub fn mend(&self) {
        *self.zone.fault.lock().unwrap() = None;
    }

    /// The questions so far, in order.
    pub fn queries(&self) -> Vec<Query> {
        self.zone.queries.borrow().clone()
    }

    /// How often a name was asked for.
    pub fn count(&self, name: &str, record_type: RecordType) -> usize {
        count(&self.zone.queries.borrow(), &absolute(name), record_type)
    }

    /// Waits until a name was asked for this often, counted from the beginning.
    pub async fn asked(&self, name: &str, record_type: RecordType, times: usize) {
        let name = absolute(name);
        let mut queries = self.zone.queries.subscribe();
        let enough = queries.wait_for(|queries| count(queries, &name, record_type) >= times);
        let waited = tokio::time::timeout(PATIENCE, enough).await;
        waited.unwrap_or_else(|_| panic!("{record_type} of {name} was not asked for {times} times")).unwrap();
    }
}

fn count(queries: &[Query], name: &str, record_type: RecordType) -> usize {
    queries.iter().filter(|query| query.name == name && query.record_type == record_type).count()
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let Ok(info) = request.request_info() else { return unanswered(request) };
        let name = info.query.name().to_string().to_ascii_lowercase();
        let record_type = info.query.query_type();
        let tcp = info.protocol != Protocol::Udp;
        let reply = self.0.reply(&name, record_type);
        self.0.queries.send_modify(|queries| queries.push(Query { name: name.clone(), record_type, tcp }));

        let mut metadata = Metadata::response_from_request(info.metadata);
        metadata.recursion_available = true;
        let reply = match reply {
            Reply::Truncated(reply) if tcp => *reply,
            Reply::Truncated(_) => {
                metadata.truncation = true;
                Reply::Addresses { ips: Vec::new(), ttl: 0 }
            }
            reply => reply,
        };
        match Message::of(&name, reply) {
            Some(message) => message.send(request, metadata, &mut response).await,
            None => unanswered(request),
        }
    }
}

impl Zone {
    fn reply(&self, name: &str, record_type: RecordType) -> Reply {
        if let Some(fault) = &*self.fault.lock().unwrap() {
            return fault.clone();
        }
        let replies = self.replies.lock().unwrap();
        match replies.get(&(name.to_owned(), record_type)) {
            Some(reply) => reply.clone(),
            None if replies.keys().any(|(known, _)| known == name) => Reply::NoData { negative_ttl: 1 },
            None => Reply::NxDomain { negative_ttl: 1 },
        }
    }
}

struct Message {
    code: ResponseCode,
    answers: Vec<Record>,
    soa: Option<Record>,
}

impl Message {
    fn of(name: &str, reply: Reply) -> Option<Self> {
        let owner = Name::from_ascii(name).unwrap();
        let answers = |answers| Some(Self { code: ResponseCode::NoError, answers, soa: None });
        let code = |code, soa| Some(Self { code, answers: Vec::new(), soa });
        match reply {
            Reply::Addresses { ips, ttl } => answers(addresses(&owner, ttl, ips)),
            Reply::Services { records, ttl } => {
                let record = |s: Service| SRV::new(s.priority, s.weight, s.port, named(&s.target));
                let records = records
                    .into_iter()
                    .map(|s| Record::from_rdata(owner.clone(), ttl, RData::SRV(record(s))));
                answers(records.collect())
            }
            Reply::Alias { of, alias_ttl, ips, ttl } => {
                let alias = Record::from_rdata(owner, alias_ttl, RData::CNAME(CNAME(named(&of))));
                answers([vec![alias], addresses(&named(&of), ttl, ips)].concat())
            }
            Reply::NxDomain { negative_ttl } => code(ResponseCode::NXDomain, Some(soa(negative_ttl))),
            Reply::NoData { negative_ttl } => code(ResponseCode::NoError, Some(soa(negative_ttl))),
            Reply::ServFail => code(ResponseCode::ServFail, None),
            Reply::Refused => code(ResponseCode::Refused, None),
            Reply::Drop | Reply::Truncated(_) => None,
        }
    }

    async fn send<R: ResponseHandler>(
        &self,
        request: &Request,
        mut metadata: Metadata,
        to: &mut R,
    ) -> ResponseInfo {
        metadata.response_code = self.code;
        let none: [Record; 0] = [];
        let builder = MessageResponseBuilder::from_message_request(request);
        let response = builder.build(metadata, &self.answers, &none, self.soa.as_slice(), &none);
        match to.send_response(response).await {
            Ok(info) => info,
            Err(_) => unanswered(request),
        }
    }
}

fn addresses(owner: &Name, ttl: u32, ips: Vec<IpAddr>) -> Vec<Record> {
    let data = |ip| match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    ips.into_iter().map(|ip| Record::from_rdata(owner.clone(), ttl, data(ip))).collect()
}

fn soa(negative_ttl: u32) -> Record {
    let data = SOA::new(named("ns.test"), named("admin.test"), 1, 3600, 600, 86_400, negative_ttl);
    Record::from_rdata(named("test"), negative_ttl, RData::SOA(data))
}

fn unanswered(request: &Request) -> ResponseInfo {
    Header { metadata: Metadata::response_from_request(&request.metadata), counts: HeaderCounts::default() }
        .into()
}

fn named(name: &str) -> Name {
    Name::from_ascii(absolute(name)).unwrap()
}

fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}
