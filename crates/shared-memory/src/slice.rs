use std::sync::Arc;

use adulis_types::{BodyBudget, BoxFuture, Fault, HeldBody, RegionPlace, RegionSlice};
use bytes::Bytes;

use crate::SharedMemoryError;
use crate::aside::Aside;
use crate::region::Region;

/// A place in a region that is there. Keeps the object open, registered or not.
#[derive(Debug)]
pub(crate) struct Slice {
    region: Arc<Region>,
    aside: Aside,
    bodies: BodyBudget,
    place: RegionPlace,
    /// Where the slice begins in the object.
    start: u64,
    length: usize,
}

impl Slice {
    pub(crate) fn new(
        region: Arc<Region>,
        (aside, bodies): (Aside, BodyBudget),
        place: &RegionPlace,
    ) -> Result<Self, SharedMemoryError> {
        let place = place.clone();
        match region.locate(&place) {
            Some((start, length)) => Ok(Self { region, aside, bodies, place, start, length }),
            None => Err(SharedMemoryError::PastRegion { place, region_bytes: region.spec.byte_size }),
        }
    }
}

impl RegionSlice for Slice {
    fn place(&self) -> &RegionPlace {
        &self.place
    }

    fn read(&self) -> BoxFuture<'_, Result<Bytes, Fault>> {
        let (region, start, length) = (Arc::clone(&self.region), self.start, self.length);
        Box::pin(async move {
            let mut held = HeldBody::default();
            self.bodies.take(&mut held, length)?;
            Ok(self.aside.run(length, move || region.read((start, length), held)).await?)
        })
    }

    fn write(&self, data: Bytes) -> BoxFuture<'_, Result<(), Fault>> {
        let (region, start) = (Arc::clone(&self.region), self.start);
        Box::pin(async move {
            if data.len() > self.length {
                let place = RegionPlace { byte_size: data.len() as u64, ..self.place.clone() };
                let region_bytes = region.spec.byte_size;
                return Err(SharedMemoryError::PastRegion { place, region_bytes }.into());
            }
            Ok(self.aside.run(data.len(), move || region.write(start, &data)).await?)
        })
    }
}
