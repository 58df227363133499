use std::fmt;

use adulis_tensor::Tensor;
use adulis_types::{ParameterValue, Parameters};
use smallvec::{SmallVec, smallvec};

use crate::purging::Generations;

/// What an answer is found by: 256 bits of BLAKE3.
///
/// Two questions that could be answered differently never share a key, also where somebody tries to make them: that would
/// take a collision of BLAKE3, which is collision-resistant by itself. A faster hash such as XXH3 is so only for clients that
/// mean well (its seed is no key, and what one client stores, others are given), and a keyed one would need a secret that all
/// replicas of a deployment share. The price is about half a microsecond for a small request (see `benches/key.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of these bytes, for tests and tools.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes: any of them, not text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where the generation of a model's answers lies in a tier, or that of all.
    pub(crate) fn of_generation(namespace: &str, model: Option<&str>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("adulis cache: generation 1");
        hasher.update(&length(namespace.len()));
        hasher.update(namespace.as_bytes());
        hasher.update(&[u8::from(model.is_some())]);
        hasher.update(model.unwrap_or_default().as_bytes());
        Self(hasher.finalize().into())
    }

    /// What it is called in a tier that replicas share, while these generations last.
    #[must_use]
    pub(crate) fn under(&self, generations: Generations) -> Self {
        Self(blake3::keyed_hash(&self.0, &generations.to_bytes()).into())
    }

    /// One key that stands for all of these, whatever their order: theirs, if it is one.
    #[must_use]
    pub(crate) fn of_all(keys: &[Key]) -> Self {
        if let [key] = keys {
            return *key;
        }
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("adulis cache: several keys 1");
        for key in &sorted {
            hasher.update(&key.0);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hexadecimal.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Collects what makes a model version's answers what they are, beside its requests: name, version, files, configuration,
/// engine, signature.
#[derive(Debug)]
pub struct ModelDigest(blake3::Hasher);

impl ModelDigest {
    /// A digest that begins with name and version.
    #[must_use]
    pub fn new(model: &str, version: u64) -> Self {
        let mut digest = Self(blake3::Hasher::new_derive_key("adulis cache: model version 1"));
        digest.part("model", model.as_bytes());
        digest.part("version", &version.to_le_bytes());
        digest
    }

    /// Adds one thing. What it is called and how long it is are digested with it: no two series of parts are alike.
    pub fn part(&mut self, what: &str, bytes: &[u8]) {
        self.0.update(&length(what.len()));
        self.0.update(what.as_bytes());
        self.0.update(&length(bytes.len()));
        self.0.update(bytes);
    }

    /// The keys of that model version's requests.
    #[must_use]
    pub fn finish(self) -> ModelKeys {
        ModelKeys { model: self.0.finalize().into() }
    }
}

/// Makes the keys of one model version. What all its requests have in common is digested already: it is the key of the keyed
/// hash over what is each request's own.
#[derive(Debug, Clone)]
pub struct ModelKeys {
    model: [u8; 32],
}

/// What is asked of a model version, admitted: each input with its index in the signature, ascending.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The inputs. Where `rows` are looked up one by one, all of them have as many.
    pub inputs: &'a [(usize, Tensor)],
    /// How many rows they have, for a model whose rows are looked up one by one; `None` where the request is looked up whole.
    pub rows: Option<usize>,
    /// Indices of the outputs that are wanted, ascending; `None` for all. One that names all is the same question.
    pub outputs: Option<&'a [usize]>,
    /// What else the model is told of a request, if it is: its id and its parameters.
    pub told: Option<(&'a str, &'a Parameters)>,
}

/// How a key begins: a whole request, or one row of one.
const WHOLE: u8 = 0;
const ROW: u8 = 1;

impl ModelKeys {
    /// All that they have in common: what the model version's answers depend on.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.model
    }

    /// The keys of a question: of each row, in their order, or of the whole request. `None` where the inputs cannot be cut into
    /// as many rows.
    ///
    /// Cost: one pass over the inputs; for a single key nothing is allocated.
    #[must_use]
    pub fn of(&self, question: &Question<'_>) -> Option<SmallVec<[Key; 1]>> {
        match question.rows {
            None => Some(smallvec![self.whole(question)]),
            Some(1) => Some(smallvec![self.single_row(question)]),
            Some(rows) => self.each_row(question, rows),
        }
    }

    fn whole(&self, question: &Question<'_>) -> Key {
        let mut key = self.begin(WHOLE, question);
        for (index, tensor) in question.inputs {
            key.input(*index, tensor, tensor.shape());
        }
        key.finish()
    }

    fn single_row(&self, question: &Question<'_>) -> Key {
        let mut key = self.begin(ROW, question);
        for (index, tensor) in question.inputs {
            key.input(*index, tensor, tensor.shape().row_dimensions());
        }
        key.finish()
    }

    fn each_row(&self, question: &Question<'_>, rows: usize) -> Option<SmallVec<[Key; 1]>> {
        let cut = question.inputs.iter().map(|(index, tensor)| {
            let parts = tensor.split_rows(std::iter::repeat_n(1, rows))?;
            Some((*index, parts))
        });
        let cut = cut.collect::<Option<Vec<_>>>()?;
        let key_of = |row: usize| {
            let mut key = self.begin(ROW, question);
            for (index, parts) in &cut {
                key.input(*index, &parts[row], parts[row].shape().row_dimensions());
            }
            key.finish()
        };
        Some((0..rows).map(key_of).collect())
    }

    fn begin(&self, kind: u8, question: &Question<'_>) -> KeyWriter<'_> {
        let mut key = KeyWriter::new(&self.model);
        key.byte(kind);
        match question.outputs {
            None => key.byte(0),
            Some(outputs) => {
                key.byte(1);
                key.count(outputs.len());
                outputs.iter().for_each(|output| key.count(*output));
            }
        }
        match question.told {
            None => key.byte(0),
            Some((id, parameters)) => {
                key.byte(1);
                key.bytes(id.as_bytes());
                key.parameters(parameters);
            }
        }
        key.count(question.inputs.len());
        key
    }
}

/// What is gathered before it is hashed: a hash of one piece costs less than one of many.
const GATHERED_BYTES: usize = 512;

/// Writes what a key is made of, so that it could be read back: no two questions are written alike.
struct KeyWriter<'a> {
    model: &'a [u8; 32],
    gathered: SmallVec<[u8; GATHERED_BYTES]>,
    /// Where more than was gathered has come.
    hasher: Option<Box<blake3::Hasher>>,
}

