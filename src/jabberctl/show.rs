//! What the server answers, as tables for people or JSON for scripts.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use jabber::admin::{Column, Command, Shows, Unit};
use jabber::xmpp::datetime;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::{has_reader, qr, terminal};

/// Rows that are looked at before the widths of the columns are settled.
const ROWS_HELD: usize = 200;
/// Characters of the bar.
const BAR: usize = 30;
/// Characters of a line, where the terminal does not say.
const COLUMNS: usize = 80;
/// Columns of a cell on a terminal, but for the last of a line: one long name must not move all others out of sight. Behind
/// a pipe nothing is cut, but no other line is filled up further: one name would make megabytes of blanks.
const CELL: usize = 50;

/// The answer of one command.
pub(super) struct Show {
    shows: Shows,
    json: bool,
    held: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    rows: usize,
    /// A line is to be wiped that says how it goes.
    has_line: bool,
    /// The width of the terminal that shows how it goes, once it was asked for.
    room: Option<usize>,
    /// The answer goes to eyes. A program behind a pipe gets every name whole.
    clips: bool,
}

impl Show {
    pub(super) fn new(command: &Command, json: bool) -> Show {
        let (shows, clips) = (command.shows, io::stdout().is_terminal());
        Show { shows, json, held: Vec::new(), widths: None, rows: 0, has_line: false, room: None, clips }
    }

    pub(super) fn row(&mut self, row: &Value) -> io::Result<()> {
        self.wipe();
        self.rows = self.rows.saturating_add(1);
        if self.json {
            let mut out = io::stdout().lock();
            return match self.shows {
                Shows::Table(_) => write!(out, "{}{}", if self.rows == 1 { "[" } else { ",\n " }, json(row)),
                _ => writeln!(out, "{}", json(row)),
            };
        }
        match self.shows {
            Shows::Record(columns) => {
                record(columns, row)?;
                self.links(columns, row)
            }
            Shows::Table(columns) => {
                let mut cells: Vec<String> = columns.iter().map(|column| cell_of(column, row)).collect();
                if let (true, Some((_, others))) = (self.clips, cells.split_last_mut()) {
                    others.iter_mut().for_each(clip);
                }
                match &self.widths {
                    Some(widths) => print(&mut io::stdout().lock(), columns, widths, &cells),
                    None => {
                        self.held.push(cells);
                        if self.held.len() >= ROWS_HELD { self.release() } else { Ok(()) }
                    }
                }
            }
            Shows::Nothing => Ok(()),
        }
    }

    /// What a camera can read is drawn, too, or it is said why not.
    fn links(&mut self, columns: &[Column], row: &Value) -> io::Result<()> {
        let is_seen = io::stdout().is_terminal();
        for column in columns.iter().filter(|column| is_seen && matches!(column.unit, Unit::Link)) {
            let Some(link) = row.get(column.key).and_then(Value::as_str) else { continue };
            match qr::drawn(link, terminal::columns(io::stdout().as_fd())) {
                Ok(drawn) => write!(io::stdout().lock(), "\n{drawn}")?,
                Err(why) => self.note(&why)?,
            }
        }
        io::stdout().flush()
    }

    /// Settles the widths, and prints what was held.
    fn release(&mut self) -> io::Result<()> {
        let Shows::Table(columns) = self.shows else { return Ok(()) };
        if self.widths.is_some() || self.held.is_empty() {
            return Ok(());
        }
        let titles: Vec<String> = columns.iter().map(|column| column.title.to_uppercase()).collect();
        let width = |at: usize| {
            let cells = std::iter::once(&titles).chain(&self.held).filter_map(|row| row.get(at));
            cells.map(|cell| cell.width()).max().unwrap_or(0).min(CELL)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let mut out = io::BufWriter::new(io::stdout().lock());
        for row in std::iter::once(&titles).chain(&self.held) {
            print(&mut out, columns, &widths, row)?;
        }
        out.flush()?;
        self.held.clear();
        self.widths = Some(widths);
        Ok(())
    }

    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.wipe();
        writeln!(io::stderr(), "note: {}", plain(text))
    }

    /// How far long work is: `done` of `all` of these things.
    pub(super) fn progress(&mut self, done: u64, all: u64, things: &str) -> io::Result<()> {
        self.passing(|room| bar(done, all, things, room))
    }

