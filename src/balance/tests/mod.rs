//! The balancer over scripted connections, under paused time.

mod calls;
mod connections;
mod deadlines;
mod ejection;
mod hazards;
mod health;
mod lifecycle;
mod scripted;
mod waiting;
