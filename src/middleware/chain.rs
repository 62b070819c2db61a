//! The middlewares of a namespace, which its events pass one after the other.

use std::{any::type_name, fmt, sync::Arc};

use super::{Auth, Flow, Middleware};
use crate::{
    display::{Excerpt, Name},
    guard::{self, Kept, Panicked},
    logs::{repeated, say},
    message::Event,
    proto::{emit::Emit, namespace},
    runtime::provider::JoinContext,
    stats::Counters,
};

/// The middlewares of one namespace, in the order in which incoming events pass them.
#[derive(Clone, Default)]
pub(crate) struct List(Arc<[Arc<One>]>);

struct One {
    middleware: Kept<Box<dyn Middleware>>,
    /// The name of its type.
    name: &'static str,
}

impl List {
    pub(crate) fn push<M: Middleware>(&mut self, middleware: M) {
        let middleware: Box<dyn Middleware> = Box::new(middleware);
        let last = Arc::new(One { middleware: Kept::new(middleware), name: type_name::<M>() });
        self.0 = self.0.iter().cloned().chain([last]).collect();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("len", &self.len()).finish()
    }
}

/// The chain that the events of a namespace pass.
#[derive(Debug)]
pub(crate) struct Chain {
    list: List,
    /// The namespace, for logs.
    name: Arc<Name>,
    counters: Arc<Counters>,
}

impl Chain {
    pub(crate) fn new(list: List, name: Arc<Name>, counters: Arc<Counters>) -> Self {
        Self { list, name, counters }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.0.is_empty()
    }

    /// Passes an incoming event through the chain. `None` if a middleware stopped it.
    pub(crate) fn incoming(&self, event: Event) -> Option<Event> {
        let (payload, asked) = (event.payload.clone(), event.answer.clone());
        let about = (&*self.name, payload.name());
        let flow = pass(self.list.0.iter(), about, event, Middleware::incoming);
        match flow {
            Flow::Next(event) => return Some(event),
            Flow::Drop(reason) => {
                let (namespace, name) = (&self.name, Excerpt(payload.name()));
                say!(log::Level::Debug, namespace, "the event {name} is dropped: {reason}");
                self.counters.filtered_in.add(1);
            }
            Flow::Answer(payload) => {
                if let Some(Err(error)) = asked.map(|asked| asked.answer(payload.to_reply())) {
                    repeated!(log::Level::Warn, self.name, "an answer was not sent: {error}");
                }
            }
        }
        None
    }

    /// Passes an outgoing event through the chain.
    pub(crate) fn outgoing(&self, namespace: &str, emit: Emit) -> Flow<Emit> {
        let payload = emit.payload.clone();
        let about = (&*self.name, payload.name());
        let ask = |one: &dyn Middleware, emit| one.outgoing(namespace, emit);
        let flow = pass(self.list.0.iter().rev(), about, emit, ask);
        if let Flow::Drop(reason) = &flow {
            let (namespace, name) = (&self.name, Excerpt(payload.name()));
            say!(log::Level::Debug, namespace, "the event {name} is not emitted: {reason}");
            self.counters.filtered_out.add(1);
        }
        flow
    }

    /// Passes a request to join through the chain.
    pub(crate) fn join(
        &self,
        join: &JoinContext,
        auth: Option<&namespace::Auth>,
    ) -> Result<Option<namespace::Auth>, String> {
        let fields = auth.and_then(|auth| serde_json::from_str(&auth.0).ok());
        let mut fields: Auth = fields.unwrap_or_default();
        for one in self.list.0.iter().rev() {
            let Some(middleware) = one.middleware.get() else { continue };
            guard::run(|| middleware.join(join, &mut fields)).unwrap_or_else(|panicked| {
                repeated!(
                    log::Level::Warn,
                    self.name,
                    "the middleware {} {panicked} (join)",
                    one.name
                );
                Err(said(&panicked))
            })?;
        }
        if auth.is_none() && fields.is_empty() {
            return Ok(None);
        }
        Ok(Some(namespace::Auth(serde_json::Value::Object(fields).to_string().into())))
    }
}

fn said(panicked: &Panicked) -> String {
    format!("a middleware {panicked}")
}

/// From one middleware to the next. `about` is the namespace and the event's name.
fn pass<'a, T>(
    mut list: impl Iterator<Item = &'a Arc<One>>,
    about: (&Name, &str),
    event: T,
    ask: impl Fn(&dyn Middleware, T) -> Flow<T>,
) -> Flow<T> {
    let passed = list.try_fold(event, |event, one| {
        let Some(middleware) = one.middleware.get() else { return Ok(event) };
        let flow = guard::run(|| ask(&**middleware, event)).unwrap_or_else(|panicked| {
            let (namespace, name) = (about.0, Excerpt(about.1));
            repeated!(
                log::Level::Warn,
                namespace,
                "the middleware {} {panicked} (event {name})",
                one.name
            );
            Flow::Drop(said(&panicked).into())
        });
        match flow {
            Flow::Next(event) => Ok(event),
            flow => Err(flow),
        }
    });
    passed.map_or_else(|flow| flow, Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backpressure::receive_window::Load,
        middleware::{NameList, outgoing},
    };

    #[test]
    fn what_goes_out_passes_the_last_one_first_and_what_stops_it_stops_it() {
        let chain = |list: &List| Chain::new(list.clone(), Arc::default(), Arc::default());
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
}
