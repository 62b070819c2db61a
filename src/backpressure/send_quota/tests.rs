use futures::task::noop_waker_ref;

use super::*;

fn outbox() -> Arc<Outbox> {
    Outbox::new(Limits { items: 2, bytes: 100, asks: 1 })
}

#[test]
fn room_is_bounded_in_items_and_bytes_and_comes_back() {
    let outbox = outbox();
    let first = outbox.reserve(60).unwrap();
    assert!(outbox.reserve(41).is_none(), "too many bytes");
    let second = outbox.reserve(40).unwrap();
    assert!(outbox.reserve(0).is_none(), "too many items");
    assert_eq!((outbox.waiting(), outbox.waiting_bytes()), (2, 100));
    drop((first, second));
    assert_eq!((outbox.waiting(), outbox.waiting_bytes()), (0, 0));
    assert!(outbox.reserve(1_000).is_some(), "a giant passes alone");
    let asking = outbox.ask();
    assert!(asking.is_some() && outbox.ask().is_none());
    drop(asking);
    assert!(outbox.ask().is_some());
}

#[test]
fn no_limit_and_no_event_is_too_large_for_the_count() {
    let outbox = Outbox::new(Limits { items: usize::MAX, bytes: usize::MAX, asks: 1 });
    let giant = outbox.reserve(usize::MAX).unwrap();
    assert_eq!(outbox.waiting(), 1);
    assert!(outbox.reserve(1).is_none() && outbox.reserve(usize::MAX).is_none());
    let light = outbox.reserve(0).unwrap();
    drop(giant);
    assert_eq!((outbox.waiting(), outbox.waiting_bytes()), (1, 0));
    drop(light);
    assert_eq!((outbox.waiting(), outbox.waiting_bytes()), (0, 0));
}

#[test]
fn each_event_has_one_fate_and_what_is_dropped_is_counted() {
    let outbox = outbox();
    let cx = Context::from_waker(noop_waker_ref());
    let end = |end: fn(Permit)| {
        let mut permit = outbox.reserve(1).unwrap();
        let fate = permit.fate();
        assert_eq!(fate.poll(&cx), Poll::Pending);
        permit.hand();
        assert_eq!(permit.handed(), 1);
        end(permit);
        assert_eq!(outbox.handed.get(), 0);
        let Poll::Ready(settled) = fate.poll(&cx) else { panic!("it is open") };
        settled
    };
    assert_eq!(end(Permit::written), Settled::Written);
    assert_eq!(end(Permit::settled), Settled::Discarded);
    assert_eq!(outbox.discarded(), 0);
    assert_eq!(end(drop), Settled::Discarded);
    assert_eq!(outbox.discarded(), 1);
    let stranded = end(|mut permit| {
        permit.take_back();
        permit.strand();
        permit.written();
    });
    assert_eq!(stranded, Settled::Written, "the last word counts");
    drop(outbox.reserve_answer(1));
    assert_eq!((outbox.discarded(), outbox.waiting()), (1, 0));
}

#[test]
fn an_event_that_was_stranded_can_be_waited_for_again() {
    let outbox = outbox();
    let cx = Context::from_waker(noop_waker_ref());
    let mut permit = outbox.reserve(1).unwrap();
    let fate = permit.fate();
    for _ in 0..2 {
        permit.strand();
        assert_eq!(fate.poll(&cx), Poll::Ready(Settled::Stranded));
        fate.resume();
        assert_eq!(fate.poll(&cx), Poll::Pending);
    }
    permit.refuse(&EmitError::Expired);
    assert_eq!(fate.poll(&cx), Poll::Ready(Settled::Discarded));
    fate.resume();
    assert_eq!(fate.poll(&cx), Poll::Ready(Settled::Discarded));
    assert_eq!(fate.cause(), Some(&EmitError::Expired));
}

#[test]
fn answers_have_room_of_their_own() {
    let outbox = outbox();
    let events = (outbox.reserve(50), outbox.reserve(50));
    let answer = outbox.reserve_answer(100);
    assert!(answer.is_some() && outbox.reserve_answer(0).is_none());
    drop(events);
    assert!(outbox.reserve_answer(0).is_none());
    drop(answer);
    assert!(outbox.reserve_answer(1_000).is_some());
}

#[test]
fn who_waits_for_room_is_woken_when_half_of_it_is_there_or_all() {
    let outbox = Outbox::new(Limits { items: 4, bytes: 100, asks: 2 });
    let (first, woken) = count();
    let (second, _) = count();
    let wait = || {
        for waker in [&first, &second, &first] {
            outbox.await_room(waker);
        }
    };
    let mut held: Vec<_> = (0..4).map(|_| outbox.reserve(10).unwrap()).collect();
    wait();
    held.pop();
    assert_eq!(woken.get(), 0);
    held.pop();
    held.pop();
    assert_eq!(woken.get(), 1, "once");
    drop(held);
    // A giant goes when all is free.
    let mut held: Vec<_> = [60, 10].map(|bytes| outbox.reserve(bytes).unwrap()).into();
    wait();
    held.pop();
    assert_eq!(woken.get(), 1);
    held.pop();
    assert_eq!(woken.get(), 2);
    // So does who waits to ask, and who waits for nothing any more.
    let asks = (outbox.ask(), outbox.ask());
    wait();
    drop(asks.0);
    assert_eq!(woken.get(), 3);
    wait();
    outbox.turn_away();
    assert_eq!(woken.get(), 4);
    assert!(outbox.waiters.wakers().is_empty());
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
