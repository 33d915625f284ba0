//! What of a message reaches its reader, by draft.

use moqt_engine::model::{
    Draft, GroupOrder, Location, Message, MessageKind, Parameter as P, Parameters, Property,
    RequestErrorCode, RequestKind, SubscriptionFilter, TrackProperties, property_type,
};
use moqt_engine::wire::{Carrier, CarrierSet, ParameterTarget};

/// The message as its reader sees it, if it could be written: without what the draft does not
/// have there, with what it says instead of nothing, and codes by the draft's names for them.
pub(super) fn carried(draft: Draft, mut message: Message) -> Message {
    let dialect = draft.dialect();
    let by_stream = dialect.answers_by_stream;
    let plain = |carrier: Carrier, parameters: &mut Parameters| {
        *parameters = of_carriers(draft, carrier.into(), parameters);
    };
    match &mut message {
        Message::Setup(setup) => {
            if draft >= Draft::D16 {
                setup.versions.clear();
            }
            if draft >= Draft::D18 {
                setup.options.max_request_id = None;
            }
            setup.options.reserved = None;
        }
        Message::Goaway(goaway) if draft < Draft::D18 => {
            goaway.timeout = 0;
            goaway.request_id = None;
        }
        Message::RequestOk(ok) => {
            let own_message = |kind| dialect.message_code(kind).is_some();
            let written_for = ok.answers;
            let specific = match ok.answers {
                Some(RequestKind::Publish) => own_message(MessageKind::PublishOk),
                Some(RequestKind::TrackStatus) => own_message(MessageKind::TrackStatusOk),
                Some(RequestKind::PublishNamespace) => own_message(MessageKind::PublishNamespaceOk),
                Some(RequestKind::SubscribeNamespace) => {
                    own_message(MessageKind::SubscribeNamespaceOk)
                }
                _ => false,
            };
            ok.answers = ok.answers.filter(|_| specific);
            if by_stream {
                ok.request_id = None;
            }
            let carriers = match written_for {
                Some(kind) => Carrier::answer_to(kind).into(),
                None if own_message(MessageKind::PublishOk) => CarrierSet::REQUEST_OKS,
                None => CarrierSet::REQUEST_OKS.union(Carrier::PublishOk.into()),
            };
            ok.parameters = match written_for {
                _ if !dialect.fixed_fields => of_carriers(draft, carriers, &ok.parameters),
                Some(RequestKind::Publish) => publish_ok(draft, &ok.parameters),
                Some(RequestKind::TrackStatus) => subscribe_ok(
                    draft,
                    Carrier::TrackStatusOk,
                    &ok.parameters,
                    &ok.track_properties,
                ),
                _ => Parameters::default(),
            };
            ok.track_properties = match written_for {
                _ if dialect.request_ok_properties => properties(draft, &ok.track_properties),
                Some(RequestKind::TrackStatus) if dialect.fixed_fields => {
                    as_parameters(draft, Carrier::TrackStatusOk, &ok.track_properties)
                }
                _ => TrackProperties::new(),
            };
        }
        Message::RequestError(error) => {
            let kind = error.answers.unwrap_or(RequestKind::Update);
            error.code = dialect.request_error(kind, dialect.request_error_code(kind, error.code));
            if draft >= Draft::D16 {
                error.answers = None;
            } else {
                error.retry_interval = 0;
            }
            if by_stream {
                error.request_id = None;
            }
            if !dialect.redirect || error.code != RequestErrorCode::Redirect {
                error.redirect = None;
            }
            cut(&mut error.reason);
        }
        Message::Subscribe(subscribe) => {
            subscribe.parameters = request(draft, Carrier::Subscribe, &subscribe.parameters);
        }
        Message::TrackStatus(status) => {
            status.parameters = request(draft, Carrier::TrackStatus, &status.parameters);
        }
        Message::SubscribeOk(ok) => {
            if by_stream {
                ok.request_id = None;
            }
            let (carrier, list) = (Carrier::SubscribeOk, &ok.track_properties);
            ok.parameters = subscribe_ok(draft, carrier, &ok.parameters, list);
            ok.track_properties = track_properties(draft, carrier, &ok.track_properties);
        }
        Message::RequestUpdate(update) => {
            if !dialect.update_names_request {
                update.existing_request_id = None;
            }
            let mut carried = of_carriers(draft, CarrierSet::UPDATES, &update.parameters);
            if dialect.fixed_fields {
                carried.subscription_filter = update.parameters.subscription_filter;
                carried.subscriber_priority = update.parameters.subscriber_priority;
                carried.forward = update.parameters.forward;
            }
            update.parameters = carried;
        }
        Message::Publish(publish) => {
            let (carrier, given) = (Carrier::Publish, &publish.parameters);
            let mut carried = of_carriers(draft, carrier.into(), given);
            if dialect.fixed_fields {
                carried.group_order = Some(chosen(given.group_order, &publish.track_properties));
                carried.largest_object = given.largest_object;
                carried.forward = given.forward.or(Some(true));
            }
            publish.parameters = carried;
            publish.track_properties = track_properties(draft, carrier, &publish.track_properties);
        }
        Message::PublishDone(done) => {
            if by_stream {
                done.request_id = None;
            }
            done.code = dialect.publish_done(dialect.publish_done_code(done.code));
            cut(&mut done.reason);
        }
        Message::Fetch(fetch) => {
            let mut carried = of_carriers(draft, Carrier::Fetch.into(), &fetch.parameters);
            if dialect.fixed_fields {
                carried.subscriber_priority = fetch.parameters.subscriber_priority.or(Some(128));
                carried.group_order = fetch.parameters.group_order;
            }
            fetch.parameters = carried;
            if let moqt_engine::model::FetchRange::Standalone { end, .. } = &mut fetch.range {
                *end = whole_group(draft, *end);
            }
        }
        Message::FetchOk(ok) => {
            if by_stream {
                ok.request_id = None;
            }
            let order = chosen(ok.group_order, &ok.track_properties);
            ok.group_order = dialect.fixed_fields.then_some(order);
            ok.end = whole_group(draft, ok.end);
            plain(Carrier::FetchOk, &mut ok.parameters);
            ok.track_properties = track_properties(draft, Carrier::FetchOk, &ok.track_properties);
        }
        Message::PublishNamespace(publish) => {
            plain(Carrier::PublishNamespace, &mut publish.parameters);
        }
        Message::SubscribeNamespace(subscribe) => {
            plain(Carrier::SubscribeNamespace, &mut subscribe.parameters);
        }
        Message::SubscribeTracks(subscribe) => {
            plain(Carrier::SubscribeTracks, &mut subscribe.parameters);
        }
        Message::PublishNamespaceCancel(cancel) => {
            let kind = RequestKind::PublishNamespace;
            cancel.code =
                dialect.request_error(kind, dialect.request_error_code(kind, cancel.code));
            cut(&mut cancel.reason);
        }
        _ => {}
    }
    message
}

