//! A greeter on a runtime of its own, so that it can die as a process does.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{net::TcpListener, runtime, sync::oneshot};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::pb::helloworld::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};

pub(crate) struct Pod {
    end: Option<oneshot::Sender<End>>,
    in_flight: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

enum End {
    Stop,
    Kill,
}

impl Pod {
    /// Listens when this returns.
    pub(crate) async fn start(address: SocketAddr, delay: Duration) -> io::Result<Self> {
        let in_flight = Arc::new(AtomicU64::new(0));
        let service = Service { name: address.ip().to_string(), delay, in_flight: in_flight.clone() };
        let (end, ended) = oneshot::channel();
        let (listening, listens) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let result = runtime::Builder::new_current_thread().enable_all().build();
            match result.and_then(|runtime| Ok((runtime.block_on(TcpListener::bind(address))?, runtime))) {
                Ok((listener, runtime)) => {
                    let _ = listening.send(Ok(()));
                    runtime.block_on(serve(listener, service, ended));
                    // The runtime drops here, and with it every socket.
                }
                Err(error) => drop(listening.send(Err(error))),
            }
        });
        listens.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { end: Some(end), in_flight, thread: Some(thread) })
    }

    /// Stops taking calls and finishes those in flight, as on SIGTERM.
    pub(crate) fn stop(mut self) {
        self.end(End::Stop);
    }

    /// Dies as on SIGKILL: the kernel closes its sockets in the middle of whatever they were doing. Says how many
    /// calls it was working on.
    pub(crate) fn kill(mut self) -> u64 {
        self.end(End::Kill);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.in_flight.load(SeqCst)
    }

    fn end(&mut self, how: End) {
        if let Some(end) = self.end.take() {
            let _ = end.send(how);
        }
    }
}

async fn serve(listener: TcpListener, service: Service, ended: oneshot::Receiver<End>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = std::pin::pin!(
        Server::builder().add_service(GreeterServer::new(service)).serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async {
                let _ = stopped.await;
            }
        )
    );
    let how = tokio::select! {
        _ = server.as_mut() => return,
        how = ended => how,
    };
    if let Ok(End::Stop) = how {
        drop(stop);
        let _ = server.await;
    }
}

struct Service {
    name: String,
    delay: Duration,
    in_flight: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl Greeter for Service {
    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        // A call that the pod dies on stays counted.
        self.in_flight.fetch_add(1, SeqCst);
        tokio::time::sleep(self.delay).await;
        self.in_flight.fetch_sub(1, SeqCst);
        Ok(Response::new(HelloReply { message: self.name.clone() }))
    }
}

/// A port that is free on 127.0.0.1 to 127.0.0.`n`: endpoints behind one DNS name share theirs.
pub(crate) fn shared_port(n: u8) -> io::Result<u16> {
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..100 {
        let first = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        let rest = (2..=n).map(|i| std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, i), port)));
        match rest.collect::<io::Result<Vec<_>>>() {
            Ok(_) => return Ok(port),
            Err(error) => taken = error,
        }
    }
    Err(taken)
}
