//! What control messages say.

use moqt_engine::model::{
    FetchRange, GroupOrder, JoiningStart, Message, MessageKind, NamespaceInterest,
    PublishNamespaceDone, RequestError, RequestKind, SetupOptions,
};
use moqt_engine::wire::Dialect;
use serde_json::{Value, json};

use crate::values::{Fields, byte_string, location, namespace, raw, token};

/// A control message. Its type is the name that the draft spoken gives it.
pub(crate) fn message(dialect: &Dialect, kind: MessageKind, message: &Message) -> Value {
    let mut fields = Fields::of_type(&kind.name().to_lowercase());
    add(&mut fields, dialect, message);
    fields.into()
}

fn add(fields: &mut Fields, dialect: &Dialect, message: &Message) {
    match message {
        Message::Setup(setup) => {
            if !setup.versions.is_empty() {
                fields.add("supported_versions", setup.versions.clone());
            }
            fields.add("setup_options", setup_options(&setup.options));
        }
        Message::Goaway(goaway) => {
            fields.add("new_session_uri", raw(&goaway.new_session_uri));
            fields.add("timeout", goaway.timeout);
            fields.add_some("request_id", goaway.request_id);
        }
        Message::MaxRequestId(max) => fields.add("max_request_id", max.max_request_id),
        Message::RequestsBlocked(blocked) => {
            fields.add("maximum_request_id", blocked.max_request_id);
        }
        Message::RequestOk(ok) => {
            fields.add_some("request_id", ok.request_id);
            fields.add_parameters(dialect, &ok.parameters);
            fields.add_track_properties(&ok.track_properties);
        }
        Message::RequestError(error) => add_error(fields, dialect, error),
        Message::Subscribe(subscribe) => {
            fields.add("request_id", subscribe.request_id);
            fields.add_track(&subscribe.track);
            fields.add_parameters(dialect, &subscribe.parameters);
        }
        Message::SubscribeOk(ok) => {
            fields.add_some("request_id", ok.request_id);
            fields.add("track_alias", ok.track_alias);
            fields.add_parameters(dialect, &ok.parameters);
            fields.add_track_properties(&ok.track_properties);
        }
        Message::RequestUpdate(update) => {
            fields.add("request_id", update.request_id);
            fields.add_some("existing_request_id", update.existing_request_id);
            fields.add_parameters(dialect, &update.parameters);
        }
        Message::Unsubscribe(unsubscribe) => fields.add("request_id", unsubscribe.request_id),
        Message::Publish(publish) => {
            fields.add("request_id", publish.request_id);
            fields.add_track(&publish.track);
            fields.add("track_alias", publish.track_alias);
            fields.add_parameters(dialect, &publish.parameters);
            fields.add_track_properties(&publish.track_properties);
        }
        Message::PublishDone(done) => {
            fields.add_some("request_id", done.request_id);
            fields.add("status_code", dialect.publish_done_code(done.code));
            fields.add("stream_count", done.stream_count);
            fields.add("reason", done.reason.clone());
        }
        Message::Fetch(fetch) => {
            fields.add("request_id", fetch.request_id);
            add_range(fields, &fetch.range);
            fields.add_parameters(dialect, &fetch.parameters);
        }
        Message::FetchOk(ok) => {
            fields.add_some("request_id", ok.request_id);
            fields.add("end_of_track", u8::from(ok.end_of_track));
            fields.add("end_location", location(ok.end));
            fields.add_some("group_order", ok.group_order.map(GroupOrder::code));
            fields.add_parameters(dialect, &ok.parameters);
            fields.add_track_properties(&ok.track_properties);
        }
        Message::FetchCancel(cancel) => fields.add("request_id", cancel.request_id),
        Message::TrackStatus(status) => {
            fields.add("request_id", status.request_id);
            fields.add_track(&status.track);
            fields.add_parameters(dialect, &status.parameters);
        }
        Message::PublishNamespace(publish) => {
            fields.add("request_id", publish.request_id);
            fields.add("track_namespace", namespace(&publish.namespace));
            fields.add_parameters(dialect, &publish.parameters);
        }
        Message::PublishNamespaceDone(target) => add_target(fields, target),
        Message::PublishNamespaceCancel(cancel) => {
            add_target(fields, &cancel.target);
            let code = dialect.request_error_code(RequestKind::PublishNamespace, cancel.code);
            fields.add("error_code", code);
            fields.add("reason", cancel.reason.clone());
        }
        Message::SubscribeNamespace(subscribe) => {
            fields.add("request_id", subscribe.request_id);
            fields.add("track_namespace_prefix", namespace(&subscribe.prefix));
            if dialect.namespace_options {
                fields.add("subscribe_options", interest(subscribe.interest));
            }
            fields.add_parameters(dialect, &subscribe.parameters);
        }
        Message::UnsubscribeNamespace(unsubscribe) => {
            fields.add("track_namespace_prefix", namespace(&unsubscribe.prefix));
        }
        Message::Namespace(found) => {
            fields.add("track_namespace_suffix", namespace(&found.suffix));
        }
        Message::NamespaceDone(gone) => {
            fields.add("track_namespace_suffix", namespace(&gone.suffix));
        }
        Message::SubscribeTracks(subscribe) => {
            fields.add("request_id", subscribe.request_id);
            fields.add("track_namespace_prefix", namespace(&subscribe.prefix));
            fields.add_parameters(dialect, &subscribe.parameters);
        }
        Message::PublishBlocked(blocked) => {
            fields.add("track_namespace_suffix", namespace(blocked.track.namespace()));
            fields.add("track_name", byte_string(blocked.track.name()));
        }
        // Whatever else the engine may learn to say.
        _ => {}
    }
}

