use adulis_types::Name;
use smallvec::SmallVec;

/// In which form a client wants each output: as binary data or in the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputFormat {
    binary: bool,
    overrides: SmallVec<[(Name, bool); 2]>,
}

impl OutputFormat {
    /// All outputs as binary data, or all in the JSON.
    #[must_use]
    pub fn new(binary: bool) -> Self {
        Self { binary, overrides: SmallVec::new() }
    }

    /// Sets the form of one output.
    pub fn set(&mut self, output: impl Into<Name>, binary: bool) {
        self.overrides.push((output.into(), binary));
    }

    /// Sets the form of the outputs that are not named.
    pub(super) fn set_default(&mut self, binary: bool) {
        self.binary = binary;
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
