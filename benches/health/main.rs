//! What health costs: the CPU time and the memory of ten thousand probed endpoints, by each kind of check, with the
//! settings that probes have by default.
//!
//! `cargo bench --bench health` prints one `RESULT` line per figure. The servers are a process of their own. Where the
//! limit of open files allows fewer than ten thousand connections, there are fewer endpoints, and the line says so.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "the figures are the program's output")]

mod probes;
#[path = "../call/cpu.rs"]
mod process;
mod servers;

fn main() {
    if servers::is_child() {
        return servers::run();
    }
    // Test harnesses pass their flags to benches, too.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let servers = servers::Servers::start();
    probes::measure(&servers);
}
