//! One unary check.

use std::sync::Arc;

use bytes::Bytes;
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

/// Asks once. `None`: the connection went away, and the next is for others to make.
pub(in crate::probe) async fn check(
    question: &Question,
    line: &mut Line,
    endpoint: &Arc<Endpoint>,
    turn: &mut Turn,
    acquaintance: &mut Acquaintance,
) -> Option<Finding> {
    let found = match line.ask(endpoint, turn, |caller| ask(caller, question)).await? {
        Ok((message, end)) => judge(message, end, acquaintance),
        Err(error) => failed(&error),
    };
    Some(found)
}

async fn ask(caller: Arc<dyn Caller>, question: &Question) -> Result<(Option<Bytes>, End), CallError> {
    let mut messages = Messages::new(caller.call(question.request()).await?);
    let mut answer = None;
    loop {
        match messages.next().await.map_err(CallError::Failed)? {
            Next::Message(message) => answer = Some(message),
            Next::End(end) => return Ok((answer, end)),
        }
    }
}

fn judge(message: Option<Bytes>, end: End, acquaintance: &mut Acquaintance) -> Finding {
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
