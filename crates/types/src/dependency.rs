use std::borrow::Cow;

/// Something beside the models that the server talks to: a database, a cache. Requests are answered without it.
pub trait Dependency: Send + Sync + 'static {
    /// What it is called, such as `store`.
    fn name(&self) -> &'static str;

    /// Why it is of no use at the moment, in words that hold no secret; `None` where it works. Must not block.
    fn problem(&self) -> Option<Cow<'static, str>>;
}
