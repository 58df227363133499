use std::sync::Arc;
use std::time::SystemTime;

use crate::{
    AccessError, Asked, AuditOutcome, BoxFuture, Entered, Fault, Identification, Identity, IdentityKind,
    Name, Presented, Scope, Services,
};

/// Services behind the check of who asks. Frontends hold nothing else, so that none of their handlers can reach a service
/// without it.
///
/// A request is admitted first, by what its head says, and enters when it is known what it asks for. Where there is no access
/// control either costs a branch.
pub struct Guarded {
    services: Arc<Services>,
}

/// Proof that somebody was admitted. Only [`Guarded::admit`] makes one.
#[derive(Debug, Clone)]
pub struct Pass(Option<Arc<Identity>>);

/// Whether a request is admitted, at once or after somebody was asked.
pub enum Admission {
    /// It is, or it is not.
    Decided(Result<Pass, Fault>),
    /// It is being found out who it is, for [`Guarded::passed`].
    Waiting(BoxFuture<'static, Result<Arc<Identity>, Fault>>),
}

impl Guarded {
    /// Puts services behind the check of [`Services::access`].
    #[must_use]
    pub fn new(services: impl Into<Services>) -> Self {
        Self { services: Arc::new(services.into()) }
    }

    /// Whether everybody is admitted to everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.services.access.is_none()
    }

    /// Finds out who asks, and whether they may do such a thing at all. Nothing of the request but its head need be there.
    ///
    /// # Errors
    /// What [`AccessControl::identify`](crate::AccessControl::identify) says, and [`AccessError`].
    pub fn admit(&self, presented: &Presented<'_>, asked: &Asked<'_>) -> Admission {
        let Some(access) = &self.services.access else {
            return Admission::Decided(Ok(Pass(None)));
        };
        let anonymous = access.anonymous();
        if let Err(error) = access.unlocked(presented, asked.operation) {
            access.denied(anonymous, asked.operation);
            self.note(None, asked, AuditOutcome::Refused);
            return Admission::Decided(Err(error.into()));
        }
        let scope = asked.operation.scope();
        // Probes and scrapers are answered whatever they send, and cost nobody a look-up.
        if matches!(scope, Scope::Health | Scope::Metrics) && anonymous.scopes.permit(scope) {
            return Admission::Decided(Ok(Pass(Some(Arc::clone(anonymous)))));
        }
        match access.identify(presented) {
            Identification::Known(identified) => Admission::Decided(self.passed(identified, asked)),
            Identification::Asked(asking) => Admission::Waiting(asking),
        }
    }

    /// What becomes of a request whose sender had to be asked for: see [`Admission::Waiting`].
    ///
    /// # Errors
    /// [`AccessError`], and the error that came instead of an identity.
    pub fn passed(&self, identified: Result<Arc<Identity>, Fault>, asked: &Asked<'_>) -> Result<Pass, Fault> {
        let identity = identified.inspect_err(|_| self.note(None, asked, AuditOutcome::Refused))?;
        self.check(&identity, asked)?;
        Ok(Pass(Some(identity)))
    }

    /// Lets a request in that was admitted. A pass that is missing is that of nobody.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn enter(&self, pass: Option<&Pass>, asked: &Asked<'_>) -> Result<Entered<'_>, Fault> {
        if self.is_open() {
            return Ok(Entered::new(&self.services, None, asked));
        }
        let identity = pass.and_then(|pass| pass.0.as_ref()).ok_or(AccessError::NoCredentials)?;
        self.check(identity, asked)?;
        Ok(Entered::new(&self.services, Some(Arc::clone(identity)), asked))
    }

    /// The pass as it is now, for a stream on which requests go on coming.
    ///
    /// # Errors
    /// What [`AccessControl::renew`](crate::AccessControl::renew) says.
    pub fn renew(&self, pass: &mut Pass) -> Result<(), Fault> {
        if let (Some(access), Some(identity)) = (&self.services.access, &mut pass.0)
            && identity.kind != IdentityKind::Anonymous
        {
            *identity = access.renew(identity)?;
        }
        Ok(())
    }

    fn check(&self, identity: &Identity, asked: &Asked<'_>) -> Result<(), AccessError> {
        let scope = asked.operation.scope();
        let is_expired = identity.expires_at.is_some() && identity.is_expired(SystemTime::now());
        if !is_expired && identity.may(scope, asked.model) {
            return Ok(());
        }
        if let Some(access) = &self.services.access {
            access.denied(identity, asked.operation);
        }
        self.note(Some(identity), asked, AuditOutcome::Refused);
        if is_expired {
            return Err(AccessError::Expired);
        }
        // Who has not said who they are is told how to.
        if identity.kind == IdentityKind::Anonymous {
            return Err(AccessError::NoCredentials);
        }
        let who = identity.into();
        Err(match asked.model {
            Some(model) if identity.scopes.permit(scope) => {
                AccessError::Model { who, model: Name::from(model) }
            }
            _ => AccessError::Scope { who, scope },
        })
    }

    fn note(&self, identity: Option<&Identity>, asked: &Asked<'_>, outcome: AuditOutcome) {
        if let Some(audit) = self.services.audit.as_ref().filter(|_| asked.operation.is_change()) {
            audit.record(&asked.event(identity, outcome));
        }
    }
}

#[cfg(test)]
mod tests;
