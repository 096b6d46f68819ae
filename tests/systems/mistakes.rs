//! Mistakes in the flags, and what cannot be had: one line, and an exit code.

use crate::program::{fails, help};

const ALL: [&str; 5] = ["gke_ingress", "load_balancer", "tls_edge", "grpc_web", "sidecar"];

/// Flags without which a program does not start.
fn needed(name: &str) -> &'static [&'static str] {
    match name {
        "sidecar" => &["--app", "127.0.0.1:1"],
        _ => &[],
    }
}

async fn check(name: &str, args: &[&str], code: i32, says: &[&str]) {
    let (ended, said) = fails(name, &[&["--admin", "off"], args].concat()).await;
    assert_eq!(ended, code, "{name} {args:?}: {said}");
    assert!(said.ends_with('\n') && said.lines().count() == 1, "{name} {args:?}: one line, not {said:?}");
    assert!(said.starts_with(&format!("{name}: ")), "{name} {args:?}: {said}");
    for part in says {
        assert!(said.contains(part), "{name} {args:?}: {part} in {said}");
    }
}

#[tokio::test]
async fn every_program_says_in_one_line_what_is_wrong_with_its_flags() {
    for name in ALL {
        for (args, says) in [
            (&["--listen", "nowhere"][..], "--listen"),
            (&["--no-such-flag"], "--no-such-flag"),
            (&["--linger", "soon"], "expected a time"),
            (&["--connect-timeout=-1s"], "expected a time"),
            (&["--cluster", "dns:///a:1"], "NAME=TARGET"),
            (&["--upstream", "ipv4:example:1"], "is no target"),
            (&["--route", "a.B"], "begins with `/`"),
            (&["--access-log", "xml"], "text"),
            (&["--cert", "only.pem"], "--key"),
        ] {
            check(name, &[needed(name), args].concat(), 2, &[says]).await;
        }
    }
    check("sidecar", &[], 2, &["--app"]).await;
    check("sidecar", &["--app", "127.0.0.1:1", "--upstream", "a:1"], 2, &["--egress"]).await;
    check("grpc_web", &["--mode", "proxy"], 2, &["lb"]).await;
}

/// The defaults that are told are those of the deployments, on ports that need no privileges.
#[tokio::test]
async fn every_program_has_the_defaults_of_its_deployment() {
    for (name, defaults) in [
        (
            "gke_ingress",
            &[
                "0.0.0.0:8443",
                "127.0.0.1:9901",
                "dns:///server1:50000",
                "/router.Router/",
                "50ms",
                "route.Router",
            ][..],
        ),
        ("load_balancer", &["0.0.0.0:15001", "127.0.0.1:8001", "dns:///local_service:2746", "10000"]),
        ("tls_edge", &["0.0.0.0:15001", "127.0.0.1:8001", "dns:///grpc-service:50051", "250ms"]),
        ("grpc_web", &["0.0.0.0:8080", "127.0.0.1:9901", "127.0.0.1:9000", "250ms", "sidecar"]),
        ("sidecar", &["0.0.0.0:10000", "127.0.0.1:10001", "250ms"]),
    ] {
        let help = help(name).await;
        for default in defaults.iter().chain(&["text", "5s", "30s"]) {
            assert!(help.contains(&format!("[default: {default}]")), "{name}: {default} in {help}");
        }
    }
}

#[tokio::test]
async fn what_cannot_work_is_an_error_at_start() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    for name in ALL {
        let in_use = [needed(name), &["--listen", &taken]].concat();
        check(name, &in_use, 1, &["cannot listen", &taken]).await;
        let unreadable =
            ["--listen", "127.0.0.1:0", "--cert", "/nowhere/tls.crt", "--key", "/nowhere/tls.key"];
        check(name, &[needed(name), &unreadable].concat(), 1, &["/nowhere/tls.crt"]).await;
        let upstream = if name == "sidecar" { "--app" } else { "--upstream" };
        for (listen, target) in [
            ("127.0.0.1:15009", "127.0.0.1:15009"),
            ("0.0.0.0:15009", "dns:///127.0.0.1:15009"),
            ("0.0.0.0:15009", "ipv4:127.0.0.2:15008,127.0.0.2:15009"),
            ("127.0.0.1:15009", "localhost:15009"),
        ] {
            let args = ["--listen", listen, upstream, target];
            check(name, &args, 1, &["is the listener", listen, target]).await;
        }
    }
    let edge = ["--listen", "127.0.0.1:0", "--app", "127.0.0.1:15009", "--egress", "127.0.0.1:15009"];
    check("sidecar", &[&edge[..], &["--upstream", "a:1"]].concat(), 1, &["is the listener 127.0.0.1:15009"])
        .await;
    let several = ["--listen", "127.0.0.1:0", "--cluster", "a=a:1", "--cluster", "b=b:1"];
    check("load_balancer", &several, 1, &["--route PREFIX=NAME"]).await;
    check("load_balancer", &[&several[..], &["--route", "/a=c"]].concat(), 1, &["one of a, b"]).await;
    let twice = [&several[..], &["--route", "/a=a", "--route", "/a=b"]].concat();
    check("load_balancer", &twice, 1, &["declared twice"]).await;
    check("grpc_web", &["--cors-origin", "https://app.example/login"], 1, &["expected `scheme://host`"])
        .await;
}
