use super::*;

fn refusal(message: &[u8]) -> String {
    check_request(message).unwrap_err().to_string()
}

#[test]
fn counts_what_is_bounded() {
    let input = [0x2a, 0];
    assert!(check_request(&input.repeat(MAX_TENSORS)).is_ok());
    assert_eq!(refusal(&input.repeat(MAX_TENSORS + 1)), "too many inputs: at most 1024 are taken");
    assert_eq!(refusal(&[0x32, 0].repeat(MAX_TENSORS + 1)), "too many outputs: at most 1024 are taken");
    assert_eq!(
        refusal(&[0x3a, 0].repeat(MAX_TENSORS + 1)),
        "too many raw contents: at most 1024 are taken"
    );
    assert_eq!(
        refusal(&[0x22, 0].repeat(MAX_PARAMETERS + 1)),
        "too many parameters: at most 64 are taken"
    );
    for (outer, inner) in [(0x2a, 0x22), (0x32, 0x12)] {
        let mut message = vec![outer, 0x82, 0x01];
        message.extend([inner, 0].repeat(MAX_PARAMETERS + 1));
        assert_eq!(refusal(&message), "too many parameters: at most 64 are taken");
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for (bytes, found) in [
        (&[0x2a][..], "cut short"),
        (&[0x2a, 5, 1], "cut short"),
        (&[0x80], "cut short"),
        (&[0x09, 1, 2], "cut short"),
        (&[0x2b], "an unknown wire type"),
        (&[0xff; 11], "more than ten bytes"),
        (&[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "cut short"),
    ] {
        assert!(refusal(bytes).contains(found), "{bytes:?}: {}", refusal(bytes));
    }
    assert!(check_request(&[]).is_ok());
    assert!(check_request(&[0x08, 1, 0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]).is_ok());
}

/// An input whose typed contents are this.
fn with_contents(contents: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut content = Vec::new();
    prost::encoding::bytes::encode(5, &contents.to_vec(), &mut content);
    prost::encoding::bytes::encode(5, &content, &mut message);
    message
}

#[test]
fn elements_that_grow_in_memory_are_counted_in_all_inputs() {
    let half = [0x42, 0].repeat(MAX_TYPED_STRINGS / 2);
    let strings = [with_contents(&half), with_contents(&half)].concat();
    assert!(check_request(&strings).is_ok());
    let one_more = [strings, with_contents(&[0x42, 0])].concat();
    assert_eq!(refusal(&one_more), "too many strings outside of raw contents: at most 8388608 are taken");

    let mut packed = Vec::new();
    prost::encoding::bytes::encode(3, &vec![1_u8; MAX_TYPED_NUMBERS], &mut packed);
    let integers = with_contents(&packed);
    assert!(check_request(&integers).is_ok());
    let refused = "too many integers outside of raw contents: at most 33554432 are taken";
    // One by itself, and one of a shape.
    for one_more in [with_contents(&[0x18, 1]), vec![0x2a, 2, 0x18, 1]] {
        assert_eq!(refusal(&[&integers[..], &one_more].concat()), refused);
    }
}

#[test]
fn messages_about_repositories_and_settings_are_counted_too() {
    fn refusal_of<M: 'static>(message: &[u8]) -> String {
        check::<M>(message).unwrap_err().to_string()
    }
    let parameters = |limit: usize| [0x1a, 0].repeat(limit + 1);
    let named = [&[0x12, 1, b'm'], &parameters(MAX_LOAD_PARAMETERS)[..]].concat();
    assert_eq!(
        refusal_of::<RepositoryModelLoadRequest>(&named),
        "model 'm': too many parameters: at most 1024 are taken"
    );
    assert_eq!(
        refusal_of::<RepositoryModelUnloadRequest>(&parameters(MAX_PARAMETERS)),
        "too many parameters: at most 64 are taken"
    );
    let settings = [0x0a, 0].repeat(MAX_SETTINGS + 1);
    let refused = "too many settings: at most 64 are taken";
    assert_eq!(refusal_of::<LogSettingsRequest>(&settings), refused);
    assert_eq!(refusal_of::<TraceSettingRequest>(&settings), refused);
    // The values of one setting, in two parts.
    let setting = [
        0x0a, 24, 0x12, 10, 0x0a, 0, 0x0a, 0, 0x0a, 0, 0x0a, 0, 0x0a, 0, 0x12, 10,
    ];
    let setting = [&setting[..], &[0x0a, 0].repeat(5)].concat();
    assert_eq!(
        refusal_of::<TraceSettingRequest>(&setting),
        "too many values of a setting: at most 8 are taken"
    );
    assert!(check::<TraceSettingRequest>(&[&[0x0a, 12], &setting[2..14]].concat()).is_ok());
    // A message without lists.
    assert!(check::<crate::grpc::ModelReadyRequest>(&settings).is_ok());
}
