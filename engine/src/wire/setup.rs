//! Setup messages and their options (draft-18, "SETUP").

use alloc::vec::Vec;

use bytes::Bytes;

use super::pairs::{PairReader, PairValue, PairWriter};
use super::token::{read_token, write_token};
use super::{DecodeError, Dialect, EncodeError, Fault, Malformed, Reader, SetupLayout, Writer};
use crate::model::{Message, MessageKind, Setup, SetupOptions};

const OPTION: &str = "Setup Option";

/// Numbers of setup options, the same on every draft.
mod option_type {
    pub(super) const PATH: u64 = 0x01;
    pub(super) const MAX_REQUEST_ID: u64 = 0x02;
    pub(super) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(super) const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
    pub(super) const AUTHORITY: u64 = 0x05;
    pub(super) const MOQT_IMPLEMENTATION: u64 = 0x07;
}

pub(super) fn read_setup(
    reader: &mut Reader<'_>,
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
            setup.versions.push(reader.int("Version")?);
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
        let (key, value) = pairs.pair(reader, OPTION)?;
        let known = read_option(dialect, kind, (key, value), &mut setup.options)
            .map_err(|DecodeError { fault, field, .. }| reader.fault_at(fault, field, at))?;
        if known && key != option_type::AUTHORIZATION_TOKEN {
            if seen.contains(&key) {
                return Err(reader.fault_at(Fault::Duplicate, OPTION, at));
            }
            seen.push(key);
        }
    }
    Ok(Message::Setup(setup))
}

/// Takes in one option; `false` if it is unknown and was ignored.
fn read_option(
    dialect: &Dialect,
    kind: MessageKind,
    (key, value): (u64, PairValue<'_>),
    options: &mut SetupOptions,
) -> Result<bool, DecodeError> {
    let has_credit = dialect.message_code(MessageKind::MaxRequestId).is_some();
    match (key, value) {
        (option_type::PATH, PairValue::Bytes(path)) => {
            options.path = Some(Bytes::copy_from_slice(path));
        }
        (option_type::MAX_REQUEST_ID, PairValue::Int(max)) if has_credit => {
            options.max_request_id = Some(max);
        }
        (option_type::MAX_AUTH_TOKEN_CACHE_SIZE, PairValue::Int(size)) => {
            options.max_auth_token_cache_size = Some(size);
        }
        (option_type::AUTHORITY, PairValue::Bytes(name))
            if dialect.server_authority_is_implementation && kind == MessageKind::ServerSetup =>
        {
            options.implementation = Some(Bytes::copy_from_slice(name));
        }
        (option_type::AUTHORITY, PairValue::Bytes(authority)) => {
            options.authority = Some(Bytes::copy_from_slice(authority));
        }
        (option_type::MOQT_IMPLEMENTATION, PairValue::Bytes(name)) => {
            options.implementation = Some(Bytes::copy_from_slice(name));
        }
        (option_type::AUTHORIZATION_TOKEN, PairValue::Bytes(token)) => {
            let mut reader = Reader::new(dialect.ints, token);
            let token = read_token(&mut reader).map_err(|Malformed| reader.error())?;
            options.authorization_tokens.push(token);
        }
        _ => return Ok(false),
    }
    Ok(true)
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
    let has_credit = dialect.message_code(MessageKind::MaxRequestId).is_some();
    let max_request_id = options.max_request_id.filter(|_| has_credit);
    if dialect.setup != SetupLayout::Bounded {
        let count = [
            options.path.is_some(),
            max_request_id.is_some(),
            options.max_auth_token_cache_size.is_some(),
            options.authority.is_some(),
            options.implementation.is_some(),
            options.reserved.is_some(),
        ]
        .into_iter()
        .filter(|present| *present)
        .count()
            + options.authorization_tokens.len();
        writer.int(count as u64, "Number of Parameters")?;
    }
    let mut pairs = PairWriter::new(dialect.key_deltas);
    if let Some(path) = &options.path {
        pairs.bytes(writer, option_type::PATH, path, "PATH")?;
    }
    if let Some(max) = max_request_id {
        pairs.int(writer, option_type::MAX_REQUEST_ID, max, "MAX_REQUEST_ID")?;
    }
    for token in &options.authorization_tokens {
        pairs.key(writer, option_type::AUTHORIZATION_TOKEN, OPTION)?;
        writer.prefixed_with("AUTHORIZATION_TOKEN", |writer| write_token(writer, token))?;
    }
    if let Some(size) = options.max_auth_token_cache_size {
        pairs.int(writer, option_type::MAX_AUTH_TOKEN_CACHE_SIZE, size, OPTION)?;
    }
    if let Some(authority) = &options.authority {
        pairs.bytes(writer, option_type::AUTHORITY, authority, "AUTHORITY")?;
    }
    if let Some(name) = &options.implementation {
        pairs.bytes(writer, option_type::MOQT_IMPLEMENTATION, name, "MOQT_IMPLEMENTATION")?;
    }
    match options.reserved {
        Some(key) if key.is_multiple_of(2) => pairs.int(writer, key, key >> 8, OPTION)?,
        Some(key) => pairs.bytes(writer, key, &key.to_be_bytes(), OPTION)?,
        None => {}
    }
    Ok(())
}
