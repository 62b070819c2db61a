//! Packets in msgpack, of which the beginning is there.

use rmp::decode::{read_array_len, read_bin_len, read_int, read_map_len, read_str_len};

use super::{Event, Packet};

/// The answer to a client that joins.
pub(super) const JOINED: &[u8] = b"\x83\xa4type\x00\xa4data\x81\xa3sid\xa1x\xa3nsp\xa1/";

/// `type`, and maybe `id` and `nsp`; `data`: an array with the name of the event, and `{"n": 7, …` or an
/// attachment. What follows is not looked at.
pub(super) fn parse(mut head: &[u8]) -> Option<Packet<'_>> {
    let rest = &mut head;
    let (mut kind, mut id) = (0, None);
    for _ in 0..read_map_len(rest).ok()? {
        match text(rest)? {
            b"type" => kind = read_int(rest).ok()?,
            b"id" => id = Some(read_int(rest).ok()?),
            b"data" if kind == 2 => return event(id, rest).map(Packet::Event),
            _ => drop(text(rest)?),
        }
    }
    (kind == 0).then_some(Packet::Join(b"/"))
}

fn event<'a>(id: Option<u64>, rest: &mut &'a [u8]) -> Option<Event<'a>> {
    read_array_len(rest).ok()?;
    let mut event = Event { id, name: text(rest)?, number: None, attachment: None };
    if let Ok(length) = read_bin_len(&mut &**rest) {
        read_bin_len(rest).ok()?;
        event.attachment = Some((rest, length as usize));
    } else if read_map_len(rest).is_ok() && text(rest)? == b"n" {
        event.number = read_int(rest).ok();
    }
    Some(event)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_str_len(rest).ok()?;
    rest.split_off(..length as usize)
}
