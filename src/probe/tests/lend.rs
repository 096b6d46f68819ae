use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
};

use http::{Request, Response};

use super::{answers::answer, scripted::error};
use crate::{
    connect::{Connection, Gate, Permit, Replay, Room, SendError},
    health::proto::ServingStatus::*,
    probe::{
        Body,
        caller::{CallError, Reply, lend},
    },
};

/// A connection to which every call comes out like this, and which keeps the permits that it was given.
struct Always(Outcome, Mutex<Vec<Permit>>);

enum Outcome {
    Answered,
    Unsent,
    Refused { going_away: bool },
    Failed,
}

impl Connection<Body> for Always {
    type Body = Reply;
    type Future = Ready<Result<Response<Reply>, SendError<Body>>>;

    fn send(self: &Arc<Self>, request: Request<Replay<Body>>, permit: Permit) -> Self::Future {
        self.1.lock().expect("no panic").push(permit);
        ready(match self.0 {
            Outcome::Answered => Ok(answer(Serving)),
            Outcome::Unsent => Err(SendError::Unsent(error("closed"), request)),
            Outcome::Refused { going_away } => {
                Err(SendError::Refused { error: error("refused"), request: None, going_away })
            }
            Outcome::Failed => Err(SendError::Failed(error("lost"))),
        })
    }
}

fn always(outcome: Outcome) -> Arc<Always> {
    Arc::new(Always(outcome, Mutex::default()))
}

async fn ask(gate: Arc<Gate>, connection: Arc<Always>) -> Result<Response<Reply>, CallError> {
    lend(connection, gate).call(Request::new(Body::default())).await
}

#[tokio::test]
async fn what_the_peer_left_unprocessed_because_it_goes_away_is_no_failure() {
    for (outcome, gone) in [
        (Outcome::Unsent, true),
        (Outcome::Refused { going_away: true }, true),
        // REFUSED_STREAM: the connection stays, and the peer does not want more work.
        (Outcome::Refused { going_away: false }, false),
        (Outcome::Failed, false),
    ] {
        let result = ask(Arc::new(Gate::unlimited()), always(outcome)).await;
        assert_eq!(matches!(result, Err(CallError::Gone(_))), gone);
        assert_eq!(matches!(result, Err(CallError::Failed(_))), !gone);
    }
}

#[tokio::test]
async fn a_lent_connection_counts_the_stream_and_is_asked_even_when_it_is_full() {
    let gate = Arc::new(Gate::new(Arc::new(Room::new())));
    gate.set_max(1);
    let connection = always(Outcome::Answered);
    for _ in 0..3 {
        assert!(ask(gate.clone(), connection.clone()).await.is_ok());
        assert_eq!(
            gate.live(),
            1,
            "it takes one of the peer's streams, and HTTP/2 itself holds back the rest"
        );
    }
}
