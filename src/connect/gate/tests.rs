use std::{
    sync::Arc,
    task::{Context, Waker},
};

use tokio_test::{assert_pending, assert_ready, task::spawn};

use super::*;

fn gates(limits: &[usize]) -> (Arc<Room>, Vec<Arc<Gate>>) {
    let room = Arc::new(Room::new());
    let gates = limits
        .iter()
        .map(|limit| {
            let gate = Arc::new(Gate::new(room.clone()));
            gate.set_max(*limit);
            gate
        })
        .collect();
    (room, gates)
}

#[test]
fn a_gate_is_closed_until_a_limit_is_known() {
    let gate = Arc::new(Gate::new(Arc::default()));
    assert!(gate.try_acquire().is_none());
    assert!(!gate.has_room());
    gate.set_max(1);
    assert!(gate.has_room());
    assert!(gate.try_acquire().is_some());
}

#[test]
fn it_hands_out_as_many_permits_as_the_limit() {
    let (_, gates) = gates(&[2]);
    let first = gates[0].try_acquire().unwrap();
    let _second = gates[0].try_acquire().unwrap();
    assert!(gates[0].try_acquire().is_none());
    drop(first);
    assert_eq!(gates[0].live(), 1);
    assert!(gates[0].try_acquire().is_some());
}

#[test]
fn permits_beyond_a_lowered_limit_stay_valid() {
    let (_, gates) = gates(&[2]);
    let permits = [gates[0].try_acquire().unwrap(), gates[0].try_acquire().unwrap()];
    gates[0].set_max(1);
    let [first, second] = permits;
    drop(first);
    assert!(gates[0].try_acquire().is_none(), "one of one is still out");
    drop(second);
    assert!(gates[0].try_acquire().is_some());
}

#[test]
fn those_who_wait_are_served_in_order() {
    let (room, gates) = gates(&[1]);
    let permit = gates[0].try_acquire().unwrap();
    let mut first = spawn(room.wait());
    let mut second = spawn(room.wait());
    assert_pending!(second.poll());
    assert_pending!(first.poll());
    drop(permit);
    assert!(first.is_woken() && !second.is_woken());
    assert!(gates[0].try_acquire().is_none(), "no newcomer overtakes");
    let permit = assert_ready!(first.poll());
    drop(permit);
    assert!(assert_ready!(second.poll()).is_of(&gates[0]));
    drop((first, second));
    assert_eq!((gates[0].live(), room.waiting()), (0, 0));
}

#[test]
fn whichever_connection_has_room_first_serves() {
    let (room, gates) = gates(&[1, 1]);
    let permits = [gates[0].try_acquire().unwrap(), gates[1].try_acquire().unwrap()];
    let mut waiting = spawn(room.wait());
    assert_pending!(waiting.poll());
    let [_first, second] = permits;
    drop(second);
    let permit = assert_ready!(waiting.poll());
    assert!(permit.is_of(&gates[1]) && !permit.is_of(&gates[0]));
}

#[test]
fn a_raised_limit_serves_as_many_as_it_has_room_for() {
    let (room, gates) = gates(&[0]);
    let mut waiting: Vec<_> = (0..3).map(|_| spawn(room.wait())).collect();
    for waiting in &mut waiting {
        assert_pending!(waiting.poll());
    }
    gates[0].set_max(2);
    let _first = assert_ready!(waiting[0].poll());
    let _second = assert_ready!(waiting[1].poll());
    assert_pending!(waiting[2].poll());
}

#[test]
fn leaving_the_queue_passes_the_permit_on() {
    let (room, gates) = gates(&[1]);
    let permit = gates[0].try_acquire().unwrap();
    let mut first = spawn(room.wait());
    let mut second = spawn(room.wait());
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(permit);
    assert!(first.is_woken());
    drop(first);
    assert!(second.is_woken(), "the permit did not die with its first owner");
    drop(assert_ready!(second.poll()));
    assert_eq!(gates[0].live(), 0);
}

#[test]
fn leaving_the_queue_unserved_leaves_no_trace() {
    let (room, gates) = gates(&[1]);
    let permit = gates[0].try_acquire().unwrap();
    let mut waiting: Vec<_> = (0..5).map(|_| room.wait()).collect();
    drop(waiting.remove(2));
    drop(waiting.remove(0));
    assert_eq!(room.waiting(), 3);
    drop(waiting);
    assert_eq!(room.waiting(), 0);
    drop(permit);
    assert_eq!(gates[0].live(), 0);
}

#[test]
fn a_served_call_that_is_never_polled_again_gives_its_permit_back() {
    let (room, gates) = gates(&[1]);
    let permit = gates[0].try_acquire().unwrap();
    let waiting = room.wait();
    drop(permit);
    assert_eq!(gates[0].live(), 1, "it is reserved");
    drop(waiting);
    assert_eq!(gates[0].live(), 0);
}

#[test]
fn many_threads_leave_nothing_behind() {
    let (room, gates) = gates(&[2, 1]);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (room, gates) = (&room, &gates);
            scope.spawn(move || {
                for round in 0..2000 {
                    let gate = &gates[(thread + round) % 2];
                    let permit = gate.try_acquire().or_else(|| {
                        let mut waiting = Box::pin(room.wait());
                        let mut cx = Context::from_waker(Waker::noop());
                        // Patience differs: some leave at once.
                        for _ in 0..round % 50 {
                            if let std::task::Poll::Ready(permit) = waiting.as_mut().poll(&mut cx) {
                                return Some(permit);
                            }
                            std::thread::yield_now();
                        }
                        None
                    });
                    drop(permit);
                }
            });
        }
    });
    assert_eq!((gates[0].live(), gates[1].live(), room.waiting()), (0, 0, 0));
    assert!(gates[0].try_acquire().is_some());
}
