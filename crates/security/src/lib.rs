//! Who sends a request, and what they may do; and a log of what was changed.
//!
//! ```text
//! head ─ Credentials ┬ none, a certificate ─ rules ───────────────────────┐
//!                    ├ a key of the configuration ─ its digest's entry ────┤
//!                    ├ a key of the store ─ IdentityCache ─ KeySource ─────┼─ Identity, or why not
//!                    ├ a token ─ IdentityCache ─ the issuer's public keys ─┤
//!                    └ none of these ──────────────────────────────────────┘
//! ```
//!
//! [`Authenticator`] is the [`AccessControl`](adulis_types::AccessControl) that a server is handed, with [`RestrictedAccess`]
//! around it or instead where some operations are kept for requests with a header; which operations need which scope is the one
//! table of `adulis-types`, not decided here. Invariants:
//!
//! - A secret is not kept: what a client shows is digested at once, and looked up by its digest. No secret is compared with
//!   another, and digests are compared in the same time wherever they differ, so that no comparison can be timed.
//! - What is remembered of identities is bounded in number and age: a key that was revoked is refused everywhere within twice the
//!   time that it is remembered.
//! - How many look-ups are under way is bounded, whatever is asked; what a client shows and cannot be a key causes none. Keys that are
//!   known have turns of their own: however many are made up, one that was valid is looked at again in time, and so is its end.
//! - Tokens are verified with public keys only, of the algorithms that are configured: neither what a token says of itself nor
//!   what lies in a key set adds another one.
//! - Credentials that are wrong, doubled or not understood are refused, never taken for none.

mod audit_file;
mod authenticator;
mod certificate_rule;
mod configured_key;
mod credentials;
mod error;
mod identity_cache;
mod key_source;
mod metrics;
mod restricted_api;
#[cfg(test)]
mod timing_tests;
mod token;

pub use audit_file::AuditFile;
pub use authenticator::{AuthOptions, Authenticator};
pub use certificate_rule::CertificateRule;
pub use configured_key::{ConfiguredKey, DigestError, KeyDigest};
pub use error::{AuthError, AuthSetupError};
pub use key_source::{KeySource, KeySourceError, SourceKey};
pub use restricted_api::{ApiGroup, RestrictedAccess, RestrictedApi};
pub use token::{KeySetPlace, TokenAlgorithm, TokenOptions};
