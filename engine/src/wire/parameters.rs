//! Message parameters (draft-18, "Message Parameters").

use super::filter::{read_filter, read_location, write_filter, write_location};
use super::name::{read_namespace, write_namespace};
use super::pairs::{MAX_VALUE_LEN, PairReader, PairWriter};
use super::properties::check_track_property;
use super::token::{read_token, write_token};
use super::{
    CarrierSet, Dialect, EncodeError, Fault, Malformed, Note, ParameterForm, ParameterSpec,
    ParameterTarget, Reader, Tolerance, Writer,
};
use crate::model::{GroupOrder, Parameter, ParameterSet, Parameters, TrackProperties};

const PARAMETER: &str = "Message Parameter";
const COUNT: &str = "Number of Parameters";

/// Reads the count and that many parameters into `parameters`, which may hold fixed fields
/// already. Track properties that this draft sends as parameters go to `properties`, if the
/// message has any.
pub(super) fn read_parameters(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    carriers: CarrierSet,
    parameters: &mut Parameters,
    mut properties: Option<&mut TrackProperties>,
) -> Result<(), Malformed> {
    let count = reader.int(COUNT)?;
    let mut pairs = PairReader::new(dialect.key_deltas);
    let mut seen = Seen::default();
    let mut specs = dialect.parameters;
    for _ in 0..count {
        let code = pairs.named_key(reader, PARAMETER, |code| {
            let mut specs = dialect.parameters.iter();
            specs.find(|spec| spec.code == code).map(|spec| spec.target)
        })?;
        if !dialect.key_deltas {
            specs = dialect.parameters;
        }
        // The table ascends. So do the types where they are differences, and what has been
        // passed in the table need not be looked at again.
        while let [first, rest @ ..] = specs
            && first.code < code
        {
            specs = rest;
        }
        let mut of_this_type = specs.iter().take_while(|spec| spec.code == code);
        match of_this_type.find(|spec| spec.allowed.intersects(carriers)) {
            Some(spec) => {
                seen.note(reader, spec)?;
                read_value(reader, dialect, spec, parameters, properties.as_deref_mut())?;
            }
            None => pass_over(reader, dialect, code)?,
        }
    }
    Ok(())
}

/// Skips a parameter that may not be here, if the draft has it that way.
#[cold]
fn pass_over(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    code: u64,
) -> Result<(), Malformed> {
    let is_known = dialect.parameters.iter().any(|spec| spec.code == code);
    let (tolerance, fault) = if is_known {
        (dialect.misplaced_parameter, Fault::NotAllowed)
    } else {
        (dialect.unknown_parameter, Fault::UnknownType(code))
    };
    match tolerance {
        Tolerance::Close => Err(reader.fault(fault, PARAMETER)),
        Tolerance::Ignore => skip_pair(reader, code),
    }
}

/// Writes the count and every parameter that `carriers` may carry.
pub(super) fn write_parameters(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    carriers: CarrierSet,
    parameters: &Parameters,
    properties: &TrackProperties,
) -> Result<(), EncodeError> {
    let present = parameters.present();
    let specs = || {
        dialect.parameters.iter().filter(|spec| {
            spec.allowed.intersects(carriers)
                && match spec.target {
                    ParameterTarget::Parameter(parameter) => present.contains(parameter),
                    ParameterTarget::TrackProperty(key) => properties.int(key).is_some(),
                }
        })
    };
    let count = specs().fold(0, |count: usize, spec| {
        count
            + match spec.target {
                ParameterTarget::Parameter(Parameter::AuthorizationToken) => {
                    parameters.authorization_tokens.len()
                }
                _ => 1,
            }
    });
    writer.int(count as u64, COUNT)?;
    let mut pairs = PairWriter::new(dialect.key_deltas);
    for spec in specs() {
        write_value(writer, dialect, spec, &mut pairs, parameters, properties)?;
    }
    Ok(())
}

/// Which parameters a message has held so far: only tokens may be there twice.
#[derive(Default)]
struct Seen(ParameterSet);

impl Seen {
    fn note(
        &mut self,
        reader: &mut Reader<'_, impl Note>,
        spec: &ParameterSpec,
    ) -> Result<(), Malformed> {
        // Two properties of one track are told apart by the check on `TrackProperties`.
        let ParameterTarget::Parameter(parameter) = spec.target else {
            return Ok(());
        };
        if self.0.contains(parameter) && parameter != Parameter::AuthorizationToken {
            return Err(reader.fault(Fault::Duplicate, PARAMETER));
        }
        self.0 = self.0.with(parameter);
        Ok(())
    }
}

/// Unknown types can only be skipped where they are key-value pairs.
fn skip_pair(reader: &mut Reader<'_, impl Note>, code: u64) -> Result<(), Malformed> {
    if code.is_multiple_of(2) {
        reader.int(PARAMETER).map(drop)
    } else {
        reader.prefixed(MAX_VALUE_LEN, PARAMETER).map(drop)
    }
}

