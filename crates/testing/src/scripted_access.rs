use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adulis_telemetry::{MetricRegistry, TraceOptions, Tracer};
use adulis_types::{
    AccessControl, AccessError, ErrorKind, Failure, Fault, Header, Identification, Identity, IdentityKind,
    ModelPatterns, Operation, Presented, Scope, Scopes, Services,
};
use parking_lot::Mutex;

use crate::{ScriptedLog, ScriptedService};

/// Access control in which a request says itself what its sender may do, for tests of who asks whether they may.
///
/// `authorization: Bearer infer,metadata` may do these two things, `Bearer infer@team-*` with those models only. With `late:`
/// before it the identity has to be asked for. `Bearer nobody` is known to be nobody. Without the header, nothing is permitted
/// but what [`ScriptedAccess::anonymous`] was made with.
#[derive(Debug)]
pub struct ScriptedAccess {
    anonymous: Arc<Identity>,
    /// Whether identities that streams go on with have ended.
    pub ended: AtomicBool,
    /// What was denied to identities so far.
    pub denied: Mutex<Vec<Operation>>,
}

impl ScriptedAccess {
    /// With these scopes for who sends no credentials.
    #[must_use]
    pub fn new(anonymous: &[Scope]) -> Arc<Self> {
        let scopes = anonymous.iter().copied().collect();
        Arc::new(Self {
            anonymous: Arc::new(Identity::new("anonymous", IdentityKind::Anonymous, scopes)),
            ended: AtomicBool::new(false),
            denied: Mutex::default(),
        })
    }
}

/// Services that a frontend asks who may use them.
pub struct GuardedServices {
    /// All of them, with the log's and the traces' settings.
    pub services: Services,
    /// That of inference.
    pub inference: Arc<ScriptedService>,
    /// That of who may do what.
    pub access: Arc<ScriptedAccess>,
}

impl GuardedServices {
    /// With these scopes for who sends no credentials.
    #[must_use]
    pub fn new(anonymous: &[Scope]) -> Self {
        let (inference, access) = (Arc::new(ScriptedService::default()), ScriptedAccess::new(anonymous));
        let services = Services {
            log: Some(Arc::new(ScriptedLog::default())),
            trace: Some(Arc::new(Tracer::new(TraceOptions::default(), &MetricRegistry::default()))),
            access: Some(Arc::clone(&access) as _),
            ..Services::from(Arc::clone(&inference))
        };
        Self { services, inference, access }
    }
}

/// The value of an `authorization` header whose sender has these scopes.
#[must_use]
pub fn bearer(scopes: &[Scope]) -> String {
    let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    format!("Bearer {}", names.join(","))
}

fn nobody() -> Fault {
    Failure::new(ErrorKind::Unauthenticated, "nobody has these credentials").into()
}

fn identity(said: &str) -> Result<Arc<Identity>, Fault> {
    let (scopes, models) = said.split_once('@').unwrap_or((said, "*"));
    let named = scopes.split(',').filter(|name| !name.is_empty()).map(Scope::named);
    let scopes: Scopes = named.collect::<Option<Vec<Scope>>>().ok_or_else(nobody)?.into_iter().collect();
    let models = ModelPatterns::new(models.split(','));
    Ok(Arc::new(Identity { models, ..Identity::new("scripted", IdentityKind::ApiKey, scopes) }))
}

impl AccessControl for ScriptedAccess {
    fn anonymous(&self) -> &Arc<Identity> {
        &self.anonymous
    }

    fn identify(&self, presented: &Presented<'_>) -> Identification {
        let said = match presented.headers.header("authorization") {
            Header::Absent => return Identification::Known(Ok(Arc::clone(&self.anonymous))),
            Header::One(value) => std::str::from_utf8(value).ok(),
            Header::Several => None,
        };
        match said.and_then(|said| said.strip_prefix("Bearer ")) {
            None => Identification::Known(Err(nobody())),
            Some(said) => match said.strip_prefix("late:").map(str::to_owned) {
                None => Identification::Known(identity(said)),
                Some(said) => Identification::Asked(Box::pin(async move {
                    tokio::task::yield_now().await;
                    identity(&said)
                })),
            },
        }
    }

    fn renew(&self, known: &Arc<Identity>) -> Result<Arc<Identity>, Fault> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(AccessError::Expired.into());
        }
        Ok(Arc::clone(known))
    }

    fn denied(&self, _: &Identity, operation: Operation) {
        self.denied.lock().push(operation);
    }
}
