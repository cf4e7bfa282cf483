//! The QR code of a link, for the camera of a telephone.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::terminal;

/// Black on white, whatever the terminal's own colours are: there are cameras that do not read the opposite.
const COLOURS: (&str, &str) = ("\x1b[40;37;1m", "\x1b[0m");

/// Draws it in half blocks, with its quiet zone, for a terminal of this width.
///
/// # Errors
/// Why it cannot be drawn, and what to do.
pub(super) fn drawn(link: &str, columns: Option<usize>) -> Result<String, String> {
    if !terminal::is_utf8() {
        return Err("no QR code, for the locale is not UTF-8: LC_ALL=C.UTF-8 before jabberctl changes that".to_owned());
    }
    // A screen has no stains to correct.
    let code = QrCode::with_error_correction_level(link, EcLevel::L);
    let code = code.map_err(|error| format!("no QR code: {error}"))?;
    // The light is what is written: on a dark ground nothing is dark.
    let mut picture = code.render::<Dense1x2>();
    let picture = picture.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build();
    let width = picture.lines().next().unwrap_or_default().chars().count();
    if let Some(columns) = columns.filter(|&columns| columns < width) {
        return Err(format!("no QR code, for it needs {width} columns, and the terminal has {columns}"));
    }
    let (begin, end) = if terminal::is_able() { COLOURS } else { ("", "") };
    Ok(picture.lines().map(|line| format!("{begin}{line}{end}\n")).collect())
}
