use std::sync::Arc;

use adulis_types::{
    AccessControl, AccessError, Fault, Header, Identification, Identity, IdentityKind, Operation, Presented,
    Scope, Scopes, Wire,
};

use crate::KeyDigest;
use crate::configured_key::GRPC_PREFIX;

/// Operations that are restricted together, by the name that Triton has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each says by its name what is restricted")]
pub enum ApiGroup {
    Health,
    Metadata,
    Inference,
    SharedMemory,
    ModelConfig,
    ModelRepository,
    Statistics,
    Trace,
    Logging,
}

impl ApiGroup {
    /// Every group.
    pub const ALL: [ApiGroup; 9] = [
        ApiGroup::Health,
        ApiGroup::Metadata,
        ApiGroup::Inference,
        ApiGroup::SharedMemory,
        ApiGroup::ModelConfig,
        ApiGroup::ModelRepository,
        ApiGroup::Statistics,
        ApiGroup::Trace,
        ApiGroup::Logging,
    ];

    /// Its name, as Triton has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ApiGroup::Health => "health",
            ApiGroup::Metadata => "metadata",
            ApiGroup::Inference => "inference",
            ApiGroup::SharedMemory => "shared-memory",
            ApiGroup::ModelConfig => "model-config",
            ApiGroup::ModelRepository => "model-repository",
            ApiGroup::Statistics => "statistics",
            ApiGroup::Trace => "trace",
            ApiGroup::Logging => "logging",
        }
    }

    /// The group of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == name)
    }

    /// The group that an operation is in; `None` for what Triton does not restrict, or does not have.
    ///
    /// Source: Triton, "Limit Endpoint Access".
    #[must_use]
    pub const fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::ServerLive | Operation::ServerReady | Operation::ModelReady => Some(Self::Health),
            Operation::ServerMetadata | Operation::ModelMetadata => Some(Self::Metadata),
            Operation::Infer => Some(Self::Inference),
            Operation::SharedMemoryStatus
            | Operation::SharedMemoryRegister
            | Operation::SharedMemoryUnregister => Some(Self::SharedMemory),
            Operation::ModelConfig => Some(Self::ModelConfig),
            Operation::ModelIndex | Operation::ModelLoad | Operation::ModelUnload => {
                Some(Self::ModelRepository)
            }
            Operation::Statistics => Some(Self::Statistics),
            Operation::TraceSettings | Operation::TraceUpdate => Some(Self::Trace),
            Operation::LogSettings | Operation::LogUpdate => Some(Self::Logging),
            Operation::Reflection | Operation::CacheReport | Operation::CachePurge | Operation::Metrics => {
                None
            }
        }
    }
}

/// A group of operations that is kept, over one protocol, for requests that show a key in a header of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestrictedApi {
    /// The protocol.
    pub wire: Wire,
    /// What is restricted.
    pub group: ApiGroup,
    /// The header that holds the key, in lower case; over gRPC, metadata of this name behind `triton-grpc-protocol-`.
    pub header: String,
    /// The key's digest.
    pub digest: KeyDigest,
}

/// Access control that keeps some operations for requests with a header. Who may do what otherwise is not its business.
pub struct RestrictedAccess {
    rules: Vec<RestrictedApi>,
    inner: Arc<dyn AccessControl>,
}

impl RestrictedAccess {
    /// Restricts these over `inner`; without one, everybody may do everything else.
    #[must_use]
    pub fn new(apis: Vec<RestrictedApi>, inner: Option<Arc<dyn AccessControl>>) -> Self {
        let full = |api: RestrictedApi| match api.wire {
            Wire::Rest => api,
            Wire::Grpc => RestrictedApi { header: format!("{GRPC_PREFIX}{}", api.header), ..api },
        };
        let rules = apis.into_iter().map(full).collect();
        Self { rules, inner: inner.unwrap_or_else(|| Arc::new(Everybody::default())) }
    }
}

impl AccessControl for RestrictedAccess {
    fn anonymous(&self) -> &Arc<Identity> {
        self.inner.anonymous()
    }

