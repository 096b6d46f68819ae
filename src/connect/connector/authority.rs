use std::{net::Ipv6Addr, sync::Arc};

use http::uri::{Authority, InvalidUri};

use crate::{
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
};

/// The authority of calls to the endpoint, whose host is also the name that TLS verifies: its own, if it has one, or
/// else the target's.
pub(super) fn authority_of(endpoint: &Arc<Endpoint>, target: &Authority) -> Result<Authority, Error> {
    let Some(name) = endpoint.host_name() else {
        return Ok(target.clone());
    };
    with_port_of(name, target).map_err(|error| {
        let message = format!("the host name `{name}` is no authority: expected `HOST` or `HOST:PORT`");
        Error::new(Code::Unavailable, Phase::Connect, message).at(endpoint.clone()).because(error)
    })
}

/// `name` as an authority, with the port of `target` if it has none of its own.
fn with_port_of(name: &str, target: &Authority) -> Result<Authority, InvalidUri> {
    let name = match name.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{name}]"),
        Err(_) => name.to_owned(),
    };
    let authority: Authority = name.parse()?;
    match target.port_u16() {
        Some(port) if authority.port().is_none() => format!("{name}:{port}").parse(),
        _ => Ok(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(host_name: Option<&str>, target: &str) -> Result<String, Error> {
        let mut endpoint: Endpoint = "10.0.0.1:50051".parse().unwrap();
        if let Some(name) = host_name {
            endpoint = endpoint.with_host_name(name);
        }
        authority_of(&Arc::new(endpoint), &target.parse().unwrap()).map(|authority| authority.to_string())
    }

    #[test]
    fn an_endpoints_own_name_goes_before_the_targets_and_takes_its_port() {
        for (host_name, target, expected) in [
            (None, "greeter:50051", "greeter:50051"),
            (None, "greeter", "greeter"),
            (Some("pod-0"), "greeter:50051", "pod-0:50051"),
            (Some("pod-0"), "greeter", "pod-0"),
            (Some("pod-0:1"), "greeter:50051", "pod-0:1"),
            (Some("::1"), "greeter:50051", "[::1]:50051"),
            (Some("[::1]"), "greeter:50051", "[::1]:50051"),
            (Some("pod-0"), "[::1]:50051", "pod-0:50051"),
        ] {
            assert_eq!(authority(host_name, target).unwrap(), expected);
        }
    }

    #[test]
    fn a_host_name_that_is_none_is_an_error_that_names_it() {
        for name in ["", "a b", "a/b", "a:b:c", "[::1", "a:99999999"] {
            match authority(Some(name), "greeter:50051") {
                Err(error) => {
                    assert!(error.message().contains(&format!("`{name}` is no authority")), "{error}");
                }
                Ok(authority) => panic!("{name:?} became {authority}"),
            }
        }
    }
}
