//! HTTP/2 connections against peers that are scripted frame by frame, or served by `h2` itself.

mod calls;
mod cancel;
mod flow;
mod going_away;
mod handshakes;
mod limits;
mod pings;
mod support;
