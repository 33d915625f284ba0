//! Who may do what on a relay: [`Rules`], from a file of tokens, signed tokens (JWT) and the
//! names in relays' certificates.
//!
//! With none of these everybody may do everything. As soon as one is there, nobody may do what
//! is not granted.
//!
//! # The file
//!
//! TOML, all parts optional. A key that is not known is an error.
//!
//! ```toml
//! # A token that both sides know.
//! [[token]]
//! name = "studio 1"                     # for the log
//! token = "long and random"             # or: sha256 = "64 hex digits", of the token
//! permissions = ["publisher"]
//! namespaces = ["meet/*/audio", "live/**"]
//! track = "cam-*"                       # then for these tracks alone
//! expires = 2030-01-31T12:00:00Z        # or seconds since the start of 1970
//!
//! # Tokens that somebody has signed.
//! [jwt]
//! issuer = "https://login.example"      # then `iss` must be this
//! audience = "relay.example"            # then `aud` must be or hold this
//! leeway = 30                           # seconds that clocks may differ; 30 if not given
//!
//! [[jwt.key]]
//! file = "login.pem"                    # a public key (PEM), JWK, set of JWKs, or secret
//! algorithm = "ES256"                   # HS256, ES256 or EdDSA; needed for a secret alone
//! kid = "2030"                          # as in the tokens' headers
//!
//! # Relays, who may do everything.
//! [relays]
//! certificates = ["hub.example", "*.edge.example"]
//!
//! [sessions]
//! need_token = false                    # whether there is no session without a token
//! ```
//!
//! Permissions are `publish`, `publish-namespace`, `subscribe`, `fetch`, `track-status` and
//! `subscribe-namespace` (also SUBSCRIBE_TRACKS), each a kind of request, and `publisher`,
//! `subscriber` and `all` for the first two, the other four, and all. Namespaces are
//! [`NamespacePattern`]s. Whoever publishes or subscribes to a namespace as such (PUBLISH_NAMESPACE,
//! SUBSCRIBE_NAMESPACE) gets all that is beneath it, so these need a pattern that ends in `**`, and
//! no `track`. Entries with the same token add up.
//!
//! # Signed tokens
//!
//! HS256, ES256 and EdDSA. A key serves the algorithm that it is for and no other, whatever a
//! token's header says. `exp` and `nbf` are obeyed. Claims that grant something, each one text or
//! a list of them:
//!
//! | claim | what it grants |
//! |---|---|
//! | `publish` | `publisher` for namespaces of these patterns |
//! | `subscribe` | `subscriber` for namespaces of these patterns |
//! | `pub`, `put` | `publisher` for all beneath these namespaces, as moq-token has it |
//! | `sub` (a list), `get` | `subscriber` for all beneath these namespaces, as moq-token has it |
//! | `root` | nothing: fields to put before all of these |
//!
//! `sub` with one text is who the token is about, for the log, and grants nothing.
//!
//! # Where a token is shown
//!
//! As AUTHORIZATION TOKEN of type 0 with a request or in SETUP, or in the path that a client asks
//! for: `?token=…`, `?jwt=…`, or as one of its segments. Types other than 0 are ignored. What
//! a session's tokens allow holds for all of its requests, beside what a request's own allow.
//! Eight tokens in each place are looked at, of up to 8 KiB.
//!
//! | answer | when |
//! |---|---|
//! | UNAUTHORIZED | no token allows it; one that is unknown, or not valid yet, allows nothing |
//! | MALFORMED_AUTH_TOKEN | a token with the request, or with the session, cannot be read |
//! | EXPIRED_AUTH_TOKEN | a token with the request has expired, or nothing but one that has allows it |
//!
//! A request ends when the last token that allows it expires. So does a session if `need_token` is
//! set.
//!
//! # Guessing
//!
//! Failed attempts are counted by address in [`Guesses`], if [`PeerInfo::address`] says where a
//! client is.
//!
//! [`PeerInfo::address`]: moqt_relay::PeerInfo

mod clock;
mod credentials;
mod file;
mod grant;
mod guesses;
mod jwt;
mod jwt_key;
mod pattern;
mod rules;
mod tokens;

pub use crate::load_error::LoadError;
pub use clock::WallClock;
pub use credentials::path_without_secrets;
pub use guesses::Guesses;
pub(crate) use pattern::unescape;
pub use pattern::{NamespacePattern, PatternError, TextPattern};
pub use rules::{Rules, Sources};
