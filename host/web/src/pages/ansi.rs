//! What a terminal would show of one line: colours and emphasis as classes of the style sheet, progress bars at their
//! last state, other escape sequences gone. The page of a log, the excerpts on the page of a build and the interface
//! (`styled=true`) take it from here, so that scripts and templates only ever make text.
//!
//! Each line starts plain: what one line switches on does not reach into the next, so that any range of a log looks the
//! same whichever line it starts with. A character takes one column, whatever its width.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};
use capstan_logs::MAX_LINE_TEXT;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::format::leads_to_the_web;

/// Differently styled parts of one line. What follows goes into the last, so that a line of nothing but escapes does not
/// become a page of markup.
const MAX_SPANS: usize = 500;
/// Columns that a line may fill by moving the cursor, in all: what is printed is bounded by what was sent, this
/// is not.
const MAX_MOVED: usize = 2 * MAX_LINE_TEXT;
/// How far a line may move the cursor to the right of what it has printed.
const MAX_GAP: usize = 1000;
/// The longest address of a link.
const MAX_LINK: usize = 2000;
/// Links of one line.
const MAX_LINKS: usize = 50;

/// A part of a line in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Classes of the style sheet, separated by blanks; empty if it is plain.
    pub(crate) class: String,
    /// What it says.
    pub(crate) text: String,
    /// Where it leads, always to the web.
    pub(crate) link: Option<String>,
}

/// `[class, text]` or `[class, text, link]`.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_seq(Some(2 + usize::from(self.link.is_some())))?;
        parts.serialize_element(&self.class)?;
        parts.serialize_element(&self.text)?;
        if let Some(link) = &self.link {
            parts.serialize_element(link)?;
        }
        parts.end()
    }
}

/// The parts of one line, in order. Work and result are bounded by the length of `text`, whatever it says.
pub(crate) fn spans(text: &str) -> Vec<Span> {
    // Most lines have nothing to interpret.
    if !text
        .bytes()
        .any(|byte| byte < b' ' || byte == 0x7f || byte == 0xc2)
    {
        return plain(text);
    }
    let mut screen = Screen::default();
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    for byte in text.bytes() {
        parser.advance(&mut screen, byte);
    }
    screen.spans()
}

fn plain(text: &str) -> Vec<Span> {
    let span = |text: &str| Span {
        class: String::new(),
        text: text.to_owned(),
        link: None,
    };
    (!text.is_empty()).then(|| span(text)).into_iter().collect()
}

/// How a character looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    text: Option<u8>,
    ground: Option<u8>,
    flags: u8,
    /// 0 is none, others count from 1 in `Screen::links`.
    link: u8,
}

const BOLD: u8 = 1;
const DIM: u8 = 2;
const ITALIC: u8 = 4;
const UNDERLINE: u8 = 8;
const INVERSE: u8 = 16;
const STRIKE: u8 = 32;

impl Style {
    fn set(&mut self, flag: u8) {
        self.flags |= flag;
    }

    fn clear(&mut self, flags: u8) {
        self.flags &= !flags;
    }

    /// The style sheet has `f0` to `f15` and `fi` for text, `g0` to `g15` and `gi` for the ground; the `i` are each
    /// other's usual colours.
    fn class(self) -> String {
        let (mut text, mut ground) = (colour('f', self.text), colour('g', self.ground));
        if self.flags & INVERSE != 0 {
            text = colour('f', self.ground).or_else(|| Some("fi".to_owned()));
            ground = colour('g', self.text).or_else(|| Some("gi".to_owned()));
        }
        let flags = [
            (BOLD, "bold"),
            (DIM, "dim"),
            (ITALIC, "italic"),
            (UNDERLINE, "underline"),
            (STRIKE, "strike"),
        ];
        let flags = flags.into_iter().filter(|(flag, _)| self.flags & flag != 0);
        let words = text
            .into_iter()
            .chain(ground)
            .chain(flags.map(|(_, word)| word.to_owned()));
        words.collect::<Vec<_>>().join(" ")
    }
}

