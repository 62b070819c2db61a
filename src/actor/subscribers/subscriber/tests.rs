use std::{cell::RefCell, rc::Rc};

use actix::{Actor, ActorContext, Addr, Handler, Message};
use futures::task::noop_waker;

use super::*;
use crate::{
    actor::subscribers::{filter::Filter, interests::Owner, listener::FilteredListener},
    message::{Disconnected, Ready},
    payload::encode_event,
    proto::reason::Reason,
};

type Notes = Rc<RefCell<Vec<String>>>;

/// Notes what it gets. Its mailbox takes one message, and it handles none before the test waits
/// for something.
struct Taker {
    notes: Notes,
}

impl Actor for Taker {
    type Context = actix::Context<Self>;
}

macro_rules! take {
    ($($message:ident: $note:expr),* $(,)?) => { $(
        impl Handler<$message> for Taker {
            type Result = ();

            fn handle(&mut self, message: $message, _: &mut Self::Context) {
                let note: fn($message) -> String = $note;
                self.notes.borrow_mut().push(note(message));
            }
        }
    )* };
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Taker {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.terminate();
    }
}

take!(
    Ready: |_| "ready".to_owned(),
    Event: |event| event.name().to_owned(),
    Disconnected: |_| "gone".to_owned(),
    Lagged: |lagged| format!("-{}-{}", lagged.missed(), lagged.missed_states()),
);

fn taker() -> (Subscriber, Addr<Taker>, Notes) {
    let notes = Notes::default();
    let taker = Taker { notes: Rc::clone(&notes) };
    let addr = Taker::create(|ctx| {
        ctx.set_mailbox_capacity(1);
        taker
    });
    let mut subscriber = Subscriber::new(Interests::of_actor(SubscriptionId::next(), addr.clone()));
    subscriber.adopt(Interests::of_kind::<Lagged>(SubscriptionId::next(), addr.clone()));
    (subscriber, addr, notes)
}

fn event(number: usize) -> Notice {
    let payload = encode_event(&number.to_string(), &()).unwrap();
    Notice::Event(Event { namespace: "/".into(), payload, answer: None, is_recoverable: false })
}

fn gone() -> Notice {
    let reason = Reason::ServerDisconnect;
    Notice::Disconnected(Disconnected { namespace: "/".into(), reason })
}

/// How many events wait for it: those that hold the connection up, and those that do not.
fn waiting(subscriber: &Subscriber) -> (usize, usize) {
    let Backlog { holding, kept } = subscriber.backlog();
    (holding.items, kept.items)
}

/// Room for all that a test has.
const ROOM: Load = Load { items: 1_000, bytes: 100_000 };

fn poll(subscriber: &mut Subscriber) {
    subscriber.poll(&mut Context::from_waker(&noop_waker()), &Name::default());
}

/// Lets the actor work until nothing waits for it.
async fn settle(subscriber: &mut Subscriber) {
    for _ in 0..1_000 {
        poll(subscriber);
        actix_rt::task::yield_now().await;
        if !matches!(subscriber.mailbox, Mailbox::Full { .. }) {
            return;
        }
    }
    panic!("{subscriber:?} does not come to rest");
}

#[actix::test]
async fn an_event_for_several_ears_of_a_full_mailbox_comes_to_each_of_them() {
    let (mut subscriber, addr, notes) = taker();
    for prefix in ["", "1"] {
        let (number, filter) = (SubscriptionId::next(), Filter::prefix(prefix));
        let named = FilteredListener::new(number, filter, addr.clone().recipient::<Event>());
        let (same, _) = Owner::of::<_, Ready>(addr.clone());
        let interests = Interests::of_named(same, number, named);
        assert!(subscriber.can_adopt(&interests));
        subscriber.adopt(interests);
    }
    for number in 0..20 {
        subscriber.offer(&event(number));
    }
    settle(&mut subscriber).await;
    let often = |number: usize| if number.to_string().starts_with('1') { 3 } else { 2 };
    let numbers = (0..20).flat_map(|number| vec![number.to_string(); often(number)]);
    assert_eq!(*notes.borrow(), numbers.collect::<Vec<_>>());
}

#[actix::test]
async fn all_that_is_offered_comes_in_order() {
    let (mut subscriber, _addr, notes) = taker();
    for number in 0..20 {
        subscriber.offer(&event(number));
    }
    subscriber.offer(&gone());
    poll(&mut subscriber);
    assert_eq!(waiting(&subscriber), (20 - 2, 0), "one fits, and one over that");
    settle(&mut subscriber).await;
    let numbers = (0..20).map(|number| number.to_string());
    let expected: Vec<_> = numbers.chain(["gone".to_owned()]).collect();
    assert_eq!(*notes.borrow(), expected);
    assert_eq!(waiting(&subscriber), (0, 0));
}

