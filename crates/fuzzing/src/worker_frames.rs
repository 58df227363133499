use adulis::backend::{Batching, ModelSignature, TensorSpec};
use adulis_tensor::{DataType, ShapePattern};
use adulis_worker::received::{Form, answers, rewritten};

const FORMS: [Form; 7] = [
    Form::Message,
    Form::Header,
    Form::Open,
    Form::Opened,
    Form::Run,
    Form::Ran,
    Form::Failed,
];

/// In a worker's file for tensors that are too large for a frame: good for numbers, and for empty strings.
static SHEET: [u8; 40 << 10] = [0; 40 << 10];

/// What a server and its worker processes hear from each other: the first byte chooses which form, or whole answers.
#[must_use]
pub fn worker_frames(input: &[u8]) -> bool {
    let Some((kind, bytes)) = input.split_first() else {
        return false;
    };
    match FORMS.get(usize::from(*kind) % (FORMS.len() + 1)) {
        Some(form) => reads_back(*form, bytes),
        None => is_answered(bytes),
    }
}

fn reads_back(form: Form, bytes: &[u8]) -> bool {
    let Some(again) = rewritten(form, bytes) else {
        return false;
    };
    if matches!(form, Form::Message | Form::Header) {
        assert_eq!(again, bytes, "{form:?}");
    }
    assert_eq!(rewritten(form, &again).as_ref(), Some(&again), "{form:?}");
    true
}

/// The server takes nothing that the model does not have, and no more than came.
fn is_answered(stream: &[u8]) -> bool {
    let output = |name: &str, datatype| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::new(&[-1]),
        optional: false,
    };
    let outputs = vec![
        output("numbers", DataType::Fp32),
        output("texts", DataType::Bytes),
    ];
    let signature = ModelSignature { inputs: Vec::new(), outputs, batching: Batching::No };
    let answers = answers(stream, &SHEET, &signature).expect("there are sockets");
    for answer in &answers {
        let datatypes = answer.outputs.iter().map(|output| output.datatype());
        assert!(datatypes.eq([DataType::Fp32, DataType::Bytes]), "{answer:?}");
        let bytes: usize = answer.outputs.iter().map(|output| output.data().len()).sum();
        assert!(bytes <= stream.len().max(SHEET.len()), "more came out than went in");
        assert!(answer.parameters.len() <= 1, "{answer:?}");
    }
    !answers.is_empty()
}
