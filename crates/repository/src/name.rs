use adulis_tensor::DataType;

/// Longest model name in bytes: what a folder's name can have.
const MAX_NAME_BYTES: usize = 255;

/// What is wrong with a model's name, if anything.
pub(crate) fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a model's name must not be empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Some("a model's name must not be longer than 255 bytes");
    }
    if name == "." || name == ".." || name.contains(['/', '\\']) {
        return Some("a model's name must not be a path");
    }
    name.chars()
        .any(char::is_control)
        .then_some("a model's name must not contain control characters")
}

/// Whether `name` names a file in its own folder, and nothing outside of it.
pub(crate) fn is_plain_file_name(name: &str) -> bool {
    !name.contains('\0') && name_fault(name).is_none()
}

/// A datatype as configurations write it: `TYPE_FP32` or `FP32`; strings are `TYPE_STRING` or `BYTES`.
pub(crate) fn parse_datatype(text: &str) -> Option<DataType> {
    match text.strip_prefix("TYPE_").unwrap_or(text) {
        "STRING" => Some(DataType::Bytes),
        name => name.parse().ok(),
    }
}

/// The name that configurations have for a datatype, such as `TYPE_FP32`.
pub(crate) fn datatype_name(datatype: DataType) -> String {
    match datatype {
        DataType::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    }
}

/// All names that [`datatype_name`] gives.
pub(crate) fn datatype_names() -> Vec<String> {
    DataType::ALL.into_iter().map(datatype_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name_fault("digits-v2 (blue)"), None);
        assert_eq!(name_fault(&"x".repeat(255)), None);
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", &"x".repeat(256)] {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn datatypes_round_trip() {
        for datatype in DataType::ALL {
            assert_eq!(parse_datatype(&datatype_name(datatype)), Some(datatype));
            assert_eq!(parse_datatype(datatype.as_str()), Some(datatype));
        }
        assert_eq!(parse_datatype("TYPE_INVALID"), None);
        assert_eq!(parse_datatype("float32"), None);
    }
}
