// @generated from proto/infer.fbs by `cargo xtask codegen`; do not edit.

pub(crate) const DATA_TYPE: &[(&str, u8)] = &[
    ("UNSPECIFIED", 0),
    ("BOOL", 1),
    ("UINT8", 2),
    ("UINT16", 3),
    ("UINT32", 4),
    ("UINT64", 5),
    ("INT8", 6),
    ("INT16", 7),
    ("INT32", 8),
    ("INT64", 9),
    ("FP16", 10),
    ("BF16", 11),
    ("FP32", 12),
    ("FP64", 13),
    ("BYTES", 14),
];

pub(crate) mod parameter {
    pub(crate) const NAME: u16 = 4;
    pub(crate) const BOOL_VALUE: u16 = 6;
    pub(crate) const INT64_VALUE: u16 = 8;
    pub(crate) const UINT64_VALUE: u16 = 10;
    pub(crate) const DOUBLE_VALUE: u16 = 12;
    pub(crate) const STRING_VALUE: u16 = 14;
}

pub(crate) mod tensor {
    pub(crate) const NAME: u16 = 4;
    pub(crate) const DATATYPE: u16 = 6;
    pub(crate) const SHAPE: u16 = 8;
    pub(crate) const DATA: u16 = 10;
    pub(crate) const DATA_ALIGNMENT: usize = 64;
    pub(crate) const PARAMETERS: u16 = 12;
}

pub(crate) mod requested_output {
    pub(crate) const NAME: u16 = 4;
    pub(crate) const PARAMETERS: u16 = 6;
}

pub(crate) mod infer_request {
    pub(crate) const MODEL_NAME: u16 = 4;
    pub(crate) const MODEL_VERSION: u16 = 6;
    pub(crate) const ID: u16 = 8;
    pub(crate) const PARAMETERS: u16 = 10;
    pub(crate) const INPUTS: u16 = 12;
    pub(crate) const OUTPUTS: u16 = 14;
}

pub(crate) mod infer_response {
    pub(crate) const MODEL_NAME: u16 = 4;
    pub(crate) const MODEL_VERSION: u16 = 6;
    pub(crate) const ID: u16 = 8;
    pub(crate) const PARAMETERS: u16 = 10;
    pub(crate) const OUTPUTS: u16 = 12;
}

pub(crate) const FILE_IDENTIFIER: [u8; 4] = *b"ADLS";
