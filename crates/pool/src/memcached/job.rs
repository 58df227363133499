use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use async_memcached::{AsciiProtocol as _, Client, Error, MetaProtocol as _, Status};
use bytes::Bytes;

/// Most keys of one round trip: what is asked fits the socket's buffers, so that asking never waits for answers to be read.
const MAX_KEYS: usize = 100;

/// Something to be done on a connection, which may be done again on another one.
pub(super) trait Job: Send + Sync {
    type Answer: Send;

    fn run(&self, client: &mut Client) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

/// Asks whether the server lives.
pub(super) struct Ask;

/// The values that are there, by their keys.
pub(super) struct Get<'a>(pub(super) Vec<&'a [u8]>);

/// Sets values, by their time to live. The answer is the first error of a value; the others are set.
pub(super) struct Set<'a>(pub(super) BTreeMap<i64, Vec<KeyAndValue<'a>>>);

pub(super) type KeyAndValue<'a> = (&'a [u8], &'a [u8]);

/// Sets a value unless there is one.
pub(super) struct Add<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) ttl: i64,
}

/// Removes keys, and counts those that were there.
pub(super) struct Delete<'a>(pub(super) Vec<&'a [u8]>);

/// Reads a value with its version, and removes that version only.
pub(super) struct DeleteIfEquals<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Job for Ask {
    type Answer = ();

    async fn run(&self, client: &mut Client) -> Result<(), Error> {
        client.version().await.map(drop)
    }
}

impl Job for Get<'_> {
    type Answer = HashMap<Vec<u8>, Bytes>;

    async fn run(&self, client: &mut Client) -> Result<Self::Answer, Error> {
        let mut found = HashMap::with_capacity(self.0.len());
        for keys in self.0.chunks(MAX_KEYS) {
            let values = client.meta_get_multi(keys, Some(&["v"])).await?;
            // A value of no bytes is one.
            let values = values.into_iter().map(|value| (value.key, value.data.unwrap_or_default()));
            found.extend(values.filter_map(|(key, data)| Some((key?, Bytes::from(data)))));
        }
        Ok(found)
    }
}

impl Job for Set<'_> {
    type Answer = Option<Error>;

    async fn run(&self, client: &mut Client) -> Result<Option<Error>, Error> {
        let mut refused = None;
        for (ttl, entries) in &self.0 {
            let results = client.set_multi(entries, Some(*ttl), None).await?;
            refused = results.into_values().find_map(Result::err).or(refused);
        }
        Ok(refused)
    }
}

impl Job for Add<'_> {
    type Answer = bool;

    async fn run(&self, client: &mut Client) -> Result<bool, Error> {
        match client.add(self.key, self.value, Some(self.ttl), None).await {
            Ok(()) => Ok(true),
            Err(Error::Protocol(Status::NotStored | Status::Exists)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Job for Delete<'_> {
    type Answer = u64;

    async fn run(&self, client: &mut Client) -> Result<u64, Error> {
        let mut removed = 0;
        for key in &self.0 {
            match client.delete(key).await {
                Ok(()) => removed += 1,
                Err(Error::Protocol(Status::NotFound)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

impl Job for DeleteIfEquals<'_> {
    type Answer = bool;

    async fn run(&self, client: &mut Client) -> Result<bool, Error> {
        let found = client.meta_get(self.key, false, None, Some(&["v", "c"])).await?;
        let found = found.and_then(|found| Some((found.data.unwrap_or_default(), found.cas?)));
        let Some((data, version)) = found else {
            return Ok(false);
        };
        if data != self.value {
            return Ok(false);
        }
        let flag = format!("C{version}");
        match client.meta_delete(self.key, false, None, Some(&[&flag])).await {
            Ok(_) => Ok(true),
            Err(Error::Protocol(Status::NotFound | Status::Exists)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
