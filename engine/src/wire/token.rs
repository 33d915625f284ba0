//! Authorization tokens (draft-18, "AUTHORIZATION TOKEN Parameter").

use bytes::Bytes;

use super::{EncodeError, Fault, Malformed, Note, Reader, Writer};
use crate::model::AuthToken;

const TOKEN: &str = "AUTHORIZATION_TOKEN";

/// Reads a token that fills `reader`. Whatever is wrong with it, the answer is the same.
pub(super) fn read_token(reader: &mut Reader<'_, impl Note>) -> Result<AuthToken, Malformed> {
    read_fields(reader)
        .and_then(|token| reader.finish(TOKEN).map(|()| token))
        .map_err(|malformed| reader.rename_fault(malformed, Fault::Formatting))
}

fn read_fields(reader: &mut Reader<'_, impl Note>) -> Result<AuthToken, Malformed> {
    let alias_type = reader.int(TOKEN)?;
    reader.means(|| type_means(alias_type).into());
    match alias_type {
        0x0 => Ok(AuthToken::Delete { alias: reader.int(TOKEN)? }),
        0x1 => Ok(AuthToken::Register {
            alias: reader.int(TOKEN)?,
            token_type: reader.int(TOKEN)?,
            value: Bytes::copy_from_slice(reader.rest(TOKEN)),
        }),
        0x2 => Ok(AuthToken::UseAlias { alias: reader.int(TOKEN)? }),
        0x3 => Ok(AuthToken::UseValue {
            token_type: reader.int(TOKEN)?,
            value: Bytes::copy_from_slice(reader.rest(TOKEN)),
        }),
        other => Err(reader.fault(Fault::OutOfRange(other), TOKEN)),
    }
}

fn type_means(alias_type: u64) -> &'static str {
    match alias_type {
        0x0 => "DELETE",
        0x1 => "REGISTER",
        0x2 => "USE_ALIAS",
        0x3 => "USE_VALUE",
        _ => "unknown",
    }
}

pub(super) fn write_token(writer: &mut Writer<'_>, token: &AuthToken) -> Result<(), EncodeError> {
    match token {
        AuthToken::Delete { alias } => {
            writer.int(0x0, TOKEN)?;
            writer.int(*alias, TOKEN)
        }
        AuthToken::Register { alias, token_type, value } => {
            writer.int(0x1, TOKEN)?;
            writer.int(*alias, TOKEN)?;
            writer.int(*token_type, TOKEN)?;
            writer.bytes(value);
            Ok(())
        }
        AuthToken::UseAlias { alias } => {
            writer.int(0x2, TOKEN)?;
            writer.int(*alias, TOKEN)
        }
        AuthToken::UseValue { token_type, value } => {
            writer.int(0x3, TOKEN)?;
            writer.int(*token_type, TOKEN)?;
            writer.bytes(value);
            Ok(())
        }
    }
}
