use adulis_types::BodyBudget;

/// Which regions clients may register, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemoryOptions {
    /// What the key of a region must begin with, leading slash aside; empty: any key. Regions are opened, read and written
    /// in the server's name, so that this is what keeps clients from other programs' shared memory.
    pub key_prefix: String,
    /// Regions at a time; each holds a file descriptor.
    pub max_regions: usize,
    /// Bytes of all regions together.
    pub max_bytes: u64,
    /// Bytes that one request may have read out of regions.
    pub max_request_bytes: u64,
    /// What inputs that were read out of regions count in, until nobody has them any more.
    pub bodies: BodyBudget,
}

impl Default for SharedMemoryOptions {
    fn default() -> Self {
        Self {
            key_prefix: String::new(),
            max_regions: 1024,
            max_bytes: 4 << 30,
            max_request_bytes: 256 << 20,
            bodies: BodyBudget::default(),
        }
    }
}
