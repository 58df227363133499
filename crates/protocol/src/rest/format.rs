use adulis_types::Name;
use smallvec::SmallVec;

/// How NaN and infinities are written, for which JSON has no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonFinite {
    /// As the strings `"NaN"`, `"Infinity"` and `"-Infinity"`, as in the JSON form of Protocol Buffers.
    #[default]
    Text,
    /// As the same words without quotes, which is no JSON: Triton's way, and that of Python's `json`.
    Literal,
    /// As `null`, which is JavaScript's way, and does not tell one from another.
    Null,
}

impl NonFinite {
    /// What a request may ask for, by name.
    pub(crate) const NAMES: [(&str, NonFinite); 3] = [
        ("string", NonFinite::Text),
        ("literal", NonFinite::Literal),
        ("null", NonFinite::Null),
    ];
}

/// In which form a client wants each output: as binary data or in the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputFormat {
    binary: bool,
    non_finite: NonFinite,
    overrides: SmallVec<[(Name, bool); 2]>,
}

impl OutputFormat {
    /// All outputs as binary data, or all in the JSON.
    #[must_use]
    pub fn new(binary: bool) -> Self {
        Self { binary, ..Self::default() }
    }

    /// The same with another way to write NaN and infinities.
    #[must_use]
    pub fn with_non_finite(self, non_finite: NonFinite) -> Self {
        Self { non_finite, ..self }
    }

    /// Sets the form of one output.
    pub fn set(&mut self, output: impl Into<Name>, binary: bool) {
        self.overrides.push((output.into(), binary));
    }

    /// Sets the form of the outputs that are not named, and that of numbers that JSON does not have.
    pub(super) fn set_default(&mut self, binary: bool, non_finite: NonFinite) {
        (self.binary, self.non_finite) = (binary, non_finite);
    }

    /// How NaN and infinities are written.
    #[must_use]
    pub fn non_finite(&self) -> NonFinite {
        self.non_finite
    }

    /// Whether the output `name` goes as binary data. `index` is its place in the response, where its own setting is
    /// looked for first: outputs are answered in the order in which they were asked for.
    #[must_use]
    pub fn is_binary(&self, index: usize, name: &str) -> bool {
        if let Some((output, binary)) = self.overrides.get(index)
            && output == name
        {
            return *binary;
        }
        self.overrides
            .iter()
            .find(|(output, _)| output == name)
            .map_or(self.binary, |(_, binary)| *binary)
    }
}
