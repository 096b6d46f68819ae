//! `docs/kubernetes/`: what Kubernetes would ignore in silence, and what would not fit together, is found here.

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Container, PodSpec, Secret, Service},
        networking::v1::Ingress,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::program::help;

const SYSTEMS: [&str; 5] = ["gke_ingress", "load_balancer", "tls_edge", "grpc_web", "sidecar"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a file declares.
#[derive(Default)]
struct Manifest {
    deployments: Vec<Deployment>,
    services: Vec<Service>,
    config: BTreeMap<String, BTreeMap<String, String>>,
    secrets: Vec<Secret>,
    ingresses: Vec<Ingress>,
}

impl Manifest {
    fn of(system: &str) -> Self {
        let text =
            fs::read_to_string(root().join(format!("docs/kubernetes/{system}.yaml"))).expect("it is there");
        let mut all = Self::default();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).expect("YAML");
            let (kind, version) = (value["kind"].as_str().expect("a kind"), value["apiVersion"].as_str());
            match (kind, version.expect("a version")) {
                ("Deployment", "apps/v1") => all.deployments.push(typed(&value)),
                ("Service", "v1") => all.services.push(typed(&value)),
                ("Secret", "v1") => all.secrets.push(typed(&value)),
                ("Ingress", "networking.k8s.io/v1") => all.ingresses.push(typed(&value)),
                ("ConfigMap", "v1") => {
                    let map: ConfigMap = typed(&value);
                    all.config.insert(map.metadata.name.expect("a name"), map.data.unwrap_or_default());
                }
                other => panic!("{system}: no such kind here: {other:?}"),
            }
        }
        all
    }

    fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.metadata.name.as_deref() == Some(name))
    }

    /// The arguments with what the maps say put in.
    fn arguments(&self, container: &Container) -> Vec<String> {
        let maps = container.env_from.iter().flatten().filter_map(|from| from.config_map_ref.as_ref());
        let values: Vec<_> = maps
            .flat_map(|map| self.config.get(&map.name).unwrap_or_else(|| panic!("no map {}", map.name)))
            .collect();
        let expand = |argument: &String| {
            let expanded = values
                .iter()
                .fold(argument.clone(), |text, (key, value)| text.replace(&format!("$({key})"), value));
            assert!(!expanded.contains("$("), "{expanded}: there is no such variable");
            expanded
        };
        container.args.iter().flatten().map(expand).collect()
    }
}

/// The object, of which no field is unknown: it is the same after a round trip.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let object: T =
        serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value:#}"));
    assert_eq!(serde_json::to_value(&object).expect("JSON"), *value, "a field is unknown");
    object
}

fn pod(deployment: &Deployment) -> &PodSpec {
    deployment.spec.template.spec.as_ref().expect("a pod")
}

/// The example of an image of ours.
fn example(container: &Container) -> Option<&str> {
    let (name, _) = container.image.as_deref()?.rsplit('/').next()?.split_once(':')?;
    SYSTEMS.into_iter().find(|system| *system == name)
}

fn flag<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
}

/// `250ms`-like times are not used there.
fn seconds(arguments: &[String], name: &str, default: i64) -> i64 {
    flag(arguments, name).map_or(default, |text| text.trim_end_matches('s').parse().expect("seconds"))
}

#[tokio::test]
async fn every_proxy_in_the_manifests_has_flags_that_exist_and_time_to_drain() {
    for system in SYSTEMS {
        let manifest = Manifest::of(system);
        let mut proxies = 0;
        for deployment in &manifest.deployments {
            let pod = pod(deployment);
            for container in &pod.containers {
                let Some(example) = example(container) else { continue };
                proxies += 1;
                let (help, arguments) = (help(example).await, manifest.arguments(container));
                for argument in &arguments {
                    let (name, value) = argument.split_once('=').expect("--flag=value");
                    assert!(help.contains(&format!("{name} <")), "{example} has no {name}");
                    assert!(!value.is_empty(), "{argument}");
                }
                let sleep = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()?.sleep.as_ref());
                let needed = sleep.expect("preStop").seconds
                    + seconds(&arguments, "--linger", 5)
                    + seconds(&arguments, "--drain-timeout", 30);
                assert!(pod.termination_grace_period_seconds.expect("a grace period") > needed, "{system}");

                let ports: Vec<_> = container.ports.iter().flatten().collect();
                for name in ["--listen", "--admin"] {
                    let port = flag(&arguments, name).and_then(|at| at.rsplit(':').next()).expect("a port");
                    assert!(ports.iter().any(|p| p.container_port.to_string() == port), "{system}: {name}");
                }
                let ready = container.readiness_probe.as_ref().and_then(|probe| probe.http_get.as_ref());
                let ready = ready.expect("a readiness probe by HTTP");
                let named =
                    ports.iter().any(|p| p.name.clone().map(IntOrString::String) == Some(ready.port.clone()));
                assert!(named, "{system}: the probe's port");
                let path = if system == "gke_ingress" { "/" } else { "/ready" };
                assert_eq!(ready.path.as_deref(), Some(path), "{system}");
                assert!(container.liveness_probe.is_some(), "{system}");
            }
        }
        assert!(proxies > 0, "{system}: no image of ours");
    }
}

