//! How much may wait, either way: what goes out holds a [quota](send_quota), what comes in is held to a
//! [window](receive_window).

pub(crate) mod receive_window;
pub(crate) mod send_quota;
