//! Adulis as a library.
