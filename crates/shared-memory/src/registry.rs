use std::collections::BTreeMap;
use std::sync::Arc;

use adulis_types::{Fault, Name, RegionPlace, RegionSlice, RegionSpec, SharedMemory};
use parking_lot::RwLock;

use crate::aside::Aside;
use crate::region::Region;
use crate::slice::Slice;
use crate::{MAX_NAME_BYTES, RegionKey, SharedMemoryError, SharedMemoryOptions};

/// The regions that clients have registered. One for all frontends.
#[derive(Debug, Default)]
pub struct SystemSharedMemory {
    options: SharedMemoryOptions,
    regions: RwLock<BTreeMap<Name, Arc<Region>>>,
    aside: Aside,
}

/// How much is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Regions.
    pub regions: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl SystemSharedMemory {
    /// A registry without regions.
    #[must_use]
    pub fn new(options: SharedMemoryOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// How much is registered.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let regions = self.regions.read();
        Usage { regions: regions.len(), bytes: bytes_of(&regions) }
    }

    /// What can be said of a region before its object is looked at.
    fn check(&self, spec: &RegionSpec) -> Result<RegionKey, SharedMemoryError> {
        if spec.name.is_empty() || spec.name.len() > MAX_NAME_BYTES {
            return Err(SharedMemoryError::Name { bytes: spec.name.len() });
        }
        let name = || spec.name.clone();
        let key = RegionKey::new(spec.key.clone())
            .map_err(|fault| SharedMemoryError::Key { name: name(), fault })?;
        let prefix = self.options.key_prefix.trim_start_matches('/');
        if !key.object().starts_with(prefix) {
            return Err(SharedMemoryError::KeyPrefix {
                name: name(),
                key: spec.key.clone(),
                prefix: prefix.into(),
            });
        }
        if spec.byte_size == 0 {
            return Err(SharedMemoryError::Empty { name: name() });
        }
        Ok(key)
    }

    /// Whether there is room for one region more.
    fn check_room(
        &self,
        spec: &RegionSpec,
        regions: &BTreeMap<Name, Arc<Region>>,
    ) -> Result<(), SharedMemoryError> {
        if regions.contains_key(&spec.name) {
            return Err(SharedMemoryError::AlreadyRegistered { name: spec.name.clone() });
        }
        if regions.len() >= self.options.max_regions {
            let limit = self.options.max_regions;
            return Err(SharedMemoryError::TooManyRegions { name: spec.name.clone(), limit });
        }
        let (used, limit) = (bytes_of(regions), self.options.max_bytes);
        if used.checked_add(spec.byte_size).is_some_and(|bytes| bytes <= limit) {
            return Ok(());
        }
        Err(SharedMemoryError::TooManyBytes {
            name: spec.name.clone(),
            byte_size: spec.byte_size,
            used,
            limit,
        })
    }

    fn find(&self, name: &str) -> Result<Arc<Region>, SharedMemoryError> {
        let found = self.regions.read().get(name).map(Arc::clone);
        found.ok_or_else(|| SharedMemoryError::Unknown { name: name.into() })
    }
}

impl SharedMemory for SystemSharedMemory {
    fn register(&self, region: RegionSpec) -> Result<(), Fault> {
        let key = self.check(&region)?;
        // System calls go before the lock: whoever looks regions up does not wait for them.
        let region = Arc::new(Region::open(region, &key)?);
        let mut regions = self.regions.write();
        self.check_room(&region.spec, &regions)?;
        regions.insert(region.spec.name.clone(), region);
        Ok(())
    }

    fn unregister(&self, name: &str) {
        let region = self.regions.write().remove(name);
        // Closed, where this was the last use, after the lock.
        drop(region);
    }

    fn unregister_all(&self) {
        let regions = std::mem::take(&mut *self.regions.write());
        drop(regions);
    }

    fn status(&self, name: &str) -> Result<RegionSpec, Fault> {
        Ok(self.find(name)?.spec.clone())
    }

    fn statuses(&self) -> Vec<RegionSpec> {
        self.regions.read().values().map(|region| region.spec.clone()).collect()
    }

    fn max_request_bytes(&self) -> u64 {
        self.options.max_request_bytes
    }

    fn open(&self, place: &RegionPlace) -> Result<Box<dyn RegionSlice>, Fault> {
        Ok(Box::new(Slice::new(
            self.find(&place.region)?,
            (self.aside.clone(), self.options.bodies.clone()),
            place,
        )?))
    }
}

fn bytes_of(regions: &BTreeMap<Name, Arc<Region>>) -> u64 {
    regions.values().map(|region| region.spec.byte_size).sum()
}

#[cfg(test)]
mod tests;
