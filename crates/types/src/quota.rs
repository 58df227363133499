use std::sync::Arc;

/// How the limits of whoever asks stand, in the words of the standard's header fields: lists of what HTTP calls structured fields.
/// gRPC has them as metadata of the same names.
///
/// Source: draft-ietf-httpapi-ratelimit-headers-10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaReport {
    /// The limits that there are, as `RateLimit-Policy` has them: `"requests";q=20;w=2, "rows";q=640;w=20;qu="rows"`.
    pub policy: Arc<str>,
    /// What is left of each, and in how many seconds there is more of it, as `RateLimit` has it:
    /// `"requests";r=19;t=1, "rows";r=632;t=1`.
    pub state: Box<str>,
}

impl QuotaReport {
    /// The header field that holds [`QuotaReport::policy`].
    pub const POLICY: &str = "ratelimit-policy";
    /// The header field that holds [`QuotaReport::state`].
    pub const STATE: &str = "ratelimit";

    /// Both fields with their values.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, &str); 2] {
        [(Self::POLICY, &self.policy), (Self::STATE, &self.state)]
    }
}