fn setup_options(options: &SetupOptions) -> Value {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let values = [
        ("authority", options.authority.as_ref().map(|it| text(it))),
        ("path", options.path.as_ref().map(|it| text(it))),
        ("max_request_id", options.max_request_id.map(Value::from)),
        ("max_auth_token_cache_size", options.max_auth_token_cache_size.map(Value::from)),
        ("implementation", options.implementation.as_ref().map(|it| text(it))),
    ];
    let values = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let values = values.map(|(name, value)| json!({ "name": name, "value": value }));
    let tokens = options.authorization_tokens.iter().map(|one| token(one).into());
    values.chain(tokens).collect()
}

fn add_error(fields: &mut Fields, dialect: &Dialect, error: &RequestError) {
    fields.add_some("request_id", error.request_id);
    let answers = error.answers.unwrap_or(RequestKind::Update);
    fields.add("error_code", dialect.request_error_code(answers, error.code));
    if dialect.retry_interval {
        fields.add("retry_interval", error.retry_interval);
    }
    fields.add("reason", error.reason.clone());
    if let Some(redirect) = &error.redirect {
        let mut to = Fields::default();
        to.add("connect_uri", raw(&redirect.connect_uri));
        to.add_track(&redirect.track);
        fields.add("redirect", to);
    }
}

fn add_range(fields: &mut Fields, range: &FetchRange) {
    match range {
        FetchRange::Standalone { track, start, end } => {
            fields.add("fetch_type", "standalone");
            let mut fetch = Fields::default();
            fetch.add_track(track);
            fetch.add("start_location", location(*start));
            fetch.add("end_location", location(*end));
            fields.add("standalone_fetch", fetch);
        }
        FetchRange::Joining { request_id, start } => {
            let (name, start) = match start {
                JoiningStart::Relative(groups) => ("relative_joining", groups),
                JoiningStart::Absolute(group) => ("absolute_joining", group),
            };
            fields.add("fetch_type", name);
            let fetch = json!({ "joining_request_id": request_id, "joining_start": start });
            fields.add("joining_fetch", fetch);
        }
    }
}

fn add_target(fields: &mut Fields, target: &PublishNamespaceDone) {
    match target {
        PublishNamespaceDone::Namespace(name) => fields.add("track_namespace", namespace(name)),
        PublishNamespaceDone::RequestId(id) => fields.add("request_id", *id),
    }
}

fn interest(interest: NamespaceInterest) -> &'static str {
    match interest {
        NamespaceInterest::Tracks => "publish",
        NamespaceInterest::Namespaces => "namespace",
        NamespaceInterest::Both => "both",
    }
}
