//! A greeter in a process of its own: this test's executable, run again.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::greeter::Greeter;

/// Says to the executable that it is a backend, and how many milliseconds a call takes.
const DELAY: &str = "GRPC_BALANCE_TEST_BACKEND_DELAY";

/// A backend process; it ends with its owner.
pub(crate) struct Backend {
    child: Child,
    address: SocketAddr,
}

impl Backend {
    pub(crate) async fn start(delay: Duration) -> Self {
        let mut child = Command::new(env::current_exe().expect("it has a path"))
            .args(["--exact", "backend::serve_if_asked", "--nocapture"])
            .env(DELAY, delay.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = tokio::task::spawn_blocking(move || {
            let mut lines = stdout.lines().map(|line| line.expect("text"));
            lines.find_map(|line| line.split("listening on ").nth(1)?.parse().ok()).expect("it says where")
        });
        Self { child, address: address.await.expect("no panic") }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it was alive");
    }

    pub(crate) fn stop(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("process numbers are small");
        // SAFETY: no memory is involved, and the child has not been waited for, so the number is still its own.
        #[allow(unsafe_code, reason = "signals are sent by a system call")]
        let failed = unsafe { libc::kill(pid, signal) };
        assert_eq!(failed, 0, "the signal is sent");
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Backend::start`] runs.
#[tokio::test]
async fn serve_if_asked() {
    let Ok(delay) = env::var(DELAY) else { return };
    let delay = Duration::from_millis(delay.parse().expect("milliseconds"));
    let greeter = Greeter::builder("backend").delay(delay).start().await;
    #[allow(clippy::print_stdout, reason = "the parent reads it")]
    {
        println!("listening on {}", greeter.address());
    }
    // The parent's end closes when it dies, and so does this process.
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await.expect("no panic").expect("a pipe");
}