/// "The reason phrase length has a maximum value of 1024 bytes."
fn cut(reason: &mut String) {
    let end = (0..=reason.len().min(1024)).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or_default());
}

/// What is past the largest object that the draft can say is the entire group.
fn whole_group(draft: Draft, end: Location) -> Location {
    let past = u128::from(draft.dialect().ints.max()) + 1;
    if u128::from(end.object) == past { Location::new(end.group, 0) } else { end }
}

const UNFILTERED: SubscriptionFilter = SubscriptionFilter::AbsoluteStart { start: Location::ZERO };

/// SUBSCRIBE's and TRACK_STATUS's.
fn request(draft: Draft, carrier: Carrier, given: &Parameters) -> Parameters {
    let mut carried = of_carriers(draft, carrier.into(), given);
    if draft.dialect().fixed_fields {
        carried.subscriber_priority = given.subscriber_priority.or(Some(128));
        carried.group_order = given.group_order;
        carried.forward = given.forward.or(Some(true));
        carried.subscription_filter = given.subscription_filter.or(Some(UNFILTERED));
    }
    carried
}

/// SUBSCRIBE_OK's and TRACK_STATUS_OK's.
fn subscribe_ok(
    draft: Draft,
    carrier: Carrier,
    given: &Parameters,
    properties: &TrackProperties,
) -> Parameters {
    let mut carried = of_carriers(draft, carrier.into(), given);
    if draft.dialect().fixed_fields {
        carried.expires = given.expires.or(Some(0));
        carried.group_order = Some(chosen(given.group_order, properties));
        carried.largest_object = given.largest_object;
    }
    carried
}

