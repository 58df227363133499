use adulis_repository::Labels;

/// A file of labels: any bytes are read or refused, and what was read is written and read back to the same.
#[must_use]
pub fn labels(input: &[u8]) -> bool {
    let labels = match Labels::parse(input) {
        Ok(labels) => labels,
        Err(reason) => {
            assert!(!reason.is_empty(), "refused without a reason");
            return false;
        }
    };
    // Behind a mark of its own, so that one in the first label stays there.
    let mut text = "\u{feff}".to_owned();
    for label in (0..).map_while(|class| labels.get(class)) {
        let is_text = |character: char| !character.is_control() || character == '\t';
        assert!(label.chars().all(is_text), "{label:?}");
        text.extend([label, "\n"]);
    }
    assert_eq!(Labels::parse(text.as_bytes()), Ok(labels));
    true
}
