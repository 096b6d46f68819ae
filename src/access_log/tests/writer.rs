use std::{
    io::{self, Write},
    sync::mpsc,
};

use super::*;

/// Writes only when it is let.
struct Gated {
    entered: mpsc::Sender<()>,
    gate: mpsc::Receiver<()>,
    out: Written,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.gate.recv();
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_writer_that_stands_still_stops_no_request_and_what_is_dropped_is_counted() {
    let out = Written::default();
    let ((entered, is_in), (open, gate)) = (mpsc::channel(), mpsc::channel());
    let gated = Gated { entered, gate, out: out.clone() };
    let log = AccessLogLayer::builder().capacity(10).to(gated);
    once(&log, sent("/first", b"x")).await;
    is_in.recv().unwrap();
    for n in 0..25 {
        once(&log, sent(&format!("/{n}"), b"x")).await;
    }
    assert_eq!(log.dropped(), 15);
    drop(open);
    log.flush().await;
    let paths = out.lines().iter().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>();
    let expected =
        ["/first".to_owned()].into_iter().chain((0..10).map(|n| format!("/{n}"))).collect::<Vec<_>>();
    assert_eq!(paths, expected, "in their order");
}

#[tokio::test]
async fn lines_that_cannot_be_written_are_counted_and_the_log_goes_on() {
    struct Full(u32, Written);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 > 0 {
                self.0 -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = Written::default();
    let log = AccessLogLayer::to(Full(2, written.clone()));
    for path in ["/1", "/2", "/3"] {
        once(&log, sent(path, b"x")).await;
        log.flush().await;
    }
    assert_eq!((log.dropped(), written.lines().len()), (2, 1));
    assert!(written.lines()[0].contains("GET /3 "));
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle_and_writes_everything_before() {
    struct Told(Written, Option<tokio::sync::oneshot::Sender<()>>);
    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.1.take().unwrap().send(());
        }
    }
    let written = Written::default();
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    let log = AccessLogLayer::to(Told(written.clone(), Some(gone)));
    for _ in 0..100 {
        once(&log, sent("/", b"x")).await;
    }
    drop(log);
    is_gone.await.unwrap();
    assert_eq!(written.lines().len(), 100);
}