    /// Nothing more comes for now: whoever waits for a table that is not whole yet sees its last row.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let Some(row) = self.held.last().map(|row| row.join("  ")) else { return Ok(()) };
        // A full line may wrap, and then it is not the last one that is wiped.
        self.passing(|room| beginning(&row, room.saturating_sub(1)).to_owned())
    }

    /// Draws a line that is wiped before anything else is shown, for a terminal of this width.
    fn passing(&mut self, text: impl FnOnce(usize) -> String) -> io::Result<()> {
        if self.json || !has_reader() || !terminal::is_able() {
            return Ok(());
        }
        let room = *self.room.get_or_insert_with(|| terminal::columns(io::stderr().as_fd()).unwrap_or(COLUMNS));
        self.has_line = true;
        let mut out = io::stderr().lock();
        write!(out, "\r\x1b[K{}", text(room))?;
        out.flush()
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.has_line) {
            // A terminal that is gone shows no line.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// It failed in the middle: what is there is shown, and JSON is left open, so that nobody takes it for all.
    pub(super) fn break_off(&mut self) -> io::Result<()> {
        self.wipe();
        self.release()?;
        let mut out = io::stdout().lock();
        if self.json && matches!(self.shows, Shows::Table(_)) && self.rows > 0 {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// The server said all that it had to say, and that it is no success. Where it said nothing there is no list.
    pub(super) fn refused(&mut self) -> io::Result<()> {
        if self.rows == 0 { self.break_off() } else { self.end() }
    }

    /// No more rows come.
    fn end(&mut self) -> io::Result<()> {
        self.wipe();
        self.release()?;
        let mut out = io::stdout().lock();
        if self.json && matches!(self.shows, Shows::Table(_)) {
            out.write_all(if self.rows == 0 { b"[]\n" } else { b"]\n" })?;
        }
        out.flush()
    }

    /// It worked.
    pub(super) fn done(&mut self, text: &str) -> io::Result<()> {
        self.end()?;
        let mut out = io::stdout().lock();
        match (self.json, self.shows) {
            (true, Shows::Nothing) => writeln!(out, "{}", json(&json!({ "done": text })))?,
            (false, _) if !text.is_empty() => writeln!(out, "{}", plain(text))?,
            _ => {}
        }
        out.flush()
    }
}

/// The bar with its figures, in one line of a terminal of this width.
fn bar(done: u64, all: u64, things: &str, columns: usize) -> String {
    let all = all.max(1);
    let done_of_it = done.min(all);
    let figures = format!("{:3} %  {done} of {all} {things}", done_of_it.saturating_mul(100) / all);
    // A full line may wrap, and then it is not the last one that is wiped.
    let room = columns.saturating_sub(1);
    let length = BAR.min(room.saturating_sub(figures.chars().count() + "[] ".len()));
    if length == 0 {
        return figures.chars().take(room).collect();
    }
    let filled = usize::try_from(done_of_it.saturating_mul(length as u64) / all).unwrap_or(0);
    format!("[{}{}] {figures}", "#".repeat(filled), ".".repeat(length.saturating_sub(filled)))
}

/// Leaves the beginning of a long cell.
fn clip(cell: &mut String) {
    if cell.width() > CELL {
        cell.truncate(beginning(cell, CELL.saturating_sub(3)).len());
        cell.push_str("...");
    }
}

/// What of a text fits into so many columns of a terminal (UAX #11: letters of the far east take two, marks none).
fn beginning(text: &str, columns: usize) -> &str {
    let ends = text.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
    let end = ends.take_while(|end| text.get(..*end).is_some_and(|part| part.width() <= columns)).last();
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn print(out: &mut dyn io::Write, columns: &[Column], widths: &[usize], cells: &Vec<String>) -> io::Result<()> {
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        let room = " ".repeat(width.saturating_sub(cell.width()));
        let right = matches!(column.unit, Unit::Number | Unit::Bytes | Unit::Seconds | Unit::Millis);
        match right {
            true => line.push_str(&format!("{room}{cell}  ")),
            false => line.push_str(&format!("{cell}{room}  ")),
        }
    }
    writeln!(out, "{}", line.trim_end())
}

fn record(columns: &[Column], row: &Value) -> io::Result<()> {
    let width = columns.iter().map(|column| column.title.chars().count()).max().unwrap_or(0);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for column in columns.iter().filter(|column| row.get(column.key).is_some()) {
        let room = " ".repeat(width.saturating_sub(column.title.chars().count()));
        writeln!(out, "{}{room}  {}", column.title, cell_of(column, row))?;
    }
    out.flush()
}

fn cell_of(column: &Column, row: &Value) -> String {
    match (column.unit, row.get("online")) {
        (Unit::Seen, Some(Value::Bool(true))) => "now".to_owned(),
        _ => cell(column.unit, row.get(column.key)),
    }
}

/// A value as people read it, in one line that tells a terminal nothing: some of it comes from strangers.
fn cell(unit: Unit, value: Option<&Value>) -> String {
    let value = value.unwrap_or(&Value::Null);
    let text = match (unit, value) {
        (Unit::Moment | Unit::Seen, Value::Null) => "never".to_owned(),
        (_, Value::Null) => "-".to_owned(),
        (Unit::YesNo, Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        (Unit::Bytes, value) => value.as_u64().map_or_else(|| value.to_string(), bytes),
        (Unit::Seconds, value) => value.as_u64().map_or_else(|| value.to_string(), seconds),
        (Unit::Millis, value) => value.as_u64().map_or_else(|| value.to_string(), |millis| format!("{millis} ms")),
        (Unit::Moment | Unit::Seen, value) => value.as_u64().map_or_else(|| value.to_string(), moment),
        (_, Value::String(text)) => text.clone(),
        (_, Value::Array(items)) => {
            let items = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            items.collect::<Vec<_>>().join(", ")
        }
        (_, value) => value.to_string(),
    };
    escaped(&text, |_| false)
}

/// A character that a terminal obeys instead of showing it: controls, what turns the direction of what follows, and what
/// is not seen, so that two names look like one.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// A text of one or more lines that tells a terminal nothing.
pub(super) fn plain(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// What a terminal would obey stands as in the log: `\u{1b}`.
fn escaped(text: &str, is_meant: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_obeyed(c) || is_meant(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                // A string takes all.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    out
}

/// A value as JSON that tells a terminal nothing: it means the same with what is obeyed written as `\u009b`, and that can
/// stand within strings only.
pub(super) fn json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if !is_obeyed(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // A string takes all.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if shown < 1024.0 {
            break;
        }
        (shown, unit) = (shown / 1024.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{shown:.1} {unit}") }
}

fn seconds(count: u64) -> String {
    let (days, hours, minutes) = (count / 86_400, count / 3600 % 24, count / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{:02} min", count % 60),
        (0, _) => format!("{hours}:{minutes:02} h"),
        (1, _) => format!("1 day {hours}:{minutes:02} h"),
        _ => format!("{days} days {hours}:{minutes:02} h"),
    }
}

fn moment(unix_seconds: u64) -> String {
    datetime::stamp(unix_seconds.saturating_mul(1000)).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_strangers() {
        assert_eq!(
            plain("one\ntwo \u{1b}[2J\u{9b}2J\r\u{7}é\u{202E}nimda"),
            "one\ntwo \\u{1b}[2J\\u{9b}2J\\r\\u{7}é\\u{202e}nimda"
        );
        let value = json!({ "a\u{9b}": ["\u{1b}\n\u{7f}\u{202E}é\u{E0041}\\", 1] });
        let text = json(&value);
        assert_eq!(text, r#"{"a\u009b":["\u001b\n\u007f\u202eé\udb40\udc41\\",1]}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn one_long_name_made_all_rows_wide() {
        let (at, over) = ("ä".repeat(CELL), "ä".repeat(1_023));
        for (long, shown) in [(&at, at.clone()), (&over, format!("{}...", "ä".repeat(CELL - 3)))] {
            let mut cell = long.clone();
            clip(&mut cell);
            assert_eq!(cell, shown);
        }
    }

    #[test]
    fn a_long_bar_was_wrapped_and_never_wiped() {
        let rows = [
            (0, 5, 80, "[..............................]   0 %  0 of 5 things"),
            (5, 5, 80, "[##############################] 100 %  5 of 5 things"),
            (7, 5, 80, "[##############################] 100 %  7 of 5 things"),
            (0, 0, 80, "[..............................]   0 %  0 of 1 things"),
            (3, 5, 36, "[#######.....]  60 %  3 of 5 things"),
            (3, 5, 24, " 60 %  3 of 5 things"),
            (3, 5, 9, " 60 %  3"),
            (3, 5, 0, ""),
        ];
        for (done, all, columns, shown) in rows {
            assert_eq!(bar(done, all, "things", columns), shown);
            assert!(shown.len() < columns.max(1));
        }
        bar(u64::MAX, u64::MAX, "things", usize::MAX);
    }

    #[test]
    fn values_are_shown_as_people_read_them() {
        let rows = [
            (Unit::Bytes, json!(17), "17 B"),
            (Unit::Bytes, json!(3_565_158), "3.4 MiB"),
            (Unit::Seconds, json!(59), "0:59 min"),
            (Unit::Seconds, json!(3_660), "1:01 h"),
            (Unit::Seconds, json!(183_840), "2 days 3:04 h"),
            (Unit::YesNo, json!(true), "yes"),
            (Unit::Moment, json!(null), "never"),
            (Unit::Number, json!(null), "-"),
            (Unit::Text, json!(["a", "b"]), "a, b"),
            (Unit::Text, json!("a\u{1b}[31mb\nc\td"), "a\\u{1b}[31mb\\nc\\td"),
        ];
        for (unit, value, expected) in rows {
            assert_eq!(cell(unit, Some(&value)), expected);
        }
    }
}
