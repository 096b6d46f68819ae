#![allow(missing_docs)]
use crate::{error::Error, grpc::Code};
#[derive(Debug, Default)]
pub struct EndpointStats;
#[derive(Debug, Default)]
pub struct ChannelStats;
#[derive(Debug)]
pub enum Disconnect { GoAway, Lost }
impl EndpointStats { pub fn connected(&self) {} pub fn connect_failed(&self, _: &Error) {} pub fn disconnected(&self, _: Disconnect, _: &Error) {} }
impl ChannelStats { pub fn resolved(&self) {} pub fn resolve_failed(&self) {} pub fn ended(&self, _: Code) {} }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State { Idle, Connecting, Ready, TransientFailure, Shutdown }
#[derive(Debug)]
pub struct Snapshot;
