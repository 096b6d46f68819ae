//! Endpoints in Envoy's lines, and what Envoy calls what is known of them.

use std::fmt::Write;

use crate::{
    admin::builder::Reading,
    stats::{EndpointSnapshot, EndpointState},
};

/// Envoy's statistics of a host.
pub(super) struct Stat {
    pub(super) name: &'static str,
    pub(super) grows: bool,
    pub(super) of: fn(&EndpointSnapshot) -> u64,
}

pub(super) const STATS: [Stat; 7] = [
    Stat { name: "cx_active", grows: false, of: open_connections },
    Stat { name: "cx_connect_fail", grows: true, of: |endpoint| endpoint.connect_failures },
    Stat { name: "cx_total", grows: true, of: |endpoint| endpoint.connects + endpoint.connect_failures },
    Stat { name: "rq_active", grows: false, of: |endpoint| endpoint.in_flight },
    Stat { name: "rq_error", grows: true, of: |endpoint| endpoint.failed },
    Stat { name: "rq_success", grows: true, of: |endpoint| endpoint.succeeded },
    Stat { name: "rq_total", grows: true, of: |endpoint| endpoint.started },
];

pub(super) fn open_connections(endpoint: &EndpointSnapshot) -> u64 {
    endpoint.connects.saturating_sub(endpoint.disconnects.total())
}

/// What keeps an endpoint from being healthy; nothing if it is.
pub(super) fn flags(endpoint: &EndpointSnapshot) -> Vec<&'static str> {
    let draining = endpoint.state == EndpointState::Draining;
    let unconnected = !draining && endpoint.state != EndpointState::Ready;
    [
        (endpoint.awaiting, "pending_active_hc"),
        (endpoint.failing, "failed_active_hc"),
        (endpoint.ejected, "failed_outlier_check"),
        (draining, "pending_dynamic_removal"),
        (unconnected, endpoint.state.as_str()),
    ]
    .into_iter()
    .filter_map(|(holds, flag)| holds.then_some(flag))
    .collect()
}

pub(super) fn render(clusters: &[Reading]) -> String {
    let mut out = String::new();
    for Reading { name, summary, snapshot } in clusters {
        let mut line = |key: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail. A name may hold anything; a line is a line.
            let _ = writeln!(out, "{}::{}", name.escape_debug(), key);
        };
        line(format_args!("observability_name::{}", name.escape_debug()));
        line(format_args!("target::{}", snapshot.target.escape_debug()));
        line(format_args!("state::{}", snapshot.state));
        line(format_args!("panic::{}", summary.is_in_panic()));
        for endpoint in &snapshot.endpoints {
            let who = &endpoint.endpoint;
            for stat in &STATS {
                line(format_args!("{who}::{}::{}", stat.name, (stat.of)(endpoint)));
            }
            let host = who.host_name().unwrap_or_default();
            line(format_args!("{who}::hostname::{}", host.escape_debug()));
            line(format_args!("{who}::health_flags::{}", text(&flags(endpoint))));
            line(format_args!("{who}::weight::{}", endpoint.weight));
            let locality = who.locality();
            for (key, part) in [
                ("region", locality.map(|at| &at.region)),
                ("zone", locality.map(|at| &at.zone)),
                ("sub_zone", locality.map(|at| &at.sub_zone)),
            ] {
                line(format_args!("{who}::{key}::{}", part.map_or("", |part| part).escape_debug()));
            }
        }
    }
    out
}

fn text(flags: &[&str]) -> String {
    match flags {
        [] => "healthy".to_owned(),
        flags => flags.iter().map(|flag| format!("/{flag}")).collect(),
    }
}
