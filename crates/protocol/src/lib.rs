//! Open Inference Protocol codecs, status table and generated code.