#[actix::test]
async fn what_waits_is_kept_and_word_of_what_was_shed_comes_in_its_place() {
    let (mut subscriber, _addr, notes) = taker();
    for number in 0..10 {
        subscriber.offer(&event(number));
    }
    subscriber.offer(&gone());
    subscriber.offer(&event(10));
    assert!(!subscriber.shed(false, ROOM), "it may be about to work");
    assert_eq!(waiting(&subscriber), (9, 0));
    assert!(subscriber.shed(false, ROOM));
    assert_eq!(waiting(&subscriber), (0, 9));
    subscriber.offer(&event(11));
    subscriber.offer(&gone());
    subscriber.offer(&event(12));
    assert!(!subscriber.shed(true, ROOM), "it does so already");
    assert_eq!((waiting(&subscriber), subscriber.take_missed()), ((0, 9), 2));
    settle(&mut subscriber).await;
    subscriber.offer(&event(13));
    settle(&mut subscriber).await;
    let kept = (0..10).map(|number| number.to_string());
    let rest = ["gone", "10", "-1-0", "gone", "-1-0", "13"].map(str::to_owned);
    assert_eq!(*notes.borrow(), kept.chain(rest).collect::<Vec<_>>());
}

#[actix::test]
async fn what_is_kept_has_a_bound_and_the_newest_go() {
    let size = event(1_000).size();
    for (room, kept) in [
        (Load { items: 3, ..ROOM }, 3),
        (Load { bytes: 2 * size + 1, ..ROOM }, 3),
        (Load { bytes: 2 * size, ..ROOM }, 2),
        (Load::default(), 0),
    ] {
        let (mut subscriber, _addr, notes) = taker();
        for number in 1_000..1_007 {
            subscriber.offer(&event(number));
            subscriber.offer(&gone());
        }
        // Two were taken.
        assert_eq!(waiting(&subscriber), (5, 0));
        subscriber.shed(true, room);
        assert_eq!(waiting(&subscriber), (0, kept), "{room:?}");
        assert_eq!(subscriber.take_missed() + u64::try_from(kept).unwrap(), 5, "{room:?}");
        settle(&mut subscriber).await;
        let numbers = (1_000..1_002 + kept).flat_map(|n| [n.to_string(), "gone".to_owned()]);
        let rest = (kept..5).flat_map(|_| ["-1-0".to_owned(), "gone".to_owned()]);
        assert_eq!(*notes.borrow(), numbers.chain(rest).collect::<Vec<_>>(), "{room:?}");
    }
}

#[actix::test]
async fn what_waits_for_the_dead_is_counted_and_so_is_what_comes() {
    let (mut subscriber, addr, _) = taker();
    for number in 0..10 {
        subscriber.offer(&event(number));
    }
    subscriber.offer(&gone());
    addr.do_send(Stop);
    drop(addr);
    settle(&mut subscriber).await;
    assert!(subscriber.is_gone());
    // Two were in its mailbox.
    subscriber.offer(&event(10));
    assert_eq!(
        (
            subscriber.bury(&Name { client: "host".into(), namespace: "/".into() }),
            waiting(&subscriber)
        ),
        (9, (0, 0))
    );
}

#[actix::test]
async fn the_oldest_states_give_way_and_events_stay() {
    let (mut subscriber, _addr, notes) = taker();
    for number in 0..2 {
        subscriber.offer(&event(number));
    }
    subscriber.offer(&gone());
    for number in 2..100 {
        subscriber.offer(&event(number));
        subscriber.offer(&gone());
    }
    assert_eq!(subscriber.queue.len(), 98 + MAX_STATES);
    settle(&mut subscriber).await;
    // 99 states, and the first 35 of them are gone.
    let lost = (2..37).flat_map(|number| ["-0-1".to_owned(), number.to_string()]);
    let kept = (37..100).flat_map(|number| ["gone".to_owned(), number.to_string()]);
    let expected: Vec<_> =
        ["0".to_owned(), "1".to_owned()].into_iter().chain(lost).chain(kept).collect();
    assert_eq!(notes.borrow()[..expected.len()], expected);
    assert_eq!(notes.borrow()[expected.len()..], ["gone"]);
}

#[actix::test]
async fn states_that_come_without_end_are_counted_in_one_place() {
    let (mut subscriber, _addr, notes) = taker();
    for number in 0..2 {
        subscriber.offer(&event(number));
    }
    for _ in 0..10_000 {
        subscriber.offer(&gone());
        assert!(subscriber.queue.len() <= MAX_STATES);
    }
    settle(&mut subscriber).await;
    assert_eq!(notes.borrow()[..3], ["0", "1", "-0-9936"]);
    assert_eq!(notes.borrow()[3..], ["gone"; MAX_STATES]);
}

#[actix::test]
async fn the_newest_are_dropped_and_said_to_be_in_their_place() {
    let (mut subscriber, _addr, notes) = taker();
    subscriber.set_overflow(Overflow::DropNewest { waiting: 3 });
    for number in 0..10 {
        subscriber.offer(&event(number));
    }
    poll(&mut subscriber);
    subscriber.offer(&gone());
    assert_eq!(waiting(&subscriber), (3, 0));
    // It handles what is in its mailbox, so that there is room for two.
    actix_rt::task::yield_now().await;
    poll(&mut subscriber);
    assert_eq!(waiting(&subscriber), (1, 0));
    for number in 10..20 {
        subscriber.offer(&event(number));
    }
    settle(&mut subscriber).await;
    subscriber.offer(&event(20));
    settle(&mut subscriber).await;
    let expected = ["0", "1", "2", "3", "4", "-5-0", "gone", "10", "11", "-8-0", "20"];
    assert_eq!(*notes.borrow(), expected);
    assert_eq!(subscriber.overrun(), None);
}

