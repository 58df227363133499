//! Load generator for REST and gRPC inference servers.
