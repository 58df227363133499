//! Test server, clients and fixtures for the workspace's tests.
