//! Setup messages and their options (draft-18, "SETUP").

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pairs::{PairReader, PairValue, PairWriter};
use super::token::{read_token, write_token};
use super::{
    DecodeError, Dialect, EncodeError, Fault, Malformed, Note, Reader, SetupLayout, Writer,
};
use crate::model::{Message, MessageKind, Setup, SetupOption, SetupOptions};

pub(super) const OPTION: &str = "Setup Option";

pub(super) fn read_setup(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    kind: MessageKind,
) -> Result<Message, Malformed> {
    let mut setup = Setup::default();
    if dialect.setup == SetupLayout::VersionsAndCount {
        let count = match kind {
            MessageKind::ServerSetup => 1,
            _ => reader.int("Number of Supported Versions")?,
        };
        for _ in 0..count {
            let version = reader.int("Version")?;
            reader.means(|| format!("draft {}", version & 0xff).into());
            setup.versions.push(version);
        }
    }
    let mut count = match dialect.setup {
        SetupLayout::Bounded => None,
        SetupLayout::VersionsAndCount | SetupLayout::Count => {
            Some(reader.int("Number of Parameters")?)
        }
    };
    let mut pairs = PairReader::new(dialect.key_deltas);
    let mut seen = Vec::new();
    while count.map_or(!reader.is_empty(), |left| left > 0) {
        count = count.map(|left| left.saturating_sub(1));
        let at = reader.offset();
        let name = |key| dialect.setup_option(key).map(SetupOption::name);
        let key = pairs.named_key(reader, OPTION, name)?;
        let value = PairReader::value(reader, key, OPTION)?;
        let known = read_option(dialect, kind, (key, value), &mut setup.options)
            .map_err(|DecodeError { fault, field, .. }| reader.fault_at(fault, field, at))?;
        if known.is_some_and(|option| option != SetupOption::AuthorizationToken) {
            if seen.contains(&key) {
                return Err(reader.fault_at(Fault::Duplicate, OPTION, at));
            }
            seen.push(key);
        }
    }
    Ok(Message::Setup(setup))
}

/// Takes in one option, and says which; one that is unknown is ignored.
fn read_option(
    dialect: &Dialect,
    kind: MessageKind,
    (key, value): (u64, PairValue<'_>),
    options: &mut SetupOptions,
) -> Result<Option<SetupOption>, DecodeError> {
    let found = dialect.setup_option(key).map(|option| match (option, kind) {
        (SetupOption::Authority, MessageKind::ServerSetup)
            if dialect.server_authority_is_implementation =>
        {
            SetupOption::Implementation
        }
        _ => option,
    });
    match (found, value) {
        (Some(SetupOption::Path), PairValue::Bytes(path)) => {
            options.path = Some(Bytes::copy_from_slice(path));
        }
        (Some(SetupOption::MaxRequestId), PairValue::Int(max)) => {
            options.max_request_id = Some(max);
        }
        (Some(SetupOption::MaxAuthTokenCacheSize), PairValue::Int(size)) => {
            options.max_auth_token_cache_size = Some(size);
        }
        (Some(SetupOption::Authority), PairValue::Bytes(authority)) => {
            options.authority = Some(Bytes::copy_from_slice(authority));
        }
        (Some(SetupOption::Implementation), PairValue::Bytes(name)) => {
            options.implementation = Some(Bytes::copy_from_slice(name));
        }
        (Some(SetupOption::AuthorizationToken), PairValue::Bytes(token)) => {
            let mut reader = Reader::new(dialect.ints, token);
            let token = read_token(&mut reader).map_err(|Malformed| reader.error())?;
            options.authorization_tokens.push(token);
        }
        _ => return Ok(None),
    }
    Ok(found)
}

pub(super) fn write_setup(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    kind: MessageKind,
    setup: &Setup,
) -> Result<(), EncodeError> {
    if dialect.setup == SetupLayout::VersionsAndCount {
        if kind == MessageKind::ClientSetup {
            writer.int(setup.versions.len() as u64, "Number of Supported Versions")?;
        } else if setup.versions.len() != 1 {
            return Err(EncodeError::Missing("Selected Version"));
        }
        for version in &setup.versions {
            writer.int(*version, "Version")?;
        }
    }
    let options = &setup.options;
    if dialect.setup != SetupLayout::Bounded {
        let count: usize =
            dialect.setup_options.iter().map(|(_, option)| options.count(*option)).sum();
        let count = count + usize::from(options.reserved.is_some());
        writer.int(count as u64, "Number of Parameters")?;
    }
    let mut pairs = PairWriter::new(dialect.key_deltas);
    for (key, option) in dialect.setup_options {
        write_option(writer, &mut pairs, (*key, *option), options)?;
    }
    match options.reserved {
        Some(key) if key.is_multiple_of(2) => pairs.int(writer, key, key >> 8, OPTION)?,
        Some(key) => pairs.bytes(writer, key, &key.to_be_bytes(), OPTION)?,
        None => {}
    }
    Ok(())
}

/// Writes one option as often as it is there.
fn write_option(
    writer: &mut Writer<'_>,
    pairs: &mut PairWriter,
    (key, option): (u64, SetupOption),
    options: &SetupOptions,
) -> Result<(), EncodeError> {
    let name = option.name();
    let (int, bytes) = match option {
        SetupOption::Path => (None, &options.path),
        SetupOption::MaxRequestId => (options.max_request_id, &None),
        SetupOption::MaxAuthTokenCacheSize => (options.max_auth_token_cache_size, &None),
        SetupOption::Authority => (None, &options.authority),
        SetupOption::Implementation => (None, &options.implementation),
        SetupOption::AuthorizationToken => {
            for token in &options.authorization_tokens {
                pairs.key(writer, key, name)?;
                writer.prefixed_with(name, |writer| write_token(writer, token))?;
            }
            return Ok(());
        }
    };
    if let Some(value) = int {
        pairs.int(writer, key, value, name)?;
    }
    if let Some(value) = bytes {
        pairs.bytes(writer, key, value, name)?;
    }
    Ok(())
}
