use futures::task::noop_waker_ref;

use super::*;
use crate::proto::error::EmitError;

fn send_quota() -> Arc<SendQuota> {
    SendQuota::new(Limits { items: 2, bytes: 100, acks: 1 })
}

#[test]
fn room_is_bounded_in_items_and_bytes_and_comes_back() {
    let send_quota = send_quota();
    let first = send_quota.reserve(60).unwrap();
    assert!(send_quota.reserve(41).is_none(), "too many bytes");
    let second = send_quota.reserve(40).unwrap();
    assert!(send_quota.reserve(0).is_none(), "too many items");
    assert_eq!((send_quota.waiting(), send_quota.waiting_bytes()), (2, 100));
    drop((first, second));
    assert_eq!((send_quota.waiting(), send_quota.waiting_bytes()), (0, 0));
    assert!(send_quota.reserve(1_000).is_some(), "a giant passes alone");
    let light = send_quota.reserve(0).unwrap();
    assert!(send_quota.reserve(101).is_none(), "and not next to the lightest one");
    drop(light);
    let asking = send_quota.reserve_ack();
    assert!(asking.is_some() && send_quota.reserve_ack().is_none());
    drop(asking);
    assert!(send_quota.reserve_ack().is_some());
}

#[test]
fn no_limit_and_no_event_is_too_large_for_the_count() {
    let send_quota = SendQuota::new(Limits { items: usize::MAX, bytes: usize::MAX, acks: 1 });
    let giant = send_quota.reserve(usize::MAX).unwrap();
    assert_eq!(send_quota.waiting(), 1);
    assert!(send_quota.reserve(1).is_none() && send_quota.reserve(usize::MAX).is_none());
    let light = send_quota.reserve(0).unwrap();
    drop(giant);
    assert_eq!((send_quota.waiting(), send_quota.waiting_bytes()), (1, 0));
    drop(light);
    assert_eq!((send_quota.waiting(), send_quota.waiting_bytes()), (0, 0));
}

#[test]
fn each_event_has_one_fate_and_what_is_dropped_is_counted() {
    let send_quota = send_quota();
    let cx = Context::from_waker(noop_waker_ref());
    let end = |end: fn(SendPermit)| {
        let mut permit = send_quota.reserve(1).unwrap();
        let write_status = permit.write_status();
        assert_eq!(write_status.poll(&cx), Poll::Pending);
        permit.hand();
        assert_eq!(permit.handed(), 1);
        end(permit);
        assert_eq!(send_quota.handed.get(), 0);
        let Poll::Ready(settled) = write_status.poll(&cx) else { panic!("it is open") };
        settled
    };
    assert_eq!(end(SendPermit::written), WriteOutcome::Written);
    assert_eq!(end(SendPermit::settled), WriteOutcome::Discarded);
    assert_eq!(send_quota.discarded(), 0);
    assert_eq!(end(drop), WriteOutcome::Discarded);
    assert_eq!(send_quota.discarded(), 1);
    let stranded = end(|mut permit| {
        permit.take_back();
        permit.strand();
        permit.written();
    });
    assert_eq!(stranded, WriteOutcome::Written, "the last word counts");
    drop(send_quota.reserve_answer(1));
    assert_eq!((send_quota.discarded(), send_quota.waiting()), (1, 0));
}

#[test]
fn an_event_that_was_stranded_can_be_waited_for_again() {
    let send_quota = send_quota();
    let cx = Context::from_waker(noop_waker_ref());
    let mut permit = send_quota.reserve(1).unwrap();
    let write_status = permit.write_status();
    for _ in 0..2 {
        permit.strand();
        assert_eq!(write_status.poll(&cx), Poll::Ready(WriteOutcome::Stranded));
        write_status.resume();
        assert_eq!(write_status.poll(&cx), Poll::Pending);
    }
    permit.refuse(&EmitError::Expired);
    assert_eq!(write_status.poll(&cx), Poll::Ready(WriteOutcome::Discarded));
    write_status.resume();
    assert_eq!(write_status.poll(&cx), Poll::Ready(WriteOutcome::Discarded));
    assert_eq!(write_status.cause(), Some(&EmitError::Expired));
}

