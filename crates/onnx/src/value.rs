use std::ptr::{self, NonNull};

use adulis_tensor::{DataType, Shape};
use ort::sys;

use crate::api::{OrtError, api, call, filled};
use crate::datatype::element_of;
use crate::environment::Environment;

/// An engine value that this process owns. What it points at may belong to somebody else: see [`Value::over`].
#[derive(Debug)]
pub(crate) struct Value(NonNull<sys::OrtValue>);

// SAFETY: a value is a reference-counted handle to a tensor; the C interface allows moving it to and releasing it on
// any thread, as long as one thread at a time uses it. `Value` is not `Sync`, so that holds.
unsafe impl Send for Value {}

impl Value {
    /// Takes over a value that the engine made.
    ///
    /// # Safety
    /// `value` is a live value that nobody else releases.
    pub(crate) unsafe fn from_raw(value: NonNull<sys::OrtValue>) -> Self {
        Self(value)
    }

    /// A tensor value over `data`, which it does not own. Copies nothing; does not look at the data.
    ///
    /// The value must be given to a run only while `data` is still there. It holds an address, not a borrow, so that an
    /// instance can keep it from one run to the next where address and shape stay the same.
    pub(crate) fn over(
        environment: &Environment,
        data: &[u8],
        datatype: DataType,
        shape: &Shape,
    ) -> Result<Self, OrtError> {
        let dimensions = dimensions_of(shape)?;
        let mut value = ptr::null_mut();
        // SAFETY: pointers and lengths belong together and live over the call. The engine takes a mutable pointer but
        // only reads inputs of a run; the returned value owns none of the memory.
        unsafe {
            call!(CreateTensorWithDataAsOrtValue(
                environment.cpu_memory.as_ptr(),
                data.as_ptr().cast_mut().cast(),
                data.len(),
                dimensions.as_ptr(),
                dimensions.len(),
                element_of(datatype),
                &raw mut value
            ))?;
        }
        filled(value, "tensor").map(Self)
    }

    /// A string tensor of `elements`, which are copied; NUL and bytes that are not UTF-8 are kept.
    pub(crate) fn strings<'a>(
        shape: &Shape,
        elements: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, OrtError> {
        let dimensions = dimensions_of(shape)?;
        let (mut allocator, mut value) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the default allocator is static; dimensions live over the call; `value` is written on success.
        unsafe {
            call!(GetAllocatorWithDefaultOptions(&raw mut allocator))?;
            call!(CreateTensorAsOrtValue(
                allocator,
                dimensions.as_ptr(),
                dimensions.len(),
                element_of(DataType::Bytes),
                &raw mut value
            ))?;
        }
        let value = Self(filled(value, "tensor")?);
        for (index, element) in elements.enumerate() {
            let mut place = ptr::null_mut();
            // SAFETY: the engine checks the index against the shape and gives room for exactly `element.len()` bytes.
            unsafe {
                call!(GetResizedStringTensorElementBuffer(
                    value.0.as_ptr(),
                    index,
                    element.len(),
                    &raw mut place
                ))?;
                if !element.is_empty() {
                    ptr::copy_nonoverlapping(element.as_ptr(), place.cast::<u8>(), element.len());
                }
            }
        }
        Ok(value)
    }

    /// The handle, for a call that does not release it.
    pub(crate) fn as_ptr(&self) -> *mut sys::OrtValue {
        self.0.as_ptr()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: owned, so released once.
        unsafe { (api().ReleaseValue)(self.0.as_ptr()) }
    }
}

fn dimensions_of(shape: &Shape) -> Result<smallvec::SmallVec<[i64; 6]>, OrtError> {
    shape
        .iter()
        .map(|&dimension| i64::try_from(dimension))
        .collect::<Result<_, _>>()
        .map_err(|_| OrtError(format!("shape {shape} does not fit the engine")))
}
