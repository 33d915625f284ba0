//! Where the bytes come from.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::failure::Failure;

/// What there is to decode.
pub(super) enum Input {
    /// Bytes of MoQT.
    Bytes(Vec<u8>),
    /// A qlog, in JSON text sequences.
    Qlog(Vec<u8>),
}

/// What was given: words in hexadecimal, a file, or standard input.
pub(super) fn read(words: &[String]) -> Result<Input, Failure> {
    let read = match words {
        [] => from_stdin()?,
        [word] if word == "-" => from_stdin()?,
        [word] if Path::new(word).is_file() => {
            fs::read(word).map_err(|error| Failure::new(format!("cannot read {word}: {error}")))?
        }
        words => {
            let text = words.join(" ");
            let bytes = hex(&text).map_err(|wrong| {
                Failure::new(format!("{text:?} is neither a file nor hexadecimal: {wrong}"))
            })?;
            return some(bytes);
        }
    };
    // No message, header or datagram of any draft begins so: JSON would be its length or alias.
    if read.starts_with(b"\x1e{") {
        return Ok(Input::Qlog(read));
    }
    // Bytes of MoQT that are all hexadecimal digits and spaces would be a strange chance.
    some(match std::str::from_utf8(&read).map(hex) {
        Ok(Ok(bytes)) => bytes,
        _ => read,
    })
}

fn some(bytes: Vec<u8>) -> Result<Input, Failure> {
    if bytes.is_empty() {
        Err(Failure::new("there is nothing to decode"))
    } else {
        Ok(Input::Bytes(bytes))
    }
}

fn from_stdin() -> Result<Vec<u8>, Failure> {
    if io::stdin().is_terminal() {
        eprintln!("reading hexadecimal from the terminal; Ctrl-D ends it");
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Pairs of hexadecimal digits, with or without anything between them, and text in quotes.
fn hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut high = None;
    let mut is_quoted = false;
    for letter in text.replace("0x", " ").chars() {
        match (letter, high) {
            ('\'', None) => is_quoted = !is_quoted,
            _ if is_quoted => bytes.extend(letter.to_string().into_bytes()),
            (' ' | '\t' | '\r' | '\n' | ':' | ',', None) => {}
            _ => {
                let digit = letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let digit = digit.ok_or_else(|| format!("{letter:?} is no digit of it"))?;
                match high.take() {
                    None => high = Some(digit),
                    Some(high) => bytes.push(high << 4 | digit),
                }
            }
        }
    }
    match (high, is_quoted) {
        (Some(_), _) => Err("half a byte is left over".into()),
        (None, true) => Err("a quote is not closed".into()),
        (None, false) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_may_be_spread_out() {
        assert_eq!(hex("0a0B 0c:0d,0x0e\n"), Ok(vec![10, 11, 12, 13, 14]));
        assert_eq!(hex("02 'ab c' ff"), Ok(b"\x02ab c\xff".to_vec()));
        for wrong in ["0", "0g", "0 1", "00 'a", "héé"] {
            assert!(hex(wrong).is_err(), "{wrong}");
        }
    }
}
