//! A server in a process of its own: the test program once more, with one test alone.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{self, Command},
};

/// Tells the test that it is to serve.
pub(super) const MARK: &str = "GRPC_BALANCE_ABUSE_SERVER";
pub(super) const LISTENING: &str = "listening on ";

pub(super) struct Child {
    pub(super) address: SocketAddr,
    pid: u32,
    /// Killed when it is dropped.
    _process: process::Child,
}

/// In KiB.
pub(super) struct Memory {
    /// The greatest resident set so far.
    pub(super) most: u64,
}

impl Child {
    pub(super) async fn start() -> Self {
        Self::of(Command::new(std::env::current_exe().unwrap())).await
    }

    /// One that may have so many files open.
    pub(super) async fn with_descriptors(number: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {number} && exec \"$@\""), "sh"]);
        shell.arg(std::env::current_exe().unwrap());
        Self::of(shell).await
    }

    async fn of(mut command: Command) -> Self {
        let mut process = command
            .args(["--exact", "abuse::serves_until_its_input_ends", "--nocapture"])
            .env(MARK, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("it says where it listens");
            if let Some(address) = line.strip_prefix(LISTENING) {
                break address.parse().unwrap();
            }
        };
        Self { address, pid: process.id().unwrap(), _process: process }
    }

    pub(super) async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What it has spent, as the kernel's ticks of 10 ms say.
    pub(super) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(super) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        Memory { most: line.trim().trim_end_matches(" kB").parse().unwrap() }
    }
}
