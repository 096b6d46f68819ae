//! What a configuration accepts.

use grpc_balance::connect::tls::{ClientConfig, Identity};

use crate::{mutual::Files, peer::Ca};

#[test]
fn what_cannot_work_is_refused_when_it_is_built() {
    let ca = Ca::new();
    let (one, two) = (ca.issue(&["one.test"]), ca.issue(&["two.test"]));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let unfinished = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let files = Files::new(&one);
    files.write("", &one.key);
    let cases = [
        (ClientConfig::builder().roots_pem(""), "the PEM text of the roots has no `CERTIFICATE` section"),
        (ClientConfig::builder().roots_pem(unfinished), "the PEM text of the roots is not valid PEM"),
        (
            ClientConfig::builder().roots_pem(hollow),
            "certificate 1 of the PEM text of the roots is no X.509 root",
        ),
        (ClientConfig::builder().roots_der([vec![1, 2, 3]]), "certificate 1 of the roots in DER"),
        (ClientConfig::builder().roots_der([]), "no roots were given"),
        (ClientConfig::builder().roots_file("/nonexistent/ca.pem"), "cannot read `/nonexistent/ca.pem`"),
        (
            ca.trusted().identity(Identity::pem(one.certificate.as_str(), two.key.as_str())),
            "the key is not the private key of the certificate",
        ),
        (ca.trusted().identity(Identity::pem(one.certificate.as_str(), encrypted)), "encrypted private key"),
        (
            ca.trusted().identity(Identity::pem(one.certificate.as_str(), one.certificate.as_str())),
            "the key has no private key",
        ),
        (ca.trusted().identity(files.identity()), "tls.crt` has no `CERTIFICATE` section"),
        (ca.trusted().identity(Identity::files("/nonexistent/tls.crt", "x")), "`/nonexistent/tls.crt`"),
        (ca.trusted().server_name("not a name"), "`not a name` is no name"),
    ];
    for (builder, expected) in cases {
        let error = builder.build().unwrap_err();
        assert!(error.is_config());
        assert!(error.to_string().contains(expected), "expected {expected:?} in {error}");
    }
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let ca = Ca::new();
    let issued = ca.issue(&["client.test"]);
    let builder = ca.trusted().identity(issued.identity());
    let secret = issued.key.lines().nth(1).unwrap();
    assert!(!format!("{builder:?}").contains(secret));
    let bytes = format!("{:?}", &issued.key.as_bytes()[..40]);
    assert!(!format!("{builder:?}").contains(bytes.trim_matches(['[', ']'])));
    assert!(!format!("{:?}", builder.build().unwrap()).contains(secret));
}

#[test]
fn without_roots_the_platform_is_asked() {
    if let Err(error) = ClientConfig::builder().build() {
        assert!(error.to_string().contains("install its CA certificates"), "{error}");
    }
}
