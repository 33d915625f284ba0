//! A qlog, told one event a line.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Map, Value};

/// What separates the texts of a sequence (RFC 7464).
const SEPARATOR: u8 = 0x1e;

/// Tells of each record up to one that is none, and then where that is and why.
pub(super) fn tell(mut out: impl Write, bytes: &[u8], json: bool) -> io::Result<Option<String>> {
    let mut at = 0;
    let mut wrong = None;
    for record in bytes.split(|byte| *byte == SEPARATOR) {
        // The separator is before it.
        let start = at;
        at += record.len() + 1;
        if record.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Value>(record) {
            Ok(record) if json => writeln!(out, "{record}")?,
            Ok(Value::Object(record)) => tell_record(&mut out, &record)?,
            Ok(_) => {
                wrong = Some(format!("the record is no object (byte {start})"));
                break;
            }
            Err(error) => {
                wrong = Some(format!("the record that begins at byte {start} is no JSON: {error}"));
                break;
            }
        }
    }
    out.flush()?;
    Ok(wrong)
}

fn tell_record(out: &mut impl Write, record: &Map<String, Value>) -> io::Result<()> {
    let Some(time) = record.get("time").and_then(Value::as_f64) else {
        return writeln!(out, "{}", title(record));
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let name = text(record.get("name"));
    let name = name.strip_prefix("moqt:").unwrap_or(&name);
    let mut fields = record.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    let stream = match fields.remove("stream_id") {
        Some(stream) => format!("stream {stream}"),
        None => String::new(),
    };
    let mut line = format!("{time:>12.3} ms  {stream:<10}  {name:<26}");
    if let Some(Value::Object(mut message)) = fields.remove("message") {
        let kind = text(message.remove("type").as_ref()).to_uppercase();
        let _ = write!(line, " {kind}");
        append(&mut line, &message);
    }
    append(&mut line, &fields);
    writeln!(out, "{}", line.trim_end())
}

/// What is at the beginning of the file, as far as it says anything.
fn title(record: &Map<String, Value>) -> String {
    let of = |path: &str| record.get("trace")?.pointer(path)?.as_str();
    let role = of("/vantage_point/type").filter(|role| *role != "unknown");
    let parts = [
        role.map(|role| format!("of a {role}")),
        record.get("title").and_then(Value::as_str).map(str::to_owned),
        of("/common_fields/reference_time/wall_clock_time").map(|time| format!("begun {time}")),
        of("/description").map(str::to_owned),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("qlog {}", parts.join(", "))
}

fn append(line: &mut String, fields: &Map<String, Value>) {
    for (name, value) in fields {
        let _ = write!(line, " {name}={}", short(value));
    }
}

/// Values as short as can be: names and values of lists without what says that they are these.
fn short(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(short).collect();
            format!("[{}]", list.join(" "))
        }
        Value::Object(fields) => match (fields.get("name"), fields.get("value")) {
            (Some(Value::String(name)), Some(value)) => format!("{name}={}", short(value)),
            (None, Some(value)) if fields.len() == 1 => short(value),
            _ => {
                let field = |(name, value): (&String, &Value)| format!("{name}={}", short(value));
                let fields: Vec<String> = fields.iter().map(field).collect();
                format!("{{{}}}", fields.join(" "))
            }
        },
        _ => value.to_string(),
    }
}
