//! What health costs: probing ten thousand endpoints, and watching how calls end.
//!
//! `cargo bench --bench health` prints one `RESULT` line per figure. The health servers are in a process of their own.
//! Where fewer files may be open than ten thousand connections take, fewer endpoints are probed, and a line says so.

#![allow(
    unsafe_code,
    reason = "the process's CPU time and its limit of open files are asked by system calls"
)]
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench fails by panicking")]

#[path = "../support/at_once.rs"]
mod at_once;
mod probing;
mod server;
mod tracking;

fn main() {
    if server::is_child() {
        return server::run();
    }
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    single.block_on(async {
        tracking::report().await;
        probing::report().await;
    });
}
