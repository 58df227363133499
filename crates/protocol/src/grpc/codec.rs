//! How messages come off the wire.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::wire;
use crate::{DecodeError, Problem};

/// Decodes a message as a server does that received it: what it has too much of is found before it takes memory.
///
/// Cost: bytes of the message that become contents or parameters are slices of it, not copied.
///
/// # Errors
/// [`DecodeError`] for what is no message of this type, or has more of something than is taken.
pub fn decode_message<M: Message + Default + 'static>(message: Bytes) -> Result<M, DecodeError> {
    wire::check::<M>(&message)?;
    M::decode(message)
        .map_err(|error| DecodeError::new("", Problem::Wire { reason: error.to_string().into() }))
}

/// The codec of all RPCs: prost's, behind a look at what a message has too much of. tonic has undone a message's compression by
/// then, within its limit of bytes.
#[derive(Debug)]
pub struct Codec<Sent, Received>(PhantomData<(Sent, Received)>);

impl<Sent, Received> Default for Codec<Sent, Received> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Sent, Received> tonic::codec::Codec for Codec<Sent, Received>
where
    Sent: Message + Send + 'static,
    Received: Message + Default + Send + 'static,
{
    type Encode = Sent;
    type Decode = Received;
    type Encoder = ProstEncoder<Sent>;
    type Decoder = CheckedDecoder<Received>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(ProstDecoder::default())
    }
}

/// prost's decoder behind `wire::check`.
#[derive(Debug)]
pub struct CheckedDecoder<M>(ProstDecoder<M>);

impl<M: Message + Default + 'static> Decoder for CheckedDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        // A message is one piece of memory; one in several would be refused as cut short.
        wire::check::<M>(buffer.chunk()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.0.decode(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
