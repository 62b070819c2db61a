use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{collection, prelude::*};

use super::*;
use crate::{
    actor::subscribers::{
        filter::Filter,
        interests::{Listenable, Owner},
        listener::Listener,
        sent::Sent,
    },
    message::Disconnected,
    payload::encode_event,
    proto::{engine::Protocol, reason::Reason},
};

/// Notes the number of its call for each message that it hears.
struct Ear(SubscriptionId, Arc<Mutex<Vec<SubscriptionId>>>);

impl<M> Listener<M> for Ear {
    fn send(&self, _: M) -> Sent {
        self.1.lock().unwrap().push(self.0);
        Sent::Taken
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "an ear"
    }
}

/// What a call subscribes to.
#[derive(Debug, Clone)]
enum What {
    Events(Filter),
    Ready,
    Disconnected,
}

#[derive(Debug, Clone)]
enum Operation {
    /// The owner, and what it subscribes to.
    Subscribe(u64, What),
    /// The call with this number in a row, if there is one.
    Cancel(usize),
    Event(&'static str),
    Ready,
    Disconnected,
}

const NAMES: [&str; 4] = ["a", "ab", "b", ""];

fn what() -> impl Strategy<Value = What> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        4 => name().prop_map(|name| What::Events(Filter::name(name))),
        2 => name().prop_map(|prefix| What::Events(Filter::prefix(prefix))),
        1 => Just(What::Events(Filter::all())),
        1 => Just(What::Ready),
        1 => Just(What::Disconnected),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..4_u64, what()).prop_map(|(owner, what)| Operation::Subscribe(owner, what)),
        // One that nobody else has.
        6 => (10..1_000_u64, what()).prop_map(|(owner, what)| Operation::Subscribe(owner, what)),
        3 => (0..40_usize).prop_map(Operation::Cancel),
        4 => prop::sample::select(&NAMES[..]).prop_map(Operation::Event),
        1 => Just(Operation::Ready),
        1 => Just(Operation::Disconnected),
    ]
}

fn interests<M: Listenable>(
    owner: u64,
    number: SubscriptionId,
    filter: Filter,
    ear: impl Listener<M> + 'static,
) -> Interests {
    M::listen(number, Owner::alone(SubscriptionId(owner)), filter, ear)
}

proptest! {
    #[test]
    fn each_call_hears_what_it_subscribed_to_until_it_is_cancelled(
        operations in collection::vec(operation(), 1..100),
    ) {
        let (heard, counters, name) =
            (Arc::<Mutex<Vec<_>>>::default(), Counters::default(), Name::default());
        let mut subscribers = Subscribers::new(Overflow::Pause);
        let mut kept = EarlyEvents::Over;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut calls: Vec<(SubscriptionId, What)> = Vec::new();
        for (number, operation) in (0..).map(SubscriptionId).zip(operations) {
            let is_meant: Box<dyn Fn(&What) -> bool> = match operation {
                Operation::Subscribe(owner, what) => {
                    let ear = Ear(number, Arc::clone(&heard));
                    let interests = match what.clone() {
                        What::Events(filter) => interests::<Event>(owner, number, filter, ear),
                        What::Ready => interests::<Ready>(owner, number, Filter::all(), ear),
                        What::Disconnected => {
                            interests::<Disconnected>(owner, number, Filter::all(), ear)
                        }
                    };
                    let subscription =
                        NewSubscription { number, interests, is_once: false, overflow: None };
                    subscribers.subscribe(subscription, &mut kept, None, &name);
                    calls.push((number, what));
                    Box::new(|_| false)
                }
                Operation::Cancel(place) => {
                    if place < calls.len() {
                        subscribers.cancel(calls.remove(place).0);
                    }
                    Box::new(|_| false)
                }
                Operation::Event(name) => {
                    let payload = encode_event(name, &()).unwrap();
                    let event = Event { namespace: "/".into(), payload, answer: None, is_recoverable: false };
                    drop(subscribers.tell_event(event, true, &Name::default()));
                    Box::new(
                        move |what| matches!(what, What::Events(filter) if filter.matches(name)),
                    )
                }
                Operation::Ready => {
                    let (namespace, sid) = ("/".into(), "S".into());
                    let protocol = Protocol::Eio4;
                    let (recovered, max_silence) = (false, Duration::from_secs(45));
                    let ready = Ready { namespace, sid, protocol, recovered, max_silence };
                    subscribers.tell(&Notice::Ready(ready));
                    Box::new(|what| matches!(what, What::Ready))
                }
                Operation::Disconnected => {
                    let reason = Reason::ServerDisconnect;
                    let gone = Disconnected { namespace: "/".into(), reason };
                    subscribers.tell(&Notice::Disconnected(gone));
                    Box::new(|what| matches!(what, What::Disconnected))
                }
            };
            subscribers.poll(&mut cx, &name, &counters);
            let mut heard = std::mem::take(&mut *heard.lock().unwrap());
            heard.sort_unstable();
            let expected = calls.iter().filter(|(_, what)| is_meant(what));
            prop_assert!(heard.iter().eq(expected.map(|(number, _)| number)), "{:?}", heard);
        }
        for (number, _) in calls {
            subscribers.cancel(number);
        }
        subscribers.poll(&mut cx, &name, &counters);
        prop_assert!(subscribers.slots.all.iter().next().is_none() && subscribers.index.is_empty());
    }
}
