//! A greeter that replies with its own name: a backend to point the other examples at.
//!
//! ```text
//! cargo run --release --example greeter_server -- --listen 127.0.0.1:50051 --name a --delay-ms 5
//! ```
//!
//! SIGTERM and Ctrl-C end it gracefully: it stops accepting, says GOAWAY and finishes the calls in flight.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod cli {
    pub(crate) mod signal;
}
#[path = "../proto/mod.rs"]
mod pb;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use pb::helloworld::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// Serves helloworld.Greeter.
#[derive(Debug, Parser)]
struct Args {
    /// The address to listen on; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// What to reply.
    #[arg(long, default_value = "greeter")]
    name: String,
    /// How long a call takes.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

#[tonic::async_trait]
impl Greeter for Args {
    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        if self.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        }
        Ok(Response::new(HelloReply { message: self.name.clone() }))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greeter_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let stop = cli::signal::stop()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    println!("{} listens on {}", args.name, listener.local_addr()?);
    Server::builder()
        .add_service(GreeterServer::new(args))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await?;
    Ok(())
}
