//! What was found in the bytes, for people or in JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use moqt_engine::Draft;
use moqt_engine::wire::{Annotated, Field, FieldValue};
use serde_json::{Value, json};

use super::What;

/// Most bytes of a field that are shown to people; the rest is counted.
const SHOWN: usize = 8;
/// Most bytes of a field in JSON.
const IN_JSON: usize = 1024;
/// Most characters of text that are shown to people.
const TEXT: usize = 48;

/// Writes what was found as it is found.
pub(super) struct Report<'a, W> {
    out: W,
    bytes: &'a [u8],
    what: What,
    draft: Draft,
    json: bool,
    /// Digits of an offset.
    width: usize,
}

impl<'a, W: Write> Report<'a, W> {
    pub(super) fn new(out: W, bytes: &'a [u8], what: What, draft: Draft, json: bool) -> Self {
        let width = bytes.len().to_string().len();
        Self { out, bytes, what, draft, json, width }
    }

    pub(super) fn begin(&mut self) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let what = match self.what {
            What::Control => "control messages",
            What::Data => "a data stream",
            What::Datagram => "a datagram",
        };
        writeln!(self.out, "{what} of {}, {} bytes", self.draft, self.bytes.len())
    }

    /// A message, header, object or datagram, and what is wrong with it.
    pub(super) fn part(&mut self, part: &Annotated) -> io::Result<()> {
        if self.json {
            let line = self.json(part);
            return writeln!(self.out, "{line}");
        }
        let location = part.location.map(|location| format!(" {location}")).unwrap_or_default();
        writeln!(self.out, "{}{location}", part.name)?;
        for field in &part.fields {
            let (at, hex) = (field.range.start, self.hex(field));
            let (name, value) = (name(field), self.value(field));
            let width = self.width;
            writeln!(self.out, "  {at:>width$}  {hex:<20}  {name:<30}  {value}")?;
        }
        if let Some(error) = part.error {
            let (at, width) = (error.offset, self.width);
            writeln!(self.out, "  {at:>width$}  {:<20}  {error}", "^^")?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn of(&self, field: &Field) -> &'a [u8] {
        self.bytes.get(field.range.clone()).unwrap_or_default()
    }

    fn hex(&self, field: &Field) -> String {
        let bytes = self.of(field);
        match bytes.get(..SHOWN) {
            Some(shown) if bytes.len() > SHOWN + 1 => format!("{}...", hex(shown)),
            _ => hex(bytes),
        }
    }

    fn value(&self, field: &Field) -> String {
        let value = match field.value {
            FieldValue::Int(value) if value < 10 => value.to_string(),
            FieldValue::Int(value) => format!("{value} (0x{value:x})"),
            FieldValue::Length(1) => "1 byte".into(),
            FieldValue::Length(len) => format!("{len} bytes"),
            FieldValue::Bytes => match text(self.of(field)) {
                Some(text) if text.chars().count() <= TEXT => format!("{text:?}"),
                Some(text) => {
                    let shown: String = text.chars().take(TEXT).collect();
                    format!("{shown:?}..., {} bytes", field.range.len())
                }
                None => format!("{} bytes", field.range.len()),
            },
        };
        match &field.meaning {
            Some(meaning) => format!("{value}: {meaning}"),
            None => value,
        }
    }

    fn json(&self, part: &Annotated) -> Value {
        let fields: Vec<Value> = part.fields.iter().map(|field| self.json_field(field)).collect();
        let mut line = json!({
            "draft": self.draft.number(),
            "as": self.what.name(),
            "name": part.name,
            "start": part.range.start,
            "end": part.range.end,
            "fields": fields,
        });
        if let Some(location) = part.location {
            line["group"] = location.group.into();
            line["object"] = location.object.into();
        }
        if let Some(error) = part.error {
            line["error"] = json!({
                "at": error.offset,
                "field": error.field,
                "text": error.to_string(),
                "session_error": error.session_error().to_string(),
            });
        }
        line
    }

    fn json_field(&self, field: &Field) -> Value {
        let bytes = self.of(field);
        let mut line = json!({
            "name": name(field),
            "start": field.range.start,
            "end": field.range.end,
            "hex": hex(bytes.get(..IN_JSON).unwrap_or(bytes)),
        });
        match field.value {
            FieldValue::Int(value) | FieldValue::Length(value) => line["value"] = value.into(),
            FieldValue::Bytes => {
                if let Some(text) = text(bytes).filter(|_| bytes.len() <= IN_JSON) {
                    line["text"] = text.into();
                }
            }
        }
        if let Some(meaning) = &field.meaning {
            line["meaning"] = meaning.as_ref().into();
        }
        line
    }
}

fn name(field: &Field) -> String {
    match field.value {
        FieldValue::Length(_) => format!("{} Length", field.name),
        _ => field.name.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The bytes as text, if that is what they seem to be.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.chars().any(|letter| letter.is_control() && letter != '\n')).then_some(text)
}
