//! One unary check.

use std::sync::Arc;

use prost::Message;

use super::Question;
use crate::{
    endpoint::Endpoint,
    error::Error,
    grpc::Code,
    health::{
        Finding,
        proto::{HealthCheckResponse, ServingStatus},
    },
    probe::{
        caller::{CallError, Caller},
        line::{Line, Turn},
        messages::{End, Messages, Next},
        names::Acquaintance,
    },
};

/// A peer that ends one connection after the other as soon as it is asked is not well.
const CONNECTIONS: usize = 3;

/// Asks until there is an answer: a connection that takes no more calls is no answer. `None`: the next connection is
/// for others to make, and not there yet.
pub(in crate::probe) async fn check(
    question: &Question,
    line: &mut Line,
    endpoint: &Arc<Endpoint>,
    turn: &mut Turn,
    acquaintance: &mut Acquaintance,
) -> Option<Finding> {
    let mut last = None;
    for _ in 0..CONNECTIONS {
        let caller = match line.get(endpoint, turn).await {
            Ok(caller) => caller,
            Err(error) => return Some(failed(&error)),
        };
        match ask(&*caller, question).await {
            Ok((message, end)) => return Some(judge(message, end, acquaintance)),
            Err(CallError::Gone(error)) => {
                line.leave();
                if !line.is_own() {
                    return None;
                }
                last = Some(error);
            }
            Err(CallError::Failed(error)) => {
                return Some(failed(&error));
            }
        }
    }
    last.map(|error| failed(&error))
}

async fn ask(caller: &dyn Caller, question: &Question) -> Result<(Option<bytes::Bytes>, End), CallError> {
    let mut messages = Messages::new(caller.call(question.request()).await?);
    let mut answer = None;
    loop {
        match messages.next().await.map_err(CallError::Failed)? {
            Next::Message(message) => answer = Some(message),
            Next::End(end) => return Ok((answer, end)),
        }
    }
}

fn judge(message: Option<bytes::Bytes>, end: End, acquaintance: &mut Acquaintance) -> Finding {
    match (end.code, message) {
        (Code::Ok, Some(message)) => match HealthCheckResponse::decode(message) {
            Ok(response) => {
                acquaintance.known();
                found(response)
            }
            Err(error) => Finding::Fail(format!("the answer is no health message: {error}").into()),
        },
        (Code::Ok, None) => Finding::Fail("the answer has no message".into()),
        (Code::NotFound, _) if end.said => {
            acquaintance.unknown();
            Finding::Unwell(format!("no service `{}`: {end}", acquaintance.service()).into())
        }
        _ => Finding::Fail(end.to_string().into()),
    }
}

/// What a served status says.
pub(super) fn found(response: HealthCheckResponse) -> Finding {
    let said = match ServingStatus::try_from(response.status) {
        Ok(ServingStatus::Serving) => return Finding::Pass,
        Ok(ServingStatus::NotServing) => "NOT_SERVING".into(),
        Ok(ServingStatus::ServiceUnknown) => "SERVICE_UNKNOWN".into(),
        Ok(ServingStatus::Unknown) => "UNKNOWN".into(),
        Err(_) => format!("health status {}, whatever that means", response.status).into(),
    };
    Finding::Unwell(said)
}

/// It could not be asked.
pub(super) fn failed(error: &Error) -> Finding {
    Finding::Fail(error.report().to_string().into())
}
