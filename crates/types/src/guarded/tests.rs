use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::{
    AccessControl, Actor, AuditEvent, AuditLog, ErrorKind, Failure, Header, InferenceService, ModelPatterns,
    ModelRef, Operation, RequestHeaders, RequestId, Scopes, ServerMetadata, Wire,
};

struct Nothing;

impl InferenceService for Nothing {
    fn infer(&self, _: crate::InferRequest) -> BoxFuture<'_, Result<crate::InferResponse, Fault>> {
        Box::pin(std::future::pending())
    }

    fn ready(&self) -> bool {
        true
    }

    fn model_ready(&self, _: &ModelRef) -> Result<bool, Fault> {
        Ok(true)
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata { name: "nothing".into(), version: "0".into(), extensions: Vec::new() }
    }

    fn model_metadata(&self, _: &ModelRef) -> Result<crate::ModelMetadata, Fault> {
        Err(Failure::new(ErrorKind::NotFound, "nothing").into())
    }
}

/// Knows one identity, for whoever sends any `authorization`, and counts refusals.
struct One {
    anonymous: Arc<Identity>,
    identity: Arc<Identity>,
    denied: Mutex<Vec<Operation>>,
    /// What nobody may ask for.
    locked: Mutex<Vec<Operation>>,
}

impl AccessControl for One {
    fn anonymous(&self) -> &Arc<Identity> {
        &self.anonymous
    }

    fn unlocked(&self, _: &Presented<'_>, operation: Operation) -> Result<(), AccessError> {
        match self.locked.lock().unwrap().contains(&operation) {
            true => Err(AccessError::Restricted { header: "admin-key".to_owned() }),
            false => Ok(()),
        }
    }

    fn identify(&self, presented: &Presented<'_>) -> Identification {
        match presented.headers.header("authorization") {
            Header::Absent => Identification::Known(Ok(Arc::clone(&self.anonymous))),
            Header::One(b"late") => {
                let identity = Arc::clone(&self.identity);
                Identification::Asked(Box::pin(std::future::ready(Ok(identity))))
            }
            Header::One(_) => Identification::Known(Ok(Arc::clone(&self.identity))),
            Header::Several => Identification::Known(Err(AccessError::NoCredentials.into())),
        }
    }

    fn renew(&self, _: &Arc<Identity>) -> Result<Arc<Identity>, Fault> {
        Err(AccessError::Expired.into())
    }

    fn denied(&self, _: &Identity, operation: Operation) {
        self.denied.lock().unwrap().push(operation);
    }
}

struct Headers(&'static [&'static [u8]]);

impl RequestHeaders for Headers {
    fn header(&self, name: &str) -> Header<'_> {
        match name {
            "authorization" => Header::of(self.0.iter().copied()),
            _ => Header::Absent,
        }
    }
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl AuditLog for Notes {
    fn record(&self, event: &AuditEvent<'_>) {
        let who = match event.actor {
            Actor::Unknown => "-",
            Actor::Client(identity) => identity.name.as_str(),
            Actor::Server => "the server",
        };
        let (target, detail) = (event.target.unwrap_or("-"), event.detail.unwrap_or("-"));
        let outcome = event.outcome.as_str();
        self.0
            .lock()
            .unwrap()
            .push(format!("{who} {} {target} {detail} {outcome}", event.operation));
    }
}

struct World {
    guarded: Guarded,
    access: Arc<One>,
    audit: Arc<Notes>,
}

fn world(anonymous: &[Scope], scopes: &[Scope], models: ModelPatterns) -> World {
    let anonymous = Identity::new("anonymous", IdentityKind::Anonymous, anonymous.iter().copied().collect());
    let identity = Identity {
        models,
        ..Identity::new("key_1", IdentityKind::ApiKey, scopes.iter().copied().collect::<Scopes>())
    };
    let access = Arc::new(One {
        anonymous: Arc::new(anonymous),
        identity: Arc::new(identity),
        denied: Mutex::default(),
        locked: Mutex::default(),
    });
    let audit = Arc::new(Notes::default());
    let services = Services {
        access: Some(Arc::clone(&access) as _),
        audit: Some(Arc::clone(&audit) as _),
        ..Services::from(Arc::new(Nothing))
    };
    World { guarded: Guarded::new(services), access, audit }
}