#[actix::test]
async fn a_subscriber_is_overrun_when_it_says_so() {
    let (mut subscriber, _addr, notes) = taker();
    subscriber.set_overflow(Overflow::Disconnect { waiting: 3 });
    for number in 0..5 {
        subscriber.offer(&event(number));
        assert_eq!(subscriber.overrun(), None);
    }
    subscriber.offer(&event(5));
    assert_eq!(subscriber.overrun(), Some(Overrun::Leave));
    settle(&mut subscriber).await;
    assert_eq!(subscriber.overrun(), None);
    assert_eq!(*notes.borrow(), ["0", "1", "2", "3", "4", "5"]);

    for number in 6..9 {
        subscriber.offer(&event(number));
    }
    assert!(subscriber.shed(true, ROOM));
    assert_eq!(subscriber.overrun(), Some(Overrun::Leave), "the next one would be missing");
}

#[actix::test]
async fn an_actor_that_drops_its_response_is_not_dead() {
    /// Answers nobody, as does one whose supervisor restarts it in the middle of its work.
    struct Mute {
        heard: Rc<RefCell<usize>>,
    }

    struct Nothing;

    impl actix::dev::MessageResponse<Mute, Event> for Nothing {
        fn handle(
            self,
            _: &mut actix::Context<Mute>,
            response: Option<actix::dev::OneshotSender<()>>,
        ) {
            drop(response);
        }
    }

    impl Actor for Mute {
        type Context = actix::Context<Self>;
    }

    impl Handler<Event> for Mute {
        type Result = Nothing;

        fn handle(&mut self, _: Event, _: &mut Self::Context) -> Nothing {
            *self.heard.borrow_mut() += 1;
            Nothing
        }
    }

    let heard = Rc::default();
    let addr = Mute { heard: Rc::clone(&heard) }.start();
    let mut subscriber = Subscriber::new(Interests::of_kind::<Event>(SubscriptionId::next(), addr));
    for number in 0..100 {
        subscriber.offer(&event(number));
    }
    settle(&mut subscriber).await;
    assert!(!subscriber.is_gone());
    assert_eq!(*heard.borrow(), 100);
}

/// An event with this many bytes.
fn large(bytes: usize) -> Notice {
    let payload = encode_event("large", &"x".repeat(bytes)).unwrap();
    Notice::Event(Event { namespace: "/".into(), payload, answer: None, is_recoverable: false })
}

#[actix::test]
async fn a_mailbox_is_full_when_it_has_so_many_bytes_and_what_is_above_counts() {
    let notes = Notes::default();
    let addr = Taker::create(|ctx| {
        ctx.set_mailbox_capacity(100);
        Taker { notes: Rc::clone(&notes) }
    });
    let number = SubscriptionId::next();
    let mut subscriber = Subscriber::new(Interests::of_actor(number, addr.clone()));
    let size = large(MAX_UNCOUNTED / 2).size();
    for count in 1..=5_usize {
        subscriber.offer(&large(MAX_UNCOUNTED / 2));
        let Backlog { holding, kept } = subscriber.backlog();
        assert_eq!((holding.items, kept), (count.saturating_sub(2), Load::default()));
        let counts = if count < 2 { 0 } else { count * size - MAX_UNCOUNTED };
        assert_eq!(holding.bytes, counts, "{count}");
    }
    // What is in the mailbox is enough to hold the connection up, and cannot be discarded.
    subscriber.shed(true, Load::default());
    let Backlog { holding, kept } = subscriber.backlog();
    assert_eq!((holding, kept.items), (Load::default(), 0));
    assert_eq!(kept.bytes, 2 * size - MAX_UNCOUNTED);
    assert_eq!(subscriber.take_missed(), 3);
    settle(&mut subscriber).await;
    assert_eq!(subscriber.backlog(), Backlog::default());
    assert_eq!(*notes.borrow(), ["large", "large"]);
}

#[actix::test]
async fn life_cycle_messages_that_wait_have_a_bound_in_bytes() {
    let (mut subscriber, _addr, _) = taker();
    let refused = |number: usize| {
        let message = number.to_string().repeat(MAX_STATE_BYTES / 4);
        let reason = Reason::Refused(crate::proto::refusal::Refusal::new(message, None));
        Notice::Disconnected(Disconnected { namespace: "/".into(), reason })
    };
    for number in 0..10 {
        subscriber.offer(&refused(number));
        let held: usize = subscriber.queue.iter().map(|waiting| waiting.notice.size()).sum();
        assert_eq!(held, subscriber.state_bytes);
        assert!(held <= MAX_STATE_BYTES);
    }
    assert_eq!((subscriber.queue.len(), subscriber.backlog().holding.items), (4, 0));
}