fn colour(of: char, number: Option<u8>) -> Option<String> {
    number.map(|number| format!("{of}{number}"))
}

/// One row of a terminal.
#[derive(Default)]
struct Screen {
    cells: Vec<(char, Style)>,
    column: usize,
    style: Style,
    links: Vec<String>,
    moved: usize,
    /// What is left of the cursor was erased. It goes when the cursor returns: a progress bar starts anew. A terminal
    /// erases it in any case; a log keeps what nothing takes the place of.
    wiped: bool,
}

impl Screen {
    fn put(&mut self, character: char) {
        self.wiped = false;
        while self.cells.len() < self.column && self.may_move(1) {
            self.cells.push((' ', Style::default()));
        }
        self.column = self.column.min(self.cells.len());
        match self.cells.get_mut(self.column) {
            Some(cell) => *cell = (character, self.style),
            None => self.cells.push((character, self.style)),
        }
        self.column += 1;
    }

    fn may_move(&mut self, columns: usize) -> bool {
        self.moved += columns;
        self.moved <= MAX_MOVED
    }

    fn go_to(&mut self, column: usize) {
        if self.wiped && column < self.column {
            self.cells.clear();
        }
        self.wiped = false;
        self.column = column.min(self.cells.len() + MAX_GAP);
    }

    fn erase(&mut self, how: u16) {
        match how {
            0 => self.cells.truncate(self.column),
            1 | 2 if self.column == 0 => self.cells.clear(),
            1 | 2 => self.wiped = true,
            _ => {}
        }
    }

    fn spans(mut self) -> Vec<Span> {
        // Blanks that only the cursor made say nothing.
        while self
            .cells
            .last()
            .is_some_and(|cell| *cell == (' ', Style::default()))
            && self.moved > 0
        {
            self.cells.pop();
        }
        let mut spans: Vec<Span> = Vec::new();
        let mut last = Style::default();
        for (character, style) in self.cells {
            let enough = spans.len() >= MAX_SPANS;
            match spans.last_mut() {
                Some(span) if enough || style == last => span.text.push(character),
                _ => spans.push(Span {
                    class: style.class(),
                    text: character.to_string(),
                    link: self.links.get(usize::from(style.link).wrapping_sub(1)).cloned(),
                }),
            }
            last = style;
        }
        spans
    }

    fn restyle(&mut self, params: &Params) {
        let mut params = params.iter();
        while let Some(param) = params.next() {
            match param {
                [] => {}
                // `38;5;N` and `38;2;R;G;B` are many parameters, `38:5:N` and `38:2:…:R:G:B` one.
                [which @ (38 | 48)] => {
                    let mut next = || params.next().and_then(|param| param.first().copied());
                    let colour = match next() {
                        Some(5) => next().map(indexed),
                        Some(2) => next()
                            .zip(next())
                            .zip(next())
                            .map(|((r, g), b)| nearest([r, g, b])),
                        _ => None,
                    };
                    self.paint(*which, colour);
                }
                [which @ (38 | 48), 5, number, ..] => self.paint(*which, Some(indexed(*number))),
                [which @ (38 | 48), 2, .., r, g, b] => self.paint(*which, Some(nearest([*r, *g, *b]))),
                [4, 0, ..] => self.style.clear(UNDERLINE),
                [code, ..] => self.code(*code),
            }
        }
    }

    fn paint(&mut self, which: u16, colour: Option<u8>) {
        let place = if which == 38 {
            &mut self.style.text
        } else {
            &mut self.style.ground
        };
        *place = colour.or(*place);
    }

    fn code(&mut self, code: u16) {
        let style = &mut self.style;
        // The arms bound what is cast.
        match code {
            0 => {
                *style = Style {
                    link: style.link,
                    ..Style::default()
                }
            }
            1 => style.set(BOLD),
            2 => style.set(DIM),
            3 => style.set(ITALIC),
            4 | 21 => style.set(UNDERLINE),
            7 => style.set(INVERSE),
            9 => style.set(STRIKE),
            22 => style.clear(BOLD | DIM),
            23 => style.clear(ITALIC),
            24 => style.clear(UNDERLINE),
            27 => style.clear(INVERSE),
            29 => style.clear(STRIKE),
            30..=37 => style.text = Some((code - 30) as u8),
            39 => style.text = None,
            40..=47 => style.ground = Some((code - 40) as u8),
            49 => style.ground = None,
            90..=97 => style.text = Some((code - 90 + 8) as u8),
            100..=107 => style.ground = Some((code - 100 + 8) as u8),
            // Blinking and hiding too: a log hides nothing.
            _ => {}
        }
    }