impl World {
    fn admit(&self, headers: &'static [&'static [u8]], asked: &Asked<'_>) -> Result<Pass, Fault> {
        let headers = Headers(headers);
        let presented = Presented { wire: Wire::Rest, headers: &headers, certificate: None };
        match self.guarded.admit(&presented, asked) {
            Admission::Decided(decided) => decided,
            Admission::Waiting(_) => self.guarded.passed(Ok(Arc::clone(&self.access.identity)), asked),
        }
    }

    fn may(
        &self,
        headers: &'static [&'static [u8]],
        operation: Operation,
        model: &str,
    ) -> Result<(), ErrorKind> {
        let id = RequestId::next();
        let asked = Asked::new(operation, &id).of(model);
        let pass = self.admit(headers, &asked).map_err(|fault| fault.kind())?;
        self.guarded.enter(Some(&pass), &asked).map(drop).map_err(|fault| fault.kind())
    }
}

const KEY: &[&[u8]] = &[b"key"];
const TWICE: &[&[u8]] = &[b"a", b"b"];

#[test]
fn without_access_control_everybody_enters() {
    let guarded = Guarded::new(Arc::new(Nothing));
    let id = RequestId::next();
    for operation in Operation::ALL {
        let entered = guarded.enter(None, &Asked::new(operation, &id).of("m")).unwrap();
        assert!(entered.identity().is_none() && entered.shows("m") && entered.all_models().is_ok());
    }
}

#[test]
fn an_identity_does_what_its_scopes_say_and_nothing_else() {
    for scope in Scope::ALL {
        let world = world(&[], &[scope], ModelPatterns::ALL);
        for operation in Operation::ALL {
            let expected = if scope == operation.scope() || scope == Scope::Admin {
                Ok(())
            } else {
                Err(ErrorKind::PermissionDenied)
            };
            assert_eq!(world.may(KEY, operation, "m"), expected, "{scope:?} {operation:?}");
            assert_eq!(world.may(&[b"late"], operation, "m"), expected, "{scope:?} {operation:?}");
            assert_eq!(world.may(&[], operation, "m"), Err(ErrorKind::Unauthenticated), "{operation:?}");
            assert_eq!(world.may(&[b"a", b"b"], operation, "m"), Err(ErrorKind::Unauthenticated));
        }
        assert!(!world.access.denied.lock().unwrap().is_empty());
    }
}

#[test]
fn models_out_of_its_patterns_are_not_its_own() {
    let world = world(&[], &[Scope::Infer, Scope::Cache], ModelPatterns::new(["team-a-*"]));
    assert_eq!(world.may(KEY, Operation::Infer, "team-a-x"), Ok(()));
    assert_eq!(world.may(KEY, Operation::Infer, "team-b-x"), Err(ErrorKind::PermissionDenied));
    let id = RequestId::next();
    let asked = Asked::new(Operation::CachePurge, &id);
    let pass = world.admit(KEY, &asked).unwrap();
    let entered = world.guarded.enter(Some(&pass), &asked).unwrap();
    assert!(entered.shows("team-a-1") && !entered.shows("other"));
    assert_eq!(entered.all_models().unwrap_err().kind(), ErrorKind::PermissionDenied);
    drop(entered);
    assert_eq!(*world.audit.0.lock().unwrap(), ["key_1 cache_purge - - refused"]);
}

#[test]
fn health_that_is_open_is_asked_for_without_a_look_at_credentials() {
    let world = world(&[Scope::Health, Scope::Infer], &[], ModelPatterns::ALL);
    for headers in [&[][..], KEY, TWICE] {
        assert_eq!(world.may(headers, Operation::ServerReady, ""), Ok(()));
    }
    // What is not for probes is done in the name of whoever says a name.
    assert_eq!(world.may(&[], Operation::Infer, "m"), Ok(()));
    assert_eq!(world.may(KEY, Operation::Infer, "m"), Err(ErrorKind::PermissionDenied));
    assert_eq!(world.may(&[], Operation::ModelLoad, "m"), Err(ErrorKind::Unauthenticated));
}