#[test]
fn answers_have_room_of_their_own() {
    let send_quota = send_quota();
    let events = (send_quota.reserve(50), send_quota.reserve(50));
    let answer = send_quota.reserve_answer(100);
    assert!(answer.is_some() && send_quota.reserve_answer(0).is_none());
    drop(events);
    assert!(send_quota.reserve_answer(0).is_none());
    drop(answer);
    assert!(send_quota.reserve_answer(1_000).is_some());
}

#[test]
fn who_waits_for_room_is_woken_when_half_of_it_is_there_or_all() {
    let send_quota = SendQuota::new(Limits { items: 4, bytes: 100, acks: 4 });
    let (first, woken) = count();
    let (second, _) = count();
    let wait = || {
        for waker in [&first, &second, &first] {
            send_quota.await_room(waker);
        }
    };
    let mut held: Vec<_> = (0..4).map(|_| send_quota.reserve(10).unwrap()).collect();
    wait();
    held.pop();
    assert_eq!(woken.get(), 0);
    held.pop();
    held.pop();
    assert_eq!(woken.get(), 1, "once");
    drop(held);
    // A giant goes when all is free.
    let mut held: Vec<_> = [60, 10].map(|bytes| send_quota.reserve(bytes).unwrap()).into();
    wait();
    held.pop();
    assert_eq!(woken.get(), 1);
    held.pop();
    assert_eq!(woken.get(), 2);
    // So does who waits to ask, and who waits for nothing any more.
    let mut acks: Vec<_> = (0..4).map(|_| send_quota.reserve_ack().unwrap()).collect();
    wait();
    acks.pop();
    assert_eq!(woken.get(), 2);
    acks.pop();
    assert_eq!(woken.get(), 3);
    wait();
    send_quota.turn_away();
    assert_eq!(woken.get(), 4);
    assert!(send_quota.waiters.wakers().is_empty());
}

#[test]
fn who_waits_for_an_event_is_woken_once_by_its_last_waker() {
    for end in [SendPermit::written, SendPermit::settled, drop] {
        let send_quota = send_quota();
        let mut permit = send_quota.reserve(1).unwrap();
        let write_status = permit.write_status();
        let ((first, first_woken), (last, last_woken)) = (count(), count());
        for waker in [&first, &last, &last] {
            assert_eq!(write_status.poll(&Context::from_waker(waker)), Poll::Pending);
        }
        end(permit);
        assert_eq!((first_woken.get(), last_woken.get()), (0, 1));
        assert!(write_status.poll(&Context::from_waker(&first)).is_ready());
        assert!(write_status.waiter.waker().is_none(), "it is not kept");
    }
    let cx = Context::from_waker(noop_waker_ref());
    assert_eq!(WriteStatus::written().poll(&cx), Poll::Ready(WriteOutcome::Written));
}

#[test]
fn what_the_connection_gives_back_is_not_with_it() {
    let send_quota = send_quota();
    let mut permit = send_quota.reserve(1).unwrap();
    for _ in 0..2 {
        permit.hand();
        permit.hand();
        assert_eq!(permit.handed(), 1);
        permit.take_back();
        assert_eq!(permit.handed(), 0);
    }
    drop(permit);
    assert_eq!((send_quota.handed.get(), send_quota.discarded()), (0, 1));
}

/// A waker that counts.
fn count() -> (Waker, Woken) {
    let woken = Woken::default();
    (Waker::from(Arc::new(woken.clone())), woken)
}

#[derive(Default, Clone)]
struct Woken(Arc<AtomicUsize>);

impl Woken {
    fn get(&self) -> usize {
        self.0.load(Acquire)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, AcqRel);
    }
}
