//! Flow control: bounded memory both ways, and slow streams beside busy ones.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::Bytes;
use grpc_balance::connect::http2::Http2Config;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};

use crate::{
    calls::wait_for_idle,
    support::{Client, Counted, client_of, drain, fed, send_all, serve, sockets},
};

const MEGA: usize = 1 << 20;

#[tokio::test]
async fn a_hundred_megabytes_come_down_in_bounded_memory() {
    let (near, far) = sockets().await;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    serve(far, &h2::server::Builder::new(), move |_, mut respond| {
        let sent = counter.clone();
        async move {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            for _ in 0..1600 {
                assert!(send_all(&mut body, Bytes::from_static(&[7; 65_536]), false).await);
                sent.fetch_add(65_536, SeqCst);
            }
            body.send_data(Bytes::new(), true).unwrap();
        }
    });
    let window = 256 * 1024;
    let client = Client::over(near, Http2Config::new().stream_window(window)).await;
    let mut body = client.call(Empty::<Bytes>::new()).await.unwrap().into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len() as u64;
        // What was sent and not received is in the window, or in the server's own send buffer (400 KiB).
        let ahead = sent.load(SeqCst).saturating_sub(received);
        assert!(ahead <= u64::from(window) + 400 * 1024 + 65_536, "{ahead} bytes ahead");
    }
    assert_eq!(received, 1600 * 65_536);
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn a_hundred_megabytes_go_up_in_bounded_memory() {
    let received = Arc::new(AtomicU64::new(0));
    let pulled = Arc::new(AtomicU64::new(0));
    let counters = (received.clone(), pulled.clone());
    let client = client_of(move |mut request, mut respond| {
        let (received, pulled) = counters.clone();
        async move {
            while let Some(Ok(data)) = request.body_mut().data().await {
                let received = received.fetch_add(data.len() as u64, SeqCst) + data.len() as u64;
                let _ = request.body_mut().flow_control().release_capacity(data.len());
                // h2's send buffer, the server's window, one frame in hand and one on the wire.
                let ahead = pulled.load(SeqCst).saturating_sub(received);
                assert!(ahead <= (400 + 64 + 4 * 64) * 1024, "{ahead} bytes ahead");
            }
            respond.send_response(Response::new(()), true).unwrap();
        }
    })
    .await;
    let body = Counted { frame: Bytes::from_static(&[7; 65_536]), left: 1600, pulled };
    client.call(body).await.unwrap();
    assert_eq!(received.load(SeqCst), 1600 * 65_536);
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn one_message_larger_than_every_window_arrives_whole() {
    let client = client_of(async |mut request, mut respond| {
        let len = drain(request.body_mut()).await;
        let response = Response::builder().header("x-len", len).body(()).unwrap();
        respond.send_response(response, true).unwrap();
    })
    .await;
    let response = client.call(Full::new(vec![7; 9 * MEGA + 1].into())).await.unwrap();
    assert_eq!(response.headers()["x-len"], (9 * MEGA + 1).to_string());
}

/// Unread messages of 10 bytes are the worst case: `h2` would close the whole connection for 134 of them.
async fn readers_that_stand_still_do_not_stop_the_others(message: usize, messages: usize) {
    let client = client_of(move |mut request, mut respond| async move {
        if drain(request.body_mut()).await > 0 {
            respond.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
            return;
        }
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..messages {
            if !send_all(&mut body, vec![7; message].into(), false).await {
                return;
            }
        }
        body.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(client.call(Full::<Bytes>::default()).await.unwrap());
        for _ in 0..300 {
            let response = client.call(Full::new(Bytes::from("hello"))).await.unwrap();
            assert_eq!(response.status(), 204);
        }
    }
    // None of it was lost.
    for response in unread {
        let collected = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(collected.len(), message * messages);
    }
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn readers_of_small_messages_that_stand_still() {
    readers_that_stand_still_do_not_stop_the_others(10, 20_000).await;
}

#[tokio::test]
async fn readers_of_large_messages_that_stand_still() {
    readers_that_stand_still_do_not_stop_the_others(MEGA, 6).await;
}

#[tokio::test]
async fn both_directions_of_a_call_push_back() {
    let pulled = Arc::new(AtomicU64::new(0));
    // Echoes, and so stops reading when nobody reads what it writes.
    let client = client_of(async |mut request, mut respond| {
        let mut back = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = request.body_mut().data().await {
            let len = data.len();
            assert!(send_all(&mut back, data, false).await);
            let _ = request.body_mut().flow_control().release_capacity(len);
        }
        back.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let total = 64 * MEGA as u64;
    let body = Counted {
        frame: Bytes::from_static(&[7; 16_384]),
        left: total as usize / 16_384,
        pulled: pulled.clone(),
    };
    let mut body = client.call(body).await.unwrap().into_body();
    // The upload comes to rest long before its end: our window, and the buffers of both sides, are full.
    let mut last = 0;
    let stalled_at = loop {
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        let now = pulled.load(SeqCst);
        if now == last && now > 0 {
            break now;
        }
        last = now;
    };
    assert!(stalled_at < 8 * MEGA as u64, "{stalled_at} bytes were pulled");
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert_eq!(received, total);
    wait_for_idle(&client).await;
}

#[tokio::test]
async fn a_conversation_goes_message_by_message() {
    let client = client_of(async |mut request, mut respond| {
        let mut back = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = request.body_mut().data().await {
            let _ = request.body_mut().flow_control().release_capacity(data.len());
            back.send_data(data, false).unwrap();
        }
        back.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let (feed, body) = fed();
    let mut body = client.call(body).await.unwrap().into_body();
    for i in 0..1000 {
        let message = Bytes::from(format!("message {i}"));
        feed.send(Frame::data(message.clone())).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    drop(feed);
    assert!(body.frame().await.is_none_or(|frame| frame.unwrap().into_data().unwrap().is_empty()));
}
