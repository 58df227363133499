//! Model repositories: scan, model configuration, version policy.