    fn unlocked(&self, presented: &Presented<'_>, operation: Operation) -> Result<(), AccessError> {
        let group = ApiGroup::of(operation);
        let is_of = |rule: &&RestrictedApi| Some(rule.group) == group && rule.wire == presented.wire;
        let Some(rule) = self.rules.iter().find(is_of) else {
            return Ok(());
        };
        match presented.headers.header(&rule.header) {
            Header::One(value) if KeyDigest::of(value) == rule.digest => Ok(()),
            _ => Err(AccessError::Restricted { header: rule.header.clone() }),
        }
    }

    fn identify(&self, presented: &Presented<'_>) -> Identification {
        self.inner.identify(presented)
    }

    fn renew(&self, identity: &Arc<Identity>) -> Result<Arc<Identity>, Fault> {
        self.inner.renew(identity)
    }

    fn denied(&self, identity: &Identity, operation: Operation) {
        self.inner.denied(identity, operation);
    }
}

/// Asks nobody who they are.
struct Everybody(Arc<Identity>);

impl Default for Everybody {
    fn default() -> Self {
        let scopes = Scopes::NONE.with(Scope::Admin);
        Self(Arc::new(Identity::new("anonymous", IdentityKind::Anonymous, scopes)))
    }
}

impl AccessControl for Everybody {
    fn anonymous(&self) -> &Arc<Identity> {
        &self.0
    }

    fn identify(&self, _: &Presented<'_>) -> Identification {
        Identification::Known(Ok(Arc::clone(&self.0)))
    }

    fn renew(&self, identity: &Arc<Identity>) -> Result<Arc<Identity>, Fault> {
        Ok(Arc::clone(identity))
    }

    fn denied(&self, _: &Identity, _: Operation) {}
}

#[cfg(test)]
mod tests {
    use adulis_testing::TestHeaders;

    use super::*;

    fn api(wire: Wire, group: ApiGroup, key: &str) -> RestrictedApi {
        RestrictedApi {
            wire,
            group,
            header: "admin-key".to_owned(),
            digest: KeyDigest::of(key.as_bytes()),
        }
    }

    fn unlocked(
        access: &RestrictedAccess,
        (wire, operation): (Wire, Operation),
        headers: &[(&str, &str)],
    ) -> bool {
        let presented = Presented { wire, headers: &TestHeaders(headers), certificate: None };
        access.unlocked(&presented, operation).is_ok()
    }

    #[test]
    fn every_group_has_operations_and_a_name() {
        for group in ApiGroup::ALL {
            assert_eq!(ApiGroup::named(group.as_str()), Some(group));
            assert!(Operation::ALL.into_iter().any(|operation| ApiGroup::of(operation) == Some(group)));
        }
        assert_eq!(ApiGroup::named("cache"), None);
    }

    #[test]
    fn a_group_is_open_with_its_header_only_and_over_its_protocol_only() {
        let apis = vec![
            api(Wire::Rest, ApiGroup::ModelRepository, "a"),
            api(Wire::Grpc, ApiGroup::Health, "b"),
        ];
        let access = RestrictedAccess::new(apis, None);
        let rest = |headers: &[_]| unlocked(&access, (Wire::Rest, Operation::ModelLoad), headers);
        assert!(rest(&[("admin-key", "a")]));
        for wrong in [
            &[][..],
            &[("admin-key", "b")],
            &[("admin-key", "")],
            &[("admin-key", "a"), ("admin-key", "a")],
            &[("triton-grpc-protocol-admin-key", "a")],
        ] {
            assert!(!rest(wrong), "{wrong:?}");
        }
        let grpc = |headers: &[_]| unlocked(&access, (Wire::Grpc, Operation::ServerLive), headers);
        assert!(grpc(&[("triton-grpc-protocol-admin-key", "b")]));
        assert!(!grpc(&[("admin-key", "b")]));
        for operation in Operation::ALL {
            let is_restricted = |wire, group| {
                let open = unlocked(&access, (wire, operation), &[]);
                assert_eq!(open, ApiGroup::of(operation) != Some(group), "{operation:?}");
            };
            is_restricted(Wire::Rest, ApiGroup::ModelRepository);
            is_restricted(Wire::Grpc, ApiGroup::Health);
        }
    }
}
