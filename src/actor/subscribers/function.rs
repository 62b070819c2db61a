//! A function of the application that gets messages.

use std::{any::type_name, cell::RefCell, sync::Arc};

use crate::{
    actor::subscribers::{listener::Listener, sent::Sent},
    display::Name,
    guard,
    logs::repeated,
};

/// A function. It is not called again once it has panicked.
pub(crate) struct Function<F> {
    call: RefCell<Option<F>>,
    namespace: Arc<Name>,
    /// What it is for, for the log.
    what: String,
}

impl<F> Function<F> {
    pub(crate) fn new(function: F, namespace: Arc<Name>, what: String) -> Self {
        Self { call: RefCell::new(Some(function)), namespace, what }
    }
}

impl<M, F: FnMut(M) + Send> Listener<M> for Function<F> {
    fn send(&self, message: M) -> Sent {
        let mut function = self.call.borrow_mut();
        let Some(call) = function.as_mut() else { return Sent::Gone };
        let Err(panicked) = guard::run(|| call(message)) else { return Sent::Taken };
        let (namespace, what, kind) = (&self.namespace, &self.what, type_name::<F>());
        repeated!(
            log::Level::Warn,
            namespace,
            "the function for {what} ({kind}) {panicked}; it is not called again"
        );
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
