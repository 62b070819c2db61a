//! The table as a picture: a group of bars for each workload, on a logarithmic scale.

use std::path::Path;

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    peer::Peer,
    spec::{Road, Workload},
    table::{Cells, Row, figure, size_text},
};

const WIDTH: u32 = 900;
const LEFT: i32 = 190;
const RIGHT: i32 = 70;
const TOP: i32 = 90;
const BAR: i32 = 13;
const GAP: i32 = 14;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

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
    let all: Vec<f64> =
        rows.iter().flat_map(|row| peers.iter().filter_map(|peer| cpu(*row, *peer))).collect();
    let (least, most) = all
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), value| (least.min(*value), most.max(*value)));
    if all.is_empty() {
        return Err("there is nothing to draw".into());
    }
    let (least, most) = (least.log10().floor(), most.log10().ceil());
    let group = BAR * peers.len() as i32 + GAP;
    let bottom = TOP + group * rows.len() as i32;
    let notes = wrap(caption, 150);
    let height = bottom + 24 + 14 * notes.len() as i32;
    let x = |value: f64| {
        let part = (value.log10() - least) / (most - least).max(1.0);
        LEFT + (part * f64::from(WIDTH as i32 - LEFT - RIGHT)) as i32
    };

    let root = SVGBackend::new(path, (WIDTH, height as u32)).into_drawing_area();
    // White, or it could not be read on a dark page.
    root.fill(&WHITE)?;
    let text = |size: i32, h, v| (FONT, size).into_font().color(&INK).pos(Pos::new(h, v));
    let title = "CPU time of the client per message, in µs (less is better, logarithmic)";
    root.draw(&Text::new(title, (16, 12), text(16, HPos::Left, VPos::Top)))?;
    let (mut left, mut top) = (16, 42);
    for &peer in peers {
        let width = 30 + 7 * peer.title().len() as i32;
        if left + width > WIDTH as i32 {
            (left, top) = (16, top + 18);
        }
        let square = [(left, top), (left + 10, top + 10)];
        root.draw(&Rectangle::new(square, color(peer).filled()))?;
        root.draw(&Text::new(peer.title(), (left + 15, top - 1), text(12, HPos::Left, VPos::Top)))?;
        left += width;
    }
    for power in least as i32..=most as i32 {
        let value = 10_f64.powi(power);
        root.draw(&PathElement::new(
            [(x(value), TOP - 4), (x(value), bottom)],
            RGBColor(0xDD, 0xDD, 0xDD),
        ))?;
        let label = if power < 0 { format!("{value}") } else { format!("{value:.0}") };
        root.draw(&Text::new(label, (x(value), bottom + 4), text(11, HPos::Center, VPos::Top)))?;
    }
    for (index, &row) in rows.iter().enumerate() {
        let top = TOP + group * index as i32;
        let middle = top + (group - GAP) / 2;
        let mut name = row.workload.what().to_owned();
        if row.workload != Workload::Conns {
            name = format!("{name}, {}", size_text(row.size));
        }
        if row.road != Road::WebSocket {
            name = format!("{name}, {}", row.road.name());
        }
        root.draw(&Text::new(name, (LEFT - 8, middle), text(11, HPos::Right, VPos::Center)))?;
        for (index, &peer) in peers.iter().enumerate() {
            let top = top + BAR * index as i32;
            let label = match cpu(row, peer) {
                Some(value) => {
                    let bar = [(LEFT, top), (x(value).max(LEFT + 1), top + BAR - 2)];
                    root.draw(&Rectangle::new(bar, color(peer).filled()))?;
                    (figure(value), x(value) + 4)
                }
                None if cells.contains_key(&(row, peer)) => ("fails".into(), LEFT + 4),
                None => continue,
            };
            let at = (label.1, top + BAR / 2);
            root.draw(&Text::new(label.0, at, text(10, HPos::Left, VPos::Center)))?;
        }
    }
    for (index, line) in notes.into_iter().enumerate() {
        let at = (16, bottom + 22 + 14 * index as i32);
        root.draw(&Text::new(line, at, text(10, HPos::Left, VPos::Top)))?;
    }
    root.present()?;
    Ok(())
}

fn color(peer: Peer) -> RGBColor {
    match peer {
        Peer::Ours => RGBColor(0xD1, 0x49, 0x2E),
        Peer::Awc => RGBColor(0x6B, 0x72, 0x80),
        Peer::Actor => RGBColor(0x8A, 0x7F, 0xA8),
        Peer::Tungstenite => RGBColor(0xB0, 0xB5, 0xBD),
        Peer::RustSocketio => RGBColor(0x2F, 0x6D, 0xA8),
        Peer::Js => RGBColor(0xE0, 0xA8, 0x30),
        Peer::Python => RGBColor(0x4C, 0x9A, 0x5B),
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
