use std::sync::Arc;

use adulis_types::{
    Admission, Asked, ClientCertificate, Entered, Guarded, Header, Presented, RequestHeaders, Services, Wire,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::HttpOptions;
use crate::coding::Codec;
use crate::error::Refusal;

/// What the handlers share. The services are behind [`Rest::enter`], and nowhere else.
pub(crate) struct Rest {
    guarded: Guarded,
    pub(crate) options: HttpOptions,
    pub(crate) codec: Codec,
}

impl Rest {
    pub(crate) fn new(services: impl Into<Services>, options: HttpOptions) -> Self {
        let codec = Codec::new(options.bodies.clone());
        Self { guarded: Guarded::new(services), options, codec }
    }

    /// Lets a request in, by its head. The body need not have been read.
    ///
    /// # Errors
    /// Who asks is not known, or may not.
    pub(crate) async fn enter(&self, parts: &Parts, asked: Asked<'_>) -> Result<Entered<'_>, Refusal> {
        enter(&self.guarded, parts, asked).await
    }
}

/// The same, of services that something else than routes of inference holds.
///
/// # Errors
/// Who asks is not known, or may not.
pub(crate) async fn enter<'a>(
    guarded: &'a Guarded,
    parts: &Parts,
    asked: Asked<'_>,
) -> Result<Entered<'a>, Refusal> {
    if guarded.is_open() {
        return Ok(guarded.enter(None, &asked)?);
    }
    let admission = guarded.admit(
        &Presented {
            wire: Wire::Rest,
            headers: &Head(&parts.headers),
            certificate: parts.extensions.get::<Arc<ClientCertificate>>().map(|certificate| &**certificate),
        },
        &asked,
    );
    let pass = match admission {
        Admission::Decided(pass) => pass?,
        Admission::Waiting(asking) => guarded.passed(asking.await, &asked)?,
    };
    Ok(guarded.enter(Some(&pass), &asked)?)
}

struct Head<'a>(&'a HeaderMap);

impl RequestHeaders for Head<'_> {
    fn header(&self, name: &str) -> Header<'_> {
        Header::of(self.0.get_all(name).iter().map(HeaderValue::as_bytes))
    }
}
