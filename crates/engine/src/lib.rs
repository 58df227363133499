//! Admission, batching and execution: owns the InferenceService.