#[test]
fn no_pass_is_nobodys() {
    let world = world(&[Scope::Health], &[Scope::Admin], ModelPatterns::ALL);
    let id = RequestId::next();
    for operation in Operation::ALL {
        let asked = Asked::new(operation, &id);
        let refused = world.guarded.enter(None, &asked).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{operation:?}");
        let refused = world.guarded.enter(Some(&Pass(None)), &asked).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{operation:?}");
    }
}

#[test]
fn an_identity_ends_with_its_time() {
    let world = world(&[], &[Scope::Admin], ModelPatterns::ALL);
    let past = SystemTime::now() - Duration::from_secs(1);
    let expired = Identity { expires_at: Some(past), ..(*world.access.identity).clone() };
    let id = RequestId::next();
    let asked = Asked::new(Operation::Infer, &id);
    let refused = world.guarded.passed(Ok(Arc::new(expired)), &asked).unwrap_err();
    assert_eq!(
        (refused.kind(), &*refused.client_message()),
        (ErrorKind::Unauthenticated, "the credentials have expired")
    );
    let mut pass = world.admit(KEY, &asked).unwrap();
    assert_eq!(world.guarded.renew(&mut pass).unwrap_err().kind(), ErrorKind::Unauthenticated);
}

#[test]
fn who_has_ended_is_noted_and_counted_with_what_they_tried() {
    let world = world(&[], &[Scope::Admin], ModelPatterns::ALL);
    let past = SystemTime::now() - Duration::from_secs(1);
    let expired = Identity { expires_at: Some(past), ..(*world.access.identity).clone() };
    let id = RequestId::next();
    let asked = Asked::new(Operation::ModelLoad, &id).of("abc");
    assert!(world.guarded.passed(Ok(Arc::new(expired)), &asked).is_err());
    assert_eq!(*world.audit.0.lock().unwrap(), ["key_1 model_load abc - refused"]);
    assert_eq!(*world.access.denied.lock().unwrap(), [Operation::ModelLoad]);
}

#[test]
fn changes_are_noted_with_who_made_them_and_what_became_of_them() {
    let world = world(&[Scope::Health], &[Scope::Repository, Scope::Infer], ModelPatterns::new(["a*"]));
    let id = RequestId::next();
    let asked = Asked::new(Operation::ModelLoad, &id).of("abc");
    let pass = world.admit(KEY, &asked).unwrap();
    world.guarded.enter(Some(&pass), &asked).unwrap().done(|| Some("with files".to_owned()));
    drop(world.guarded.enter(Some(&pass), &asked).unwrap());
    assert!(
        world
            .guarded
            .enter(Some(&pass), &Asked::new(Operation::ModelUnload, &id).of("b"))
            .is_err()
    );
    assert!(world.admit(KEY, &Asked::new(Operation::LogUpdate, &id)).is_err());
    assert!(world.admit(&[b"a", b"b"], &asked).is_err());
    world
        .guarded
        .enter(Some(&pass), &Asked::new(Operation::Infer, &id).of("a"))
        .unwrap()
        .done(|| None);
    assert_eq!(
        *world.audit.0.lock().unwrap(),
        [
            "key_1 model_load abc with files done",
            "key_1 model_load abc - failed",
            "key_1 model_unload b - refused",
            "key_1 log_update - - refused",
            "- model_load abc - refused",
        ]
    );
}

#[test]
fn what_is_restricted_is_refused_whoever_asks_and_before_they_are_asked_for() {
    let world = world(&[Scope::Health], &[Scope::Admin], ModelPatterns::ALL);
    let restricted = [Operation::ServerLive, Operation::ModelLoad];
    world.access.locked.lock().unwrap().extend(restricted);
    for operation in restricted {
        let shown: [&[&[u8]]; 4] = [&[], &[b"x"], &[b"late"], &[b"x", b"y"]];
        for headers in shown {
            assert_eq!(world.may(headers, operation, "m"), Err(ErrorKind::PermissionDenied), "{operation:?}");
        }
    }
    assert_eq!(world.may(&[], Operation::ServerReady, ""), Ok(()));
    assert_eq!(world.may(&[b"x"], Operation::ModelUnload, "m"), Ok(()));
    assert_eq!(world.access.denied.lock().unwrap().len(), 8);
    assert_eq!(world.audit.0.lock().unwrap()[0], "- model_load m - refused");
}
