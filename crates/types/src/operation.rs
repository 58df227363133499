use crate::Scope;

/// Everything that a client can ask for. Each REST route and each RPC is one of these, in both protocols the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each says by its name what is asked for")]
pub enum Operation {
    ServerLive,
    ServerReady,
    ModelReady,
    ServerMetadata,
    ModelMetadata,
    ModelConfig,
    /// The models of all repositories, whichever protocol lists them.
    ModelIndex,
    /// What there is to call, told by the server itself.
    Reflection,
    Statistics,
    Infer,
    ModelLoad,
    ModelUnload,
    CacheReport,
    CachePurge,
    LogSettings,
    LogUpdate,
    TraceSettings,
    TraceUpdate,
    SharedMemoryStatus,
    SharedMemoryRegister,
    SharedMemoryUnregister,
    Metrics,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 22] = [
        Operation::ServerLive,
        Operation::ServerReady,
        Operation::ModelReady,
        Operation::ServerMetadata,
        Operation::ModelMetadata,
        Operation::ModelConfig,
        Operation::ModelIndex,
        Operation::Reflection,
        Operation::Statistics,
        Operation::Infer,
        Operation::ModelLoad,
        Operation::ModelUnload,
        Operation::CacheReport,
        Operation::CachePurge,
        Operation::LogSettings,
        Operation::LogUpdate,
        Operation::TraceSettings,
        Operation::TraceUpdate,
        Operation::SharedMemoryStatus,
        Operation::SharedMemoryRegister,
        Operation::SharedMemoryUnregister,
        Operation::Metrics,
    ];

    /// What an identity needs for it: the one table of both protocols.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Operation::ServerLive | Operation::ServerReady | Operation::ModelReady => Scope::Health,
            Operation::ServerMetadata
            | Operation::ModelMetadata
            | Operation::ModelConfig
            | Operation::ModelIndex
            | Operation::Reflection => Scope::Metadata,
            Operation::Statistics => Scope::Statistics,
            Operation::Infer => Scope::Infer,
            Operation::ModelLoad | Operation::ModelUnload => Scope::Repository,
            Operation::CacheReport | Operation::CachePurge => Scope::Cache,
            Operation::LogSettings | Operation::LogUpdate => Scope::Logging,
            Operation::TraceSettings | Operation::TraceUpdate => Scope::Trace,
            Operation::SharedMemoryStatus
            | Operation::SharedMemoryRegister
            | Operation::SharedMemoryUnregister => Scope::SharedMemory,
            Operation::Metrics => Scope::Metrics,
        }
    }

    /// Whether it changes the server rather than asking it: what an operator may want to know of afterwards.
    #[must_use]
    pub const fn is_change(self) -> bool {
        match self {
            Operation::ModelLoad
            | Operation::ModelUnload
            | Operation::CachePurge
            | Operation::LogUpdate
            | Operation::TraceUpdate
            | Operation::SharedMemoryRegister
            | Operation::SharedMemoryUnregister => true,
            Operation::ServerLive
            | Operation::ServerReady
            | Operation::ModelReady
            | Operation::ServerMetadata
            | Operation::ModelMetadata
            | Operation::ModelConfig
            | Operation::ModelIndex
            | Operation::Reflection
            | Operation::Statistics
            | Operation::Infer
            | Operation::CacheReport
            | Operation::LogSettings
            | Operation::TraceSettings
            | Operation::SharedMemoryStatus
            | Operation::Metrics => false,
        }
    }

    /// Its name, as messages and logs have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::ServerLive => "server_live",
            Operation::ServerReady => "server_ready",
            Operation::ModelReady => "model_ready",
            Operation::ServerMetadata => "server_metadata",
            Operation::ModelMetadata => "model_metadata",
            Operation::ModelConfig => "model_config",
            Operation::ModelIndex => "model_index",
            Operation::Reflection => "reflection",
            Operation::Statistics => "statistics",
            Operation::Infer => "infer",
            Operation::ModelLoad => "model_load",
            Operation::ModelUnload => "model_unload",
            Operation::CacheReport => "cache_report",
            Operation::CachePurge => "cache_purge",
            Operation::LogSettings => "log_settings",
            Operation::LogUpdate => "log_update",
            Operation::TraceSettings => "trace_settings",
            Operation::TraceUpdate => "trace_update",
            Operation::SharedMemoryStatus => "shared_memory_status",
            Operation::SharedMemoryRegister => "shared_memory_register",
            Operation::SharedMemoryUnregister => "shared_memory_unregister",
            Operation::Metrics => "metrics",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_is_listed_once_and_every_scope_is_good_for_something() {
        let names: HashSet<_> = Operation::ALL.into_iter().map(Operation::as_str).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        // The last of the enumeration is the last of the list, and no number is left out.
        assert_eq!(Operation::Metrics as usize + 1, Operation::ALL.len());
        let scopes: HashSet<_> = Operation::ALL.into_iter().map(Operation::scope).collect();
        for scope in Scope::ALL {
            assert_eq!(scopes.contains(&scope), scope != Scope::Admin, "{scope:?}");
        }
    }

    #[test]
    fn nothing_that_changes_the_server_goes_with_a_scope_for_looking() {
        let looking = [
            Scope::Health,
            Scope::Infer,
            Scope::Metadata,
            Scope::Statistics,
            Scope::Metrics,
        ];
        for operation in Operation::ALL.into_iter().filter(|operation| operation.is_change()) {
            assert!(!looking.contains(&operation.scope()), "{operation:?}");
        }
    }
}
