use super::*;
use crate::backpressure::receive_window::Load;

#[test]
fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
    let second = Duration::from_secs(1);
    let limit = RateLimit::outgoing(4, second);
    let start = Instant::now();
    let passed = |at: Duration| (0..10).filter(|_| limit.admits(start + at)).count();
    assert_eq!(passed(Duration::ZERO), 4);
    assert_eq!(passed(Duration::from_millis(249)), 0);
    assert_eq!(passed(second / 4), 1);
    assert_eq!(passed(second), 3);
    assert_eq!(passed(100 * second), 4, "a longer rest is worth no more");
    for (events, per, expected) in [
        (0, second, 0),
        (0, Duration::ZERO, 0),
        (1, Duration::ZERO, 10),
        (u32::MAX, Duration::from_nanos(1), 10),
        (1, Duration::MAX, 1),
    ] {
        let limit = RateLimit::incoming(events, per);
        assert_eq!((0..10).filter(|_| limit.admits(start)).count(), expected, "{limit:?}");
    }
}

#[test]
fn a_rate_holds_the_way_that_it_was_made_for() {
    let second = Duration::from_secs(1);
    let out = || Emit::new("e", ()).unwrap();
    let come_in = |limit: &RateLimit| {
        let event = Event { namespace: "/".into(), payload: out().payload, answer: None };
        matches!(limit.incoming(event), Flow::Next(_))
    };
    let go_out = |limit: &RateLimit| matches!(limit.outgoing("/", out()), Flow::Next(_));
    for (limit, expected) in [
        (RateLimit::incoming(1, second), [true, true, false]),
        (RateLimit::outgoing(1, second), [true, true, true]),
        (RateLimit::both(1, second), [true, false, false]),
    ] {
        let passed = [come_in(&limit), go_out(&limit), come_in(&limit)];
        assert_eq!(passed, expected, "{limit:?}");
    }
}

#[test]
fn what_goes_out_passes_the_last_one_first_and_what_stops_it_stops_it() {
    let chain = |list: &List| Chain::new(list.clone(), Name::default(), Arc::default());
    let mut list = List::default();
    assert!(chain(&list).is_empty());
    for letter in ["a", "b"] {
        list.push(outgoing(move |namespace, emit| {
            let (name, mut args): (_, Vec<String>) =
                (emit.name().to_owned(), emit.payload().decode::<(Vec<String>,)>().unwrap().0);
            args.push(format!("{letter}{namespace}"));
            Emit::new(&name, (args,)).map_or_else(Flow::failed, Flow::Next)
        }));
    }
    let emit = |name| Emit::new(name, (Vec::<String>::new(),)).unwrap();
    let passed = chain(&list).outgoing("/n", emit("e"));
    assert_eq!(passed, Flow::Next(Emit::new("e", (["b/n", "a/n"].to_vec(),)).unwrap()));
    list.push(outgoing(|_, emit| match emit.name() {
        "panic" => panic!("for the test"),
        "asks" => Flow::answer(7),
        _ => Flow::Next(emit),
    }));
    list.push(NameList::outgoing(["e", "panic", "asks"]));
    let chain = chain(&list);
    assert!(matches!(chain.outgoing("/n", emit("e")), Flow::Next(_)));
    assert_eq!(
        chain.outgoing("/n", emit("panic")),
        Flow::dropped("a middleware panicked: for the test")
    );
    assert_eq!(chain.outgoing("/n", emit("asks")), Flow::answer(7));
    assert_eq!(chain.outgoing("/n", emit("x")), Flow::dropped("its name is not on the list"));
    let stats = chain.counters.snapshot(Load::default(), Load::default(), 0);
    assert_eq!((stats.filtered_out, stats.filtered_in), (2, 0));
}
