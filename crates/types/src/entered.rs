use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    AccessError, AuditEvent, AuditOutcome, ErrorKind, Fault, Identity, LoadModel, Name, Operation, RequestId,
    Services,
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub(crate) operation: Operation,
    pub(crate) model: Option<&'a str>,
    request_id: &'a RequestId,
}

impl<'a> Asked<'a> {
    /// An operation that concerns no model, or all of them.
    #[must_use]
    pub fn new(operation: Operation, request_id: &'a RequestId) -> Self {
        Self { operation, model: None, request_id }
    }

    /// The same, of one model where its name is not empty.
    #[must_use]
    pub fn of(self, model: &'a str) -> Self {
        Self { model: Some(model).filter(|model| !model.is_empty()), ..self }
    }

    pub(crate) fn event<'e>(
        &'e self,
        identity: Option<&'e Identity>,
        outcome: AuditOutcome,
    ) -> AuditEvent<'e> {
        AuditEvent {
            operation: self.operation.as_str(),
            actor: identity.into(),
            target: self.model,
            detail: None,
            request_id: Some(self.request_id),
            outcome,
        }
    }
}

/// The way to the services for one request that may use them.
///
/// What changes the server is noted in [`Services::audit`] when this is dropped: as done where that was said, else as failed.
pub struct Entered<'a> {
    services: &'a Arc<Services>,
    identity: Option<Arc<Identity>>,
    /// Where it is to be noted.
    change: Option<Box<ChangeUnderWay>>,
    operation: Operation,
}

struct ChangeUnderWay {
    model: Option<Name>,
    request_id: RequestId,
    detail: Option<String>,
    outcome: AuditOutcome,
    is_refused: AtomicBool,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(
        services: &'a Arc<Services>,
        identity: Option<Arc<Identity>>,
        asked: &Asked<'_>,
    ) -> Self {
        let operation = asked.operation;
        let change = (services.audit.is_some() && operation.is_change()).then(|| {
            Box::new(ChangeUnderWay {
                model: asked.model.map(Name::from),
                request_id: asked.request_id.clone(),
                detail: None,
                outcome: AuditOutcome::Failed,
                is_refused: AtomicBool::new(false),
            })
        });
        Self { services, identity, change, operation }
    }

    /// What was asked for.
    #[must_use]
    pub fn services(&self) -> &'a Services {
        self.services
    }

    /// The same, to be kept while a stream goes on.
    #[must_use]
    pub fn shared(&self) -> Arc<Services> {
        Arc::clone(self.services)
    }

    /// Who asks; `None` where nobody is asked who they are.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Whether whoever asks may do this to a model that was not known when it entered.
    ///
    /// # Errors
    /// [`AccessError::Model`].
    pub fn model(&self, model: &str) -> Result<(), Fault> {
        match &self.identity {
            Some(identity) if !identity.models.matches(model) => {
                self.denied(identity);
                Err(AccessError::Model { who: (&**identity).into(), model: model.into() }.into())
            }
            _ => Ok(()),
        }
    }

    /// Whether a list may name this model to whoever asks.
    #[must_use]
    pub fn shows(&self, model: &str) -> bool {
        self.identity.as_ref().is_none_or(|identity| identity.models.matches(model))
    }

    /// Whether whoever asks may do this to every model.
    ///
    /// # Errors
    /// [`AccessError::AllModels`].
    pub fn all_models(&self) -> Result<(), Fault> {
        match &self.identity {
            Some(identity) if !identity.models.is_all() => {
                self.denied(identity);
                Err(AccessError::AllModels { who: (&**identity).into() }.into())
            }
            _ => Ok(()),
        }
    }

    /// Loads a model in the name of whoever asks: of an ensemble, only if they may use all that it is made of.
    ///
    /// # Errors
    /// What [`InferenceService::load_model`](crate::InferenceService::load_model) says.
    pub async fn load_model(self, load: LoadModel) -> Result<(), Fault> {
        let (own, files) = (load.config.is_some(), load.files.len());
        let load = LoadModel { identity: self.identity.clone(), ..load };
        if let Err(fault) = self.services.inference.load_model(load).await {
            if let (ErrorKind::PermissionDenied, Some(identity)) = (fault.kind(), &self.identity) {
                self.denied(identity);
            }
            return Err(fault);
        }
        self.done(|| own.then(|| format!("configuration of the request, {files} files")));
        Ok(())
    }

    fn denied(&self, identity: &Identity) {
        if let Some(change) = &self.change {
            change.is_refused.store(true, Ordering::Relaxed);
        }
        if let Some(access) = &self.services.access {
            access.denied(identity, self.operation);
        }
    }

    /// Says that a change was made; `detail` is asked for what it was, where that is noted.
    pub fn done(mut self, detail: impl FnOnce() -> Option<String>) {
        if let Some(change) = &mut self.change {
            change.outcome = AuditOutcome::Done;
            change.detail = detail();
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let (Some(change), Some(audit)) = (self.change.take(), &self.services.audit) {
            let is_refused = change.is_refused.load(Ordering::Relaxed);
            audit.record(&AuditEvent {
                operation: self.operation.as_str(),
                actor: self.identity.as_deref().into(),
                target: change.model.as_deref(),
                detail: change.detail.as_deref(),
                request_id: Some(&change.request_id),
                outcome: if is_refused { AuditOutcome::Refused } else { change.outcome },
            });
        }
    }
}