impl<'a> KeyWriter<'a> {
    fn new(model: &'a [u8; 32]) -> Self {
        Self { model, gathered: SmallVec::new(), hasher: None }
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() <= GATHERED_BYTES {
            self.gathered.extend_from_slice(bytes);
            return;
        }
        let hasher = self.hasher.get_or_insert_with(|| Box::new(blake3::Hasher::new_keyed(self.model)));
        hasher.update(&self.gathered);
        hasher.update(bytes);
        self.gathered.clear();
    }

    fn byte(&mut self, byte: u8) {
        self.raw(&[byte]);
    }

    fn count(&mut self, count: usize) {
        self.raw(&length(count));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    fn input(&mut self, index: usize, tensor: &Tensor, dimensions: &[usize]) {
        self.count(index);
        self.bytes(tensor.datatype().as_str().as_bytes());
        self.count(dimensions.len());
        dimensions.iter().for_each(|dimension| self.count(*dimension));
        self.bytes(tensor.data());
    }

    fn parameters(&mut self, parameters: &Parameters) {
        // By name: the protocols carry them in any order.
        let mut parameters: SmallVec<[(&str, &ParameterValue); 8]> = parameters.iter().collect();
        parameters.sort_unstable_by_key(|(name, _)| *name);
        self.count(parameters.len());
        for (name, value) in parameters {
            self.bytes(name.as_bytes());
            match value {
                ParameterValue::Bool(value) => self.raw(&[0, u8::from(*value)]),
                ParameterValue::Int64(value) => self.number(1, value.to_le_bytes()),
                ParameterValue::Uint64(value) => self.number(2, value.to_le_bytes()),
                ParameterValue::Double(value) => self.number(3, value.to_bits().to_le_bytes()),
                ParameterValue::String(value) => {
                    self.byte(4);
                    self.bytes(value.as_bytes());
                }
            }
        }
    }

    fn number(&mut self, kind: u8, bytes: [u8; 8]) {
        self.byte(kind);
        self.raw(&bytes);
    }

    fn finish(self) -> Key {
        let hash = match self.hasher {
            None => blake3::keyed_hash(self.model, &self.gathered),
            Some(mut hasher) => hasher.update(&self.gathered).finalize(),
        };
        Key(hash.into())
    }
}

fn length(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}

#[cfg(test)]
mod tests;