    /// OSC 8: `8;PARAMETERS;ADDRESS`, whose address may hold semicolons; an empty one ends the link.
    fn link(&mut self, address: &[&[u8]]) {
        self.style.link = 0;
        let address = address.join(&b';');
        let Ok(address) = std::str::from_utf8(&address) else {
            return;
        };
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if address.len() > MAX_LINK || !leads_to_the_web(address) || address.contains(bad) {
            return;
        }
        let known = self.links.iter().position(|link| link == address);
        let place = known.unwrap_or(self.links.len());
        if place < MAX_LINKS {
            if known.is_none() {
                self.links.push(address.to_owned());
            }
            self.style.link = place as u8 + 1;
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, character: char) {
        match character {
            '\u{7f}' => self.put('\u{2421}'),
            '\u{80}'..='\u{9f}' => self.put(char::REPLACEMENT_CHARACTER),
            character => self.put(character),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.go_to(0),
            b'\x08' => self.go_to(self.column.saturating_sub(1)),
            // The bell, and what switches character sets.
            0x07 | 0x0e | 0x0f => {}
            // A tab stays one, so that what is copied is what was printed.
            b'\t' => self.put('\t'),
            // The others are shown by their own pictures.
            0..0x20 => {
                self.put(char::from_u32(0x2400 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params
            .iter()
            .next()
            .and_then(|param| param.first().copied())
            .unwrap_or(0);
        let count = usize::from(first.max(1));
        match action {
            b'm' => self.restyle(params),
            b'K' => self.erase(first),
            b'J' if first >= 2 => self.erase(2),
            b'C' => self.go_to(self.column + count),
            b'D' => self.go_to(self.column.saturating_sub(count)),
            b'G' => self.go_to(count - 1),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        // Of more parts than the parser takes, the last ones are not what was sent.
        if let [b"8", _, address @ ..] = params
            && params.len() < 16
        {
            self.link(address);
        }
    }
}

/// The sixteen colours as the common terminals show them, for measuring distance only.
const PALETTE: [[i32; 3]; 16] = [
    [0, 0, 0],
    [205, 0, 0],
    [0, 205, 0],
    [205, 205, 0],
    [0, 0, 238],
    [205, 0, 205],
    [0, 205, 205],
    [229, 229, 229],
    [127, 127, 127],
    [255, 0, 0],
    [0, 255, 0],
    [255, 255, 0],
    [92, 92, 255],
    [255, 0, 255],
    [0, 255, 255],
    [255, 255, 255],
];

/// A colour of the 256: sixteen of their own, a cube of 6 × 6 × 6, and 24 greys.
fn indexed(number: u16) -> u8 {
    let level = |step: u16| if step == 0 { 0 } else { 55 + 40 * step };
    match number {
        0..16 => number as u8,
        16..232 => {
            let number = number - 16;
            nearest([level(number / 36), level(number / 6 % 6), level(number % 6)])
        }
        _ => nearest([8 + 10 * (number.min(255) - 232); 3]),
    }
}

/// The one of the sixteen that is nearest to red, green and blue.
fn nearest(rgb: [u16; 3]) -> u8 {
    let distance = |colour: &[i32; 3]| -> i32 {
        let parts = colour
            .iter()
            .zip(rgb)
            .map(|(a, b)| (a - i32::from(b.min(255))).pow(2));
        parts.sum()
    };
    let best = PALETTE
        .iter()
        .enumerate()
        .min_by_key(|(_, colour)| distance(colour));
    best.map_or(0, |(number, _)| number as u8)
}

#[cfg(test)]
mod tests;
