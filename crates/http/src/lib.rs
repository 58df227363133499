//! REST frontend and HTTP listeners.
