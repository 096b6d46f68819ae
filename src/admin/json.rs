//! The same in the shape of Envoy's JSON (`envoy.admin.v3.Clusters`).

use crate::{
    admin::{
        builder::Reading,
        clusters::{STATS, flags},
    },
    endpoint::Address,
    json::quoted,
    stats::EndpointSnapshot,
};

pub(super) fn render(clusters: &[Reading]) -> String {
    let statuses = list(clusters.iter().map(|Reading { name, summary, snapshot }| {
        format!(
            "{{\"name\":{},\"observability_name\":{},\"target\":{},\"state\":{},\"panic\":{},\"host_statuses\":{}}}",
            quoted(name),
            quoted(name),
            quoted(&snapshot.target),
            quoted(snapshot.state),
            summary.is_in_panic(),
            list(snapshot.endpoints.iter().map(host)),
        )
    }));
    format!("{{\"cluster_statuses\":{statuses}}}")
}

fn host(endpoint: &EndpointSnapshot) -> String {
    // The JSON form of protobuf writes 64-bit integers as strings.
    let stats = list(STATS.iter().map(|stat| {
        let kind = if stat.grows { "COUNTER" } else { "GAUGE" };
        format!("{{\"name\":\"{}\",\"value\":\"{}\",\"type\":\"{kind}\"}}", stat.name, (stat.of)(endpoint))
    }));
    let flags = flags(endpoint);
    let mut health: Vec<String> = flags.iter().map(|flag| format!("\"{}\":true", long(flag))).collect();
    if health.is_empty() {
        // As Envoy says it of a host that nothing speaks against.
        health.push("\"eds_health_status\":\"HEALTHY\"".to_owned());
    }
    format!(
        "{{\"address\":{},\"stats\":{stats},\"health_status\":{{{}}},\"weight\":{},\"hostname\":{}}}",
        address(endpoint.endpoint.addresses().first()),
        health.join(","),
        endpoint.weight,
        quoted(endpoint.endpoint.host_name().unwrap_or_default()),
    )
}

/// The flag's name in JSON, where Envoy spells it out.
fn long(flag: &'static str) -> &'static str {
    match flag {
        "failed_active_hc" => "failed_active_health_check",
        flag => flag,
    }
}

fn address(address: Option<&Address>) -> String {
    match address {
        Some(Address::Tcp(address)) => format!(
            "{{\"socket_address\":{{\"address\":{},\"port_value\":{}}}}}",
            quoted(address.ip()),
            address.port()
        ),
        Some(other) => format!("{{\"pipe\":{{\"path\":{}}}}}", quoted(other)),
        None => "{}".to_owned(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
