//! A function of the application that hears events.

use std::{any::type_name, cell::RefCell};

use bytestring::ByteString;

use crate::{
    actor::{
        namespace_ref::Name,
        subscribers::{listener::Listener, sent::Sent},
    },
    message::Event,
    runtime::guard,
};

/// A function. It is not called again once it has panicked.
pub(crate) struct Function<F> {
    call: RefCell<Option<F>>,
    namespace: Name,
    name: ByteString,
}

impl<F> Function<F> {
    /// One for events of this name.
    pub(crate) fn new(function: F, namespace: Name, name: ByteString) -> Self {
        Self { call: RefCell::new(Some(function)), namespace, name }
    }
}

impl<F: FnMut(Event) + Send> Listener for Function<F> {
    fn send(&self, event: Event) -> Sent {
        let mut function = self.call.borrow_mut();
        let Some(call) = function.as_mut() else { return Sent::Gone };
        let Err(panicked) = guard::run(|| call(event)) else { return Sent::Taken };
        let (namespace, name, kind) = (&self.namespace, &self.name, self.kind());
        log::warn!("{namespace}: the function for {name:?} ({kind}) {panicked}; it is forgotten");
        guard::dispose(function.take());
        Sent::Failed
    }

    fn is_connected(&self) -> bool {
        self.call.borrow().is_some()
    }

    fn kind(&self) -> &'static str {
        type_name::<F>()
    }
}
