//! How much may wait in either direction: outgoing events hold room in a [quota](send_quota), incoming ones
//! in a [window](receive_window).

pub(crate) mod receive_window;
pub(crate) mod send_quota;
