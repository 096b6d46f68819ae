//! Probes against scripted peers, under a paused clock.

mod answers;
mod check;
mod envoy;
mod lend;
mod logs;
mod messages;
mod probed;
mod schedule;
mod scripted;
mod watch;
