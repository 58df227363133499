use adulis_types::{Name, Parameters, Sequence};

/// One request of a batch, as a model sees it that wants to know of requests.
#[derive(Debug, Clone, Default)]
pub struct BatchRequest {
    /// The client's id for it; empty where it gave none.
    pub id: Name,
    /// Its custom parameters: those that the protocol does not know.
    pub parameters: Parameters,
    /// Where it stands in a sequence, if it is of one.
    pub sequence: Option<Sequence>,
    /// Rows that it has of the batch; 1 for a model that does not batch.
    pub rows: usize,
}
