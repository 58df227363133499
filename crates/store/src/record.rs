use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InferResponse, Name, RequestId};

use crate::{Capture, LogPolicy};

/// One answer to one request, as the log keeps it. Tensors share their bytes with the request and the response.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// When the service was asked.
    pub(crate) at: SystemTime,
    pub(crate) request_id: RequestId,
    /// The client's own id.
    pub(crate) client_id: Name,
    /// Which of the request's answers it is, counted from 0.
    pub(crate) answer: u32,
    pub(crate) model: Name,
    /// The version that answered, or that was asked for.
    pub(crate) version: Option<u64>,
    /// `ok`, or the kind of error.
    pub(crate) outcome: &'static str,
    /// What the client was told of the error.
    pub(crate) message: Option<Cow<'static, str>>,
    /// From when the service was asked to this answer.
    pub(crate) latency: Duration,
    pub(crate) compute: Duration,
    /// Of the first answer only.
    pub(crate) inputs: Vec<Captured>,
    pub(crate) outputs: Vec<Captured>,
}

/// What is kept of a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) name: Name,
    pub(crate) datatype: DataType,
    pub(crate) shape: Shape,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Data(bytes::Bytes),
    /// Of which the digest is kept. It is taken when the record is written.
    Digest(bytes::Bytes),
    Redacted,
    /// Too large: this many bytes.
    Omitted(usize),
}

impl Record {
    /// Bytes of tensors that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let held = |captured: &Captured| match &captured.content {
            Content::Data(data) | Content::Digest(data) => data.len(),
            Content::Redacted | Content::Omitted(_) => 0,
        };
        self.inputs.iter().chain(&self.outputs).map(held).fold(0, usize::saturating_add)
    }
}

/// What a policy keeps of tensors, until it has kept enough. Shares their bytes: nothing is copied.
pub(crate) struct Budget<'a> {
    policy: &'a LogPolicy,
    left: usize,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(policy: &'a LogPolicy) -> Self {
        Self { policy, left: policy.max_payload_bytes }
    }

    /// What is left of a budget of which some was used before.
    pub(crate) fn rest(policy: &'a LogPolicy, left: usize) -> Self {
        Self { policy, left }
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    pub(crate) fn inputs(&mut self, request: &InferRequest) -> Vec<Captured> {
        request.inputs.iter().map(|input| self.take(input.name.clone(), &input.tensor)).collect()
    }

    pub(crate) fn outputs(&mut self, response: &InferResponse) -> Vec<Captured> {
        let outputs = response.outputs.iter();
        outputs.map(|output| self.take((&*output.name).into(), &output.tensor)).collect()
    }

    fn take(&mut self, name: Name, tensor: &Tensor) -> Captured {
        let bytes = tensor.data().len();
        let content = if self.policy.redacts(&name) {
            Content::Redacted
        } else if self.policy.capture == Capture::Digests {
            Content::Digest(tensor.data().clone())
        } else if bytes <= self.left {
            self.left -= bytes;
            Content::Data(tensor.data().clone())
        } else {
            Content::Omitted(bytes)
        };
        Captured { name, datatype: tensor.datatype(), shape: tensor.shape().clone(), content }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A record that holds so many bytes.
    pub(crate) fn record(bytes: usize) -> Record {
        let captured = Captured {
            name: "x".into(),
            datatype: DataType::Uint8,
            shape: Shape::new(&[bytes]),
            content: Content::Data(vec![1; bytes].into()),
        };
        Record {
            at: SystemTime::now(),
            request_id: RequestId::next(),
            client_id: Name::default(),
            answer: 0,
            model: "m".into(),
            version: Some(1),
            outcome: "ok",
            message: None,
            latency: Duration::ZERO,
            compute: Duration::ZERO,
            inputs: vec![captured],
            outputs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use adulis_types::{InputTensor, ModelRef};

    use super::*;

    fn request(sizes: &[(&str, usize)]) -> InferRequest {
        let mut request = InferRequest::new(ModelRef::latest("m"));
        request.inputs = sizes
            .iter()
            .map(|(name, size)| InputTensor {
                name: (*name).into(),
                tensor: Tensor::new(DataType::Uint8, Shape::new(&[*size]), vec![7; *size].into()).unwrap(),
            })
            .collect();
        request
    }

    #[test]
    fn what_is_too_large_or_redacted_is_not_held() {
        let policy =
            LogPolicy { max_payload_bytes: 10, redact: vec!["secret".to_owned()], ..LogPolicy::default() };
        let request = request(&[("a", 6), ("secret", 3), ("b", 5), ("c", 4)]);
        let mut budget = Budget::new(&policy);
        let inputs = budget.inputs(&request);
        let told: Vec<_> = inputs
            .iter()
            .map(|input| match &input.content {
                Content::Data(data) => format!("{} {}", input.name, data.len()),
                other => format!("{} {other:?}", input.name),
            })
            .collect();
        assert_eq!(told, ["a 6", "secret Redacted", "b Omitted(5)", "c 4"]);
        assert_eq!(budget.left(), 0);
        let Content::Data(data) = &inputs[0].content else {
            panic!("{inputs:?}")
        };
        assert_eq!(data.as_ptr(), request.inputs[0].tensor.data().as_ptr(), "nothing is copied");
    }

    #[test]
    fn digests_are_taken_of_any_size() {
        let policy = LogPolicy { max_payload_bytes: 1, capture: Capture::Digests, ..LogPolicy::default() };
        let inputs = Budget::new(&policy).inputs(&request(&[("a", 100)]));
        assert!(matches!(&inputs[0].content, Content::Digest(data) if data.len() == 100));
    }
}