#[test]
fn names_and_ports_in_the_manifests_fit_together() {
    for system in SYSTEMS {
        let manifest = Manifest::of(system);
        for deployment in &manifest.deployments {
            let spec = &deployment.spec;
            let labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
            assert_eq!(spec.selector.match_labels.as_ref(), labels, "{system}");
            let pod = pod(deployment);
            let volumes: Vec<_> = pod.volumes.iter().flatten().collect();
            for volume in &volumes {
                let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.clone());
                assert!(manifest.secrets.iter().any(|s| s.metadata.name == secret), "{system}: {secret:?}");
            }
            for container in &pod.containers {
                let arguments = manifest.arguments(container);
                for mount in container.volume_mounts.iter().flatten() {
                    assert!(
                        volumes.iter().any(|volume| volume.name == mount.name),
                        "{system}: {}",
                        mount.name
                    );
                    assert!(
                        flag(&arguments, "--cert").is_some_and(|file| file.starts_with(&mount.mount_path))
                    );
                }
                for target in arguments.iter().filter_map(|argument| argument.split_once("dns:///")) {
                    let (name, port) = target.1.split_once(':').expect("a port");
                    let service =
                        manifest.service(name).unwrap_or_else(|| panic!("{system}: no service {name}"));
                    let spec = service.spec.as_ref().expect("a spec");
                    assert_eq!(spec.cluster_ip.as_deref(), Some("None"), "{system}: {name} is headless");
                    let ports: Vec<_> = spec.ports.iter().flatten().map(|p| p.port.to_string()).collect();
                    assert_eq!(ports, [port], "{system}: {name}");
                }
            }
        }
        for service in &manifest.services {
            let spec = service.spec.as_ref().expect("a spec");
            let pods: Vec<_> = manifest
                .deployments
                .iter()
                .filter(|d| d.spec.selector.match_labels == spec.selector)
                .collect();
            for port in spec.ports.iter().flatten() {
                // DNS knows no ports: behind a headless service, the port that is called is the pods' own.
                let headless = spec.cluster_ip.as_deref() == Some("None");
                for container_port in
                    pods.iter().flat_map(|d| &pod(d).containers).flat_map(|c| c.ports.iter().flatten())
                {
                    if port.target_port == container_port.name.clone().map(IntOrString::String) && headless {
                        assert_eq!(port.port, container_port.container_port, "{system}");
                    }
                }
                if let Some(IntOrString::String(name)) = &port.target_port {
                    let mut ports =
                        pods.iter().flat_map(|d| &pod(d).containers).flat_map(|c| c.ports.iter().flatten());
                    assert!(ports.any(|p| p.name.as_ref() == Some(name)), "{system}: no port {name}");
                }
            }
        }
        for ingress in &manifest.ingresses {
            let backend =
                ingress.spec.as_ref().and_then(|spec| spec.default_backend.as_ref()?.service.as_ref());
            let service = manifest.service(&backend.expect("a backend").name).expect("the service");
            let annotations = service.metadata.annotations.as_ref().expect("annotations");
            for (key, json) in annotations {
                let value: Value =
                    serde_json::from_str(json).unwrap_or_else(|error| panic!("{key}: {error}"));
                match &**key {
                    "cloud.google.com/neg" => assert_eq!(value["ingress"], true),
                    "cloud.google.com/app-protocols" => assert_eq!(value["https"], "HTTP2"),
                    other => panic!("{system}: {other}"),
                }
            }
        }
    }
}

#[test]
fn the_dockerfile_copies_what_is_there_and_builds_every_program() {
    let text = fs::read_to_string(root().join("docs/kubernetes/Dockerfile")).expect("it is there");
    let copied =
        text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    let mut sources: Vec<_> = copied.flat_map(|line| line.split(' ').rev().skip(1)).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["Cargo.lock", "Cargo.toml", "benches", "examples", "proto", "src", "tests"]);
    for source in sources {
        assert!(root().join(source).exists(), "{source}");
    }
    assert!(text.contains("/src/target/release/examples/${EXAMPLE}"));
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let msrv = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert!(text.contains(&format!("FROM rust:{}-", msrv.trim_matches('"'))), "{msrv}");
    // What the build reads beside code: paths that the manifest names.
    for path in manifest.lines().filter_map(|line| line.strip_prefix("path = ")) {
        let path = path.trim_matches('"');
        assert!(["tests/", "examples/", "benches/"].iter().any(|copied| path.starts_with(copied)), "{path}");
    }
    for system in SYSTEMS {
        assert!(root().join(format!("examples/{system}.rs")).exists(), "{system}");
        assert!(manifest.contains(&format!("name = \"{system}\"")), "{system}");
    }
}
