//! What a failed attempt says.

use std::{error::Error as StdError, sync::Arc};

use crate::{
    connect::dial::DialError,
    endpoint::{Address, Endpoint},
    error::{BoxError, Error, Phase},
    grpc::Code,
};

/// Why an address could not be dialled. Which one it was stands beside it.
pub(in crate::connect) fn of_dial(error: BoxError) -> Error {
    match error.downcast_ref::<DialError>().map(|error| error.cause().to_string()) {
        Some(cause) => Error::new(Code::Unavailable, Phase::Connect, cause).because(error),
        None => of(error),
    }
}

/// A failed step of an attempt. Its message tells all causes, since a gRPC status carries nothing but the message.
pub(in crate::connect) fn of(error: BoxError) -> Error {
    Error::new(Code::Unavailable, Phase::Connect, with_causes(error.to_string(), &*error)).because(error)
}

/// The same of a failed HTTP/2 handshake.
pub(super) fn of_handshake(error: Error) -> Error {
    let message = match h2_cause(&error) {
        // Our side found that the frames are none.
        Some(cause) if cause.is_go_away() && cause.is_library() => {
            "the peer does not speak HTTP/2: is it a TLS or an HTTP/1 port?"
        }
        _ => error.message(),
    };
    let message = with_causes(message.to_owned(), &error);
    Error::new(error.code(), Phase::Connect, message).because(error)
}

/// What `h2` said, among the causes.
fn h2_cause(error: &Error) -> Option<&h2::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn with_causes(mut told: String, error: &(dyn StdError + 'static)) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_told = cause.to_string();
        // Some errors repeat their source.
        if !told.contains(&cause_told) {
            told = format!("{told}: {cause_told}");
        }
        source = cause.source();
    }
    told
}

/// What became of the attempts. One that was alone speaks for itself.
pub(in crate::connect) fn of_all(endpoint: &Arc<Endpoint>, mut failures: Vec<(Address, Error)>) -> Error {
    if failures.len() == 1
        && let Some((_, error)) = failures.pop()
    {
        return error.at(endpoint.clone());
    }
    let each: Vec<String> =
        failures.iter().map(|(address, error)| format!("{address}: {}", error.message())).collect();
    let message = format!("no address could be reached: {}", each.join("; "));
    let error = Error::new(Code::Unavailable, Phase::Connect, message).at(endpoint.clone());
    match failures.into_iter().next() {
        Some((_, first)) => error.because(first),
        None => error,
    }
}
