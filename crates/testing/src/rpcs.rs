use adulis_types::Scope;

/// Every RPC that the server answers, and what it needs. A method of a schema that is not here fails a test of `adulis-grpc`.
pub const RPCS: [(&str, Scope); 24] = [
    ("inference.GRPCInferenceService/ServerLive", Scope::Health),
    ("inference.GRPCInferenceService/ServerReady", Scope::Health),
    ("inference.GRPCInferenceService/ModelReady", Scope::Health),
    ("inference.GRPCInferenceService/ServerMetadata", Scope::Metadata),
    ("inference.GRPCInferenceService/ModelMetadata", Scope::Metadata),
    ("inference.GRPCInferenceService/ModelInfer", Scope::Infer),
    ("inference.GRPCInferenceService/ModelStreamInfer", Scope::Infer),
    ("inference.GRPCInferenceService/ModelConfig", Scope::Metadata),
    ("inference.GRPCInferenceService/ModelStatistics", Scope::Statistics),
    ("inference.GRPCInferenceService/RepositoryIndex", Scope::Metadata),
    ("inference.GRPCInferenceService/RepositoryModelLoad", Scope::Repository),
    ("inference.GRPCInferenceService/RepositoryModelUnload", Scope::Repository),
    ("inference.GRPCInferenceService/SystemSharedMemoryStatus", Scope::SharedMemory),
    ("inference.GRPCInferenceService/SystemSharedMemoryRegister", Scope::SharedMemory),
    ("inference.GRPCInferenceService/SystemSharedMemoryUnregister", Scope::SharedMemory),
    ("inference.GRPCInferenceService/CudaSharedMemoryStatus", Scope::SharedMemory),
    ("inference.GRPCInferenceService/CudaSharedMemoryRegister", Scope::SharedMemory),
    ("inference.GRPCInferenceService/CudaSharedMemoryUnregister", Scope::SharedMemory),
    ("inference.GRPCInferenceService/TraceSetting", Scope::Trace),
    ("inference.GRPCInferenceService/LogSettings", Scope::Logging),
    ("grpc.health.v1.Health/Check", Scope::Health),
    ("grpc.health.v1.Health/Watch", Scope::Health),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Scope::Metadata),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Scope::Metadata),
];
