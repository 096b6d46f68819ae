//! An example as a process.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

use crate::PATIENCE;

/// A running example. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    lines: mpsc::UnboundedReceiver<String>,
}

/// `cargo test` builds the examples beside the directory of its own programs.
fn path(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let target = own.ancestors().nth(2).expect("target/PROFILE/deps/systems");
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples`", path.display());
    path
}

fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path(name));
    command.args(args).env_remove("RUST_LOG").kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts an example on a free port of 127.0.0.1, and returns when it listens.
    pub(crate) async fn start(name: &str, args: &[&str]) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap(), args).await
    }

    pub(crate) async fn start_at(name: &str, listen: SocketAddr, args: &[&str]) -> Self {
        let listen = listen.to_string();
        let admin = if args.contains(&"--admin") { &[][..] } else { &["--admin", "127.0.0.1:0"] };
        let args = [&["--listen", &listen], admin, args].concat();
        let mut child = command(name, &args).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = timeout(PATIENCE, out.next_line()).await.expect("it listens").expect("text");
        let first = first.unwrap_or_else(|| panic!("{name} {args:?} ended"));
        let all = first.strip_prefix(&format!("{name} ")).unwrap_or_else(|| panic!("{first}"));
        let addresses = all.split(", ").map(|part| {
            let (does, address) = part.split_once(" on ").unwrap_or_else(|| panic!("{first}"));
            (does.to_owned(), address.parse().unwrap_or_else(|_| panic!("{first}")))
        });
        let addresses = addresses.collect();
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = out.next_line().await {
                let _ = sender.send(line);
            }
        });
        Self { child, addresses, lines }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.at("listens")
    }

    /// Where another listener of it is.
    pub(crate) fn at(&self, does: &str) -> SocketAddr {
        self.addresses[does]
    }

    /// Whether it has said that it does this somewhere.
    pub(crate) fn does(&self, what: &str) -> bool {
        self.addresses.contains_key(what)
    }

    /// Sends SIGTERM.
    pub(crate) async fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("there is a kill");
        assert!(sent.success());
    }

    /// Sends SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it is killed");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("a status")
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// The next line after the first that has this in it.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        let line = async {
            loop {
                let line = self.lines.recv().await.unwrap_or_else(|| panic!("no line with {text}"));
                if line.contains(text) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("no line with {text}"))
    }
}

/// Runs an example that cannot start, and returns its exit code and what it says.
pub(crate) async fn fails(name: &str, args: &[&str]) -> (i32, String) {
    let ended = command(name, args).output();
    let ended =
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{name} {args:?} runs")).expect("it ran");
    assert!(ended.stdout.is_empty(), "{name} {args:?} says something on standard output");
    (ended.status.code().expect("a code"), String::from_utf8(ended.stderr).expect("text"))
}

/// What an example says of its flags.
pub(crate) async fn help(name: &str) -> String {
    let ended =
        timeout(PATIENCE, command(name, &["--help"]).output()).await.expect("it ends").expect("it ran");
    assert!(ended.status.success());
    String::from_utf8(ended.stdout).expect("text")
}
