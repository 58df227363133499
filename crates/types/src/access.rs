use std::fmt;
use std::sync::Arc;

use crate::{AccessError, BoxFuture, ClientCertificate, Fault, Identity, Operation};

/// Who may do what. Without one everybody may do everything.
pub trait AccessControl: Send + Sync + 'static {
    /// Who sends no credentials, and what they may do. Health and metrics that it may ask for are answered to everybody, whatever
    /// credentials they send.
    fn anonymous(&self) -> &Arc<Identity>;

    /// Whether this may be asked for at all with what the request shows, whoever sends it. Asked first, of what is open to
    /// everybody, too.
    ///
    /// # Errors
    /// [`AccessError::Restricted`] for an operation that is kept for requests with a certain header.
    fn unlocked(&self, presented: &Presented<'_>, operation: Operation) -> Result<(), AccessError> {
        let _ = (presented, operation);
        Ok(())
    }

    /// Who presents these credentials; the anonymous identity for none. The costs of a known identity are those of finding it in
    /// memory.
    fn identify(&self, presented: &Presented<'_>) -> Identification;

    /// The identity as it is now, for what goes on for longer than a request: one that has been revoked or changed since is found
    /// out within the same time as elsewhere. Must not block.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unauthenticated`] for one that is nobody any more.
    fn renew(&self, identity: &Arc<Identity>) -> Result<Arc<Identity>, Fault>;

    /// Takes note that an identity was refused something.
    fn denied(&self, identity: &Identity, operation: Operation);
}

/// Who it is, at once or after somebody was asked.
pub enum Identification {
    /// It is known, or known to be nobody.
    Known(Result<Arc<Identity>, Fault>),
    /// A store or the like has to be asked.
    Asked(BoxFuture<'static, Result<Arc<Identity>, Fault>>),
}

impl fmt::Debug for Identification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => f.debug_tuple("Known").field(known).finish(),
            Self::Asked(_) => f.write_str("Asked"),
        }
    }
}

/// What a request shows to say who sends it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// How it came.
    pub wire: Wire,
    /// Its headers, or the metadata of its call.
    pub headers: &'a dyn RequestHeaders,
    /// What the certificate of its connection says, where there is one.
    pub certificate: Option<&'a ClientCertificate>,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// As REST.
    Rest,
    /// As gRPC.
    Grpc,
}

/// The headers of a request, whichever library holds them.
pub trait RequestHeaders {
    /// The header of this name, in lower case.
    fn header(&self, name: &str) -> Header<'_>;
}

/// A header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// It is not there.
    Absent,
    /// Its value.
    One(&'a [u8]),
    /// It is there more than once: which of them counts is nobody's to guess.
    Several,
}

impl<'a> Header<'a> {
    /// Of all values that there are.
    #[must_use]
    pub fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => Header::One(value),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}