/// PUBLISH_OK's, with fixed fields.
fn publish_ok(draft: Draft, given: &Parameters) -> Parameters {
    let mut carried = of_carriers(draft, Carrier::PublishOk.into(), given);
    carried.forward = given.forward.or(Some(true));
    carried.subscriber_priority = given.subscriber_priority.or(Some(128));
    carried.group_order = given.group_order.or(Some(GroupOrder::Ascending));
    carried.subscription_filter = given.subscription_filter.or(Some(UNFILTERED));
    carried
}

fn chosen(given: Option<GroupOrder>, properties: &TrackProperties) -> GroupOrder {
    given.unwrap_or_else(|| properties.default_publisher_group_order())
}

/// Those parameters that one of these messages may carry as parameters.
fn of_carriers(draft: Draft, carriers: CarrierSet, given: &Parameters) -> Parameters {
    let has = |parameter: P| {
        draft.dialect().parameters.iter().any(|spec| {
            spec.target == ParameterTarget::Parameter(parameter)
                && spec.allowed.intersects(carriers)
        })
    };
    let mut carried = Parameters::default();
    if has(P::AuthorizationToken) {
        carried.authorization_tokens.clone_from(&given.authorization_tokens);
    }
    if has(P::TrackNamespacePrefix) {
        carried.track_namespace_prefix.clone_from(&given.track_namespace_prefix);
    }
    let timeout = |parameter, value: Option<u64>| value.filter(|_| has(parameter));
    carried.object_delivery_timeout =
        timeout(P::ObjectDeliveryTimeout, given.object_delivery_timeout);
    carried.subgroup_delivery_timeout =
        timeout(P::SubgroupDeliveryTimeout, given.subgroup_delivery_timeout);
    carried.rendezvous_timeout = timeout(P::RendezvousTimeout, given.rendezvous_timeout);
    carried.fill_timeout = timeout(P::FillTimeout, given.fill_timeout);
    carried.expires = timeout(P::Expires, given.expires);
    carried.new_group_request = timeout(P::NewGroupRequest, given.new_group_request);
    carried.largest_object = given.largest_object.filter(|_| has(P::LargestObject));
    carried.forward = given.forward.filter(|_| has(P::Forward));
    carried.subscriber_priority = given.subscriber_priority.filter(|_| has(P::SubscriberPriority));
    carried.subscription_filter = given.subscription_filter.filter(|_| has(P::SubscriptionFilter));
    carried.group_order = given.group_order.filter(|_| has(P::GroupOrder));
    carried
}

/// Track properties in a message that has them, or on drafts without those as parameters.
fn track_properties(draft: Draft, carrier: Carrier, given: &TrackProperties) -> TrackProperties {
    if draft.dialect().track_properties {
        properties(draft, given)
    } else {
        as_parameters(draft, carrier, given)
    }
}

/// "DELIVERY_TIMEOUT [...] MUST be greater than 0" (draft-16): none is said by leaving it out.
fn properties(draft: Draft, given: &TrackProperties) -> TrackProperties {
    let none = Property::int(property_type::OBJECT_DELIVERY_TIMEOUT, 0);
    let keeps = |property: &&Property| draft >= Draft::D18 || **property != none;
    given.iter().filter(keeps).cloned().collect()
}

fn as_parameters(draft: Draft, carrier: Carrier, given: &TrackProperties) -> TrackProperties {
    let specs = draft.dialect().parameters.iter();
    let carried = specs.filter_map(|spec| match spec.target {
        ParameterTarget::TrackProperty(key) if spec.allowed.intersects(carrier.into()) => {
            given.int(key).map(|value| Property::int(key, value))
        }
        _ => None,
    });
    carried.collect()
}