fn read_value(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    spec: &ParameterSpec,
    into: &mut Parameters,
    properties: Option<&mut TrackProperties>,
) -> Result<(), Malformed> {
    let parameter = match spec.target {
        ParameterTarget::Parameter(parameter) => parameter,
        ParameterTarget::TrackProperty(key) => {
            let value = reader.int(PARAMETER)?;
            check_track_property(reader, dialect, key, value)?;
            let Some(properties) = properties else {
                return Ok(());
            };
            if properties.int(key).is_some() {
                return Err(reader.fault(Fault::Duplicate, PARAMETER));
            }
            properties.push(crate::model::Property::int(key, value));
            return Ok(());
        }
    };
    let at = reader.offset();
    let out_of_range = |reader: &mut Reader<'_, _>, value| {
        reader.fault_at(Fault::OutOfRange(value), PARAMETER, at)
    };
    match spec.form {
        ParameterForm::Int | ParameterForm::Uint8 => {
            let value = match spec.form {
                ParameterForm::Uint8 => u64::from(reader.byte(PARAMETER)?),
                _ => reader.int(PARAMETER)?,
            };
            match parameter {
                Parameter::ObjectDeliveryTimeout => {
                    if value == 0 && dialect.zero_delivery_timeout_closes {
                        return Err(out_of_range(reader, value));
                    }
                    into.object_delivery_timeout = Some(value);
                }
                Parameter::SubgroupDeliveryTimeout => into.subgroup_delivery_timeout = Some(value),
                Parameter::RendezvousTimeout => into.rendezvous_timeout = Some(value),
                Parameter::FillTimeout => into.fill_timeout = Some(value),
                Parameter::Expires => into.expires = Some(value),
                Parameter::NewGroupRequest => into.new_group_request = Some(value),
                Parameter::Forward => into.forward = Some(reader.check_flag(value, PARAMETER)?),
                Parameter::SubscriberPriority => match u8::try_from(value) {
                    Ok(priority) => into.subscriber_priority = Some(priority),
                    Err(_) => return Err(out_of_range(reader, value)),
                },
                Parameter::GroupOrder => match GroupOrder::from_code(value) {
                    Some(order) => into.group_order = Some(order),
                    None => return Err(out_of_range(reader, value)),
                },
                _ => return Err(reader.fault(Fault::Formatting, PARAMETER)),
            }
        }
        ParameterForm::Location => into.largest_object = Some(read_location(reader, PARAMETER)?),
        ParameterForm::Namespace => {
            into.track_namespace_prefix =
                Some(read_namespace(reader, dialect, dialect.min_prefix_fields)?);
        }
        ParameterForm::Prefixed => reader.nested(MAX_VALUE_LEN, PARAMETER, |value| {
            read_nested_value(value, dialect, parameter, into)
        })?,
    }
    Ok(())
}

fn read_nested_value(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    parameter: Parameter,
    into: &mut Parameters,
) -> Result<(), Malformed> {
    match parameter {
        Parameter::AuthorizationToken => into.authorization_tokens.push(read_token(reader)?),
        Parameter::SubscriptionFilter => {
            into.subscription_filter = Some(read_filter(reader, dialect)?);
            reader.finish(PARAMETER)?;
        }
        Parameter::LargestObject => {
            let location = read_location(reader, PARAMETER)
                .and_then(|location| reader.finish(PARAMETER).map(|()| location))
                .map_err(|malformed| reader.rename_fault(malformed, Fault::Formatting))?;
            into.largest_object = Some(location);
        }
        _ => return Err(reader.fault(Fault::Formatting, PARAMETER)),
    }
    Ok(())
}

fn write_value(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    spec: &ParameterSpec,
    pairs: &mut PairWriter,
    from: &Parameters,
    properties: &TrackProperties,
) -> Result<(), EncodeError> {
    let parameter = match spec.target {
        ParameterTarget::Parameter(parameter) => parameter,
        ParameterTarget::TrackProperty(key) => {
            pairs.key(writer, spec.code, PARAMETER)?;
            return writer.int(properties.int(key).unwrap_or_default(), PARAMETER);
        }
    };
    if parameter == Parameter::AuthorizationToken {
        for token in &from.authorization_tokens {
            pairs.key(writer, spec.code, PARAMETER)?;
            writer.prefixed_with(PARAMETER, |writer| write_token(writer, token))?;
        }
        return Ok(());
    }
    pairs.key(writer, spec.code, PARAMETER)?;
    match spec.form {
        ParameterForm::Int | ParameterForm::Uint8 => {
            let value = match parameter {
                Parameter::ObjectDeliveryTimeout => from.object_delivery_timeout,
                Parameter::SubgroupDeliveryTimeout => from.subgroup_delivery_timeout,
                Parameter::RendezvousTimeout => from.rendezvous_timeout,
                Parameter::FillTimeout => from.fill_timeout,
                Parameter::Expires => from.expires,
                Parameter::NewGroupRequest => from.new_group_request,
                Parameter::Forward => from.forward.map(u64::from),
                Parameter::SubscriberPriority => from.subscriber_priority.map(u64::from),
                Parameter::GroupOrder => from.group_order.map(|order| u64::from(order.code())),
                _ => None,
            }
            .unwrap_or_default();
            if value == 0
                && parameter == Parameter::ObjectDeliveryTimeout
                && dialect.zero_delivery_timeout_closes
            {
                return Err(EncodeError::OutOfRange("DELIVERY_TIMEOUT"));
            }
            match (spec.form, u8::try_from(value)) {
                (ParameterForm::Uint8, Ok(value)) => {
                    writer.byte(value);
                    Ok(())
                }
                _ => writer.int(value, PARAMETER),
            }
        }
        ParameterForm::Location => {
            write_location(writer, from.largest_object.unwrap_or_default(), PARAMETER)
        }
        ParameterForm::Namespace => write_namespace(
            writer,
            dialect,
            from.track_namespace_prefix.as_ref().unwrap_or(&crate::model::TrackNamespace::root()),
            dialect.min_prefix_fields,
        ),
        ParameterForm::Prefixed => writer.prefixed_with(PARAMETER, |writer| match parameter {
            Parameter::LargestObject => {
                write_location(writer, from.largest_object.unwrap_or_default(), PARAMETER)
            }
            Parameter::SubscriptionFilter => match from.subscription_filter {
                Some(filter) => write_filter(writer, dialect, filter),
                None => Ok(()),
            },
            _ => Ok(()),
        }),
    }
}
