use std::{error::Error as _, io, sync::Arc};

use super::{BoxError, Error, Phase};
use crate::{endpoint::Endpoint, grpc::Code};

fn at(address: &str) -> Arc<Endpoint> {
    Arc::new(address.parse().unwrap())
}

#[test]
fn only_a_stream_may_have_had_an_effect() {
    for (phase, safe) in
        [(Phase::Resolve, true), (Phase::Pick, true), (Phase::Connect, true), (Phase::Stream, false)]
    {
        let error = Error::new(Code::Unavailable, phase, "x");
        assert_eq!(error.is_safe_to_retry(), safe, "{phase}");
        assert_eq!(error.safe_to_retry(!safe).is_safe_to_retry(), !safe, "{phase}");
    }
}

#[test]
fn a_clone_shares_the_cause_and_grows_on_its_own() {
    let error = Error::new(Code::Unavailable, Phase::Stream, "connection closed")
        .because(io::Error::from(io::ErrorKind::BrokenPipe));
    let clone = error.clone().at(at("10.0.0.1:1"));
    assert!(error.endpoint().is_none());
    assert!(Arc::ptr_eq(error.cause().unwrap(), clone.cause().unwrap()));
}

#[test]
fn display_leaves_the_cause_to_source() {
    let error = Error::new(Code::Unavailable, Phase::Stream, "connection closed")
        .at(at("10.0.0.1:1"))
        .because(io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!(error.to_string(), "stream 10.0.0.1:1: connection closed");
    assert_eq!(error.source().unwrap().to_string(), "broken pipe");
}

#[test]
fn a_report_says_every_cause_once() {
    // Some errors tell their source themselves.
    let refused = Error::new(Code::Unavailable, Phase::Connect, "TCP connect failed: no route")
        .at(at("10.0.0.1:1"))
        .because(io::Error::other("no route"));
    let error = Error::new(Code::Unavailable, Phase::Pick, "no endpoint is connected").because(refused);
    assert_eq!(
        error.report().to_string(),
        "pick: no endpoint is connected: connect 10.0.0.1:1: TCP connect failed: no route"
    );
}

#[test]
fn is_found_behind_what_wrapped_it() {
    let error = Error::new(Code::DeadlineExceeded, Phase::Pick, "deadline passed");
    let wrapped = io::Error::other(Error::new(Code::Aborted, Phase::Stream, "outer").because(error));
    let wrapped: BoxError = Box::new(Error::new(Code::Ok, Phase::Pick, "outermost").because(wrapped));
    assert_eq!(Error::find_in(&*wrapped).unwrap().message(), "outermost");
    assert!(Error::find_in(&io::Error::other("none of ours")).is_none());
}

#[test]
fn predicates_follow_the_code() {
    for code in Code::ALL {
        let error = Error::new(code, Phase::Stream, "x");
        assert_eq!(error.is_unavailable(), code == Code::Unavailable);
        assert_eq!(error.is_deadline_exceeded(), code == Code::DeadlineExceeded);
        assert_eq!(error.is_cancelled(), code == Code::Cancelled);
    }
}

#[test]
fn fits_in_a_word() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
}

#[test]
fn a_report_says_the_endpoint_once() {
    let endpoint: Endpoint = "10.0.0.7:50051".parse().expect("an address");
    let other: Endpoint = "10.0.0.8:50051".parse().expect("an address");
    let (here, there) = (Arc::new(endpoint), Arc::new(other));
    let lost =
        |at: &Arc<Endpoint>| Error::new(Code::Unavailable, Phase::Connect, "the peer is gone").at(at.clone());
    let error = Error::new(Code::Unavailable, Phase::Stream, "the connection was lost").at(here.clone());
    let report = error.clone().because(lost(&here)).report().to_string();
    assert_eq!(report, "stream 10.0.0.7:50051: the connection was lost: the peer is gone");
    let report = error.because(lost(&there)).report().to_string();
    assert!(report.ends_with(": connect 10.0.0.8:50051: the peer is gone"), "{report}");
}
