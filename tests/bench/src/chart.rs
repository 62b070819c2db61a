//! The table as a picture: the CPU time of each other client as a multiple of this client's.
//!
//! The line in the middle stands for this client. Bars to the right are clients that take more time, bars to
//! the left clients that take less; on a logarithmic scale, so that twice and half are equally long.

use std::path::Path;

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    peer::Peer,
    spec::Workload,
    table::{Cells, Row, figure},
};

const WIDTH: u32 = 900;
const LEFT: i32 = 250;
const RIGHT: i32 = 70;
const TOP: i32 = 78;
const BAR: i32 = 13;
const GAP: i32 = 14;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const OURS: RGBColor = RGBColor(0xD1, 0x49, 0x2E);

pub fn draw(
    path: &Path,
    rows: &[Row],
    peers: &[Peer],
    cells: &Cells,
    caption: &str,
) -> Result<(), String> {
    try_draw(path, rows, peers, cells, caption).map_err(|error| error.to_string())
}

fn try_draw(
    path: &Path,
    rows: &[Row],
    peers: &[Peer],
    cells: &Cells,
    caption: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let cpu = |row, peer| {
        cells.get(&(row, peer)).and_then(|cell| cell.as_ref().ok()).map(|report| report.cpu())
    };
    // The mix repeats the others, `busy` is not about the cost of a burst, and no other client has a bridge.
    let is_drawn =
        |row: &&Row| !matches!(row.workload, Workload::Mix | Workload::Busy | Workload::Bridge);
    let rows: Vec<(Row, f64)> = rows
        .iter()
        .filter(is_drawn)
        .filter_map(|&row| Some((row, cpu(row, Peer::Ours)?)))
        .collect();
    // Code written by hand is not a client.
    let clients: Vec<(Peer, RGBColor)> =
        peers.iter().filter_map(|&peer| Some((peer, color(peer)?))).collect();
    let ratios = rows.iter().flat_map(|&(row, ours)| {
        clients.iter().filter_map(move |&(peer, _)| Some(cpu(row, peer)? / ours))
    });
    let (least, most) =
        ratios.fold((1.0_f64, 1.0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
    if least >= most {
        return Err("there is nothing to draw: it takes this client, and another one".into());
    }
    let (least, most) = (least.log2().floor(), most.log2().ceil());
    let group = BAR * clients.len() as i32 + GAP;
    let bottom = TOP + group * rows.len() as i32;
    let notes = wrap(caption, 150);
    let height = bottom + 40 + 14 * notes.len() as i32;
    let x = |ratio: f64| {
        let part = (ratio.log2() - least) / (most - least);
        LEFT + (part * f64::from(WIDTH as i32 - LEFT - RIGHT)) as i32
    };

    let root = SVGBackend::new(path, (WIDTH, height as u32)).into_drawing_area();
    // White, since the text could not be read on a dark page.
    root.fill(&WHITE)?;
    let text = |size: i32, h, v| (FONT, size).into_font().color(&INK).pos(Pos::new(h, v));
    let title = "CPU time for each message, as a multiple of what actix-socketio takes";
    root.draw(&Text::new(title, (16, 12), text(16, HPos::Left, VPos::Top)))?;
    let mut left = 16;
    for &(peer, color) in &clients {
        let square = [(left, 42), (left + 10, 52)];
        root.draw(&Rectangle::new(square, color.filled()))?;
        root.draw(&Text::new(peer.title(), (left + 15, 41), text(12, HPos::Left, VPos::Top)))?;
        left += 34 + 7 * peer.title().len() as i32;
    }
    for power in least as i32..=most as i32 {
        let value = 2_f64.powi(power);
        let line = [(x(value), TOP - 4), (x(value), bottom)];
        root.draw(&PathElement::new(line, RGBColor(0xDD, 0xDD, 0xDD)))?;
        let label = if power < 0 {
            format!("1/{}", 2_i32.pow(power.unsigned_abs()))
        } else {
            format!("{value}")
        };
        root.draw(&Text::new(label, (x(value), bottom + 4), text(11, HPos::Center, VPos::Top)))?;
    }
    for (index, &(row, ours)) in rows.iter().enumerate() {
        let top = TOP + group * index as i32;
        let middle = top + (group - GAP) / 2;
        let name = row.titled(row.workload.what(), ", ");
        let at = (LEFT - 8, middle - 7);
        root.draw(&Text::new(name, at, text(11, HPos::Right, VPos::Center)))?;
        let at = (LEFT - 8, middle + 8);
        let ours_text = format!("{} µs", figure(ours));
        root.draw(&Text::new(ours_text, at, text(11, HPos::Right, VPos::Center).color(&OURS)))?;
        for (index, &(peer, color)) in clients.iter().enumerate() {
            let top = top + BAR * index as i32;
            let (label, at, side) = match cpu(row, peer) {
                Some(value) => {
                    let ratio = value / ours;
                    let (from, to) = (x(1.0), x(ratio));
                    let bar = [(from.min(to), top), (from.max(to), top + BAR - 2)];
                    root.draw(&Rectangle::new(bar, color.filled()))?;
                    let beside =
                        if ratio < 1.0 { (to - 4, HPos::Right) } else { (to + 4, HPos::Left) };
                    (format!("{} ×", figure(ratio)), beside.0, beside.1)
                }
                None if cells.contains_key(&(row, peer)) => {
                    ("fails".into(), x(1.0) + 4, HPos::Left)
                }
                None => continue,
            };
            let at = (at, top + BAR / 2);
            root.draw(&Text::new(label, at, text(10, side, VPos::Center)))?;
        }
    }
    let line = [(x(1.0), TOP - 4), (x(1.0), bottom)];
    root.draw(&PathElement::new(line, OURS.stroke_width(2)))?;
    let at = (x(1.0), bottom + 18);
    let name = Peer::Ours.title();
    root.draw(&Text::new(name, at, text(11, HPos::Center, VPos::Top).color(&OURS)))?;
    for (index, line) in notes.into_iter().enumerate() {
        let at = (16, bottom + 38 + 14 * index as i32);
        root.draw(&Text::new(line, at, text(10, HPos::Left, VPos::Top)))?;
    }
    root.present()?;
    Ok(())
}

/// The color of a client that is drawn.
fn color(peer: Peer) -> Option<RGBColor> {
    match peer {
        Peer::RustSocketio => Some(RGBColor(0x2F, 0x6D, 0xA8)),
        Peer::TfRustSocketio => Some(RGBColor(0x7F, 0xB2, 0xDC)),
        Peer::Js => Some(RGBColor(0xE0, 0xA8, 0x30)),
        Peer::Python => Some(RGBColor(0x4C, 0x9A, 0x5B)),
        _ => None,
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + word.len() < width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
