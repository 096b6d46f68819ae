use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
};

use http::{Request, Response};

use super::scripted::{answer, error};
use crate::{
    connect::{Connection, Gate, Permit, Replay, Room, SendError},
    health::proto::ServingStatus::*,
    probe::{
        Body,
        caller::{CallError, Reply, lend},
    },
};

type Sent = Result<Response<Reply>, SendError<Body>>;

/// A connection with one answer, which keeps the permit that it was given.
struct Once(Mutex<(Option<fn(Request<Replay<Body>>) -> Sent>, Option<Permit>)>);

impl Connection<Body> for Once {
    type Body = Reply;
    type Future = Ready<Sent>;

    fn send(self: &Arc<Self>, request: Request<Replay<Body>>, permit: Permit) -> Self::Future {
        let mut once = self.0.lock().expect("no panic");
        once.1 = Some(permit);
        ready(once.0.take().expect("one call")(request))
    }
}

fn once(answer: fn(Request<Replay<Body>>) -> Sent) -> Arc<Once> {
    Arc::new(Once(Mutex::new((Some(answer), None))))
}

async fn ask(gate: Arc<Gate>, connection: Arc<Once>) -> Result<Response<Reply>, CallError> {
    lend(connection, gate).call(Request::new(Body::default())).await
}

#[tokio::test]
async fn what_the_peer_left_unprocessed_because_it_goes_away_is_no_failure() {
    let unlimited = || Arc::new(Gate::unlimited());
    let unsent = once(|request| Err(SendError::Unsent(error("closed"), request)));
    assert!(matches!(ask(unlimited(), unsent).await, Err(CallError::Gone(_))));
    let going = once(|_| Err(SendError::Refused { error: error("goaway"), request: None, going_away: true }));
    assert!(matches!(ask(unlimited(), going).await, Err(CallError::Gone(_))));
    // REFUSED_STREAM: the connection stays, and the peer does not want more work.
    let full =
        once(|_| Err(SendError::Refused { error: error("refused"), request: None, going_away: false }));
    assert!(matches!(ask(unlimited(), full).await, Err(CallError::Failed(_))));
    let lost = once(|_| Err(SendError::Failed(error("lost"))));
    assert!(matches!(ask(unlimited(), lost).await, Err(CallError::Failed(_))));
    assert!(ask(unlimited(), once(|_| Ok(answer(Serving)))).await.is_ok());
}

#[tokio::test]
async fn a_lent_connection_counts_the_stream_and_is_asked_even_when_it_is_full() {
    let gate = Arc::new(Gate::new(Arc::new(Room::new())));
    gate.set_max(1);
    let first = once(|_| Ok(answer(Serving)));
    assert!(ask(gate.clone(), first.clone()).await.is_ok());
    assert_eq!(gate.live(), 1, "it takes one of the peer's streams");
    let second = once(|_| Ok(answer(Serving)));
    assert!(ask(gate.clone(), second.clone()).await.is_ok());
    assert_eq!(gate.live(), 1, "HTTP/2 itself holds it back");
}
