//! Metric registry, label types, log set-up.
