use std::borrow::Cow;
use std::fmt;

use crate::{ErrorKind, Identity, IdentityKind, Name, Scope, ServiceError};

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Nothing says who asks.
    #[error("who asks is not known: send 'authorization: Bearer KEY' or 'x-api-key: KEY'")]
    NoCredentials,
    /// The operation is kept for requests with a header of a certain value.
    #[error("this API is restricted, expecting header '{header}'")]
    Restricted {
        /// The header.
        header: String,
    },
    /// The identity has ended since it was admitted.
    #[error("the credentials have expired")]
    Expired,
    /// The identity lacks a scope.
    #[error("{who} may not do this: it needs the scope '{}'", .scope.as_str())]
    Scope {
        /// Who asked.
        who: Who,
        /// What is missing.
        scope: Scope,
    },
    /// The identity may not name this model.
    #[error("{who} may not use model '{model}'")]
    Model {
        /// Who asked.
        who: Who,
        /// The model.
        model: Name,
    },
    /// What is asked for concerns models that the identity may not name.
    #[error("{who} may not do this to all models: it is limited to some")]
    AllModels {
        /// Who asked.
        who: Who,
    },
}

/// An identity in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who(Option<Name>);

impl From<&Identity> for Who {
    fn from(identity: &Identity) -> Self {
        Self((identity.kind != IdentityKind::Anonymous).then(|| identity.name.clone()))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "'{name}'"),
            None => f.write_str("a client without credentials"),
        }
    }
}

impl ServiceError for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCredentials | Self::Expired => ErrorKind::Unauthenticated,
            Self::Restricted { .. } | Self::Scope { .. } | Self::Model { .. } | Self::AllModels { .. } => {
                ErrorKind::PermissionDenied
            }
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        Cow::Owned(self.to_string())
    }
}
