//! Made from `proto/` by `cargo xtask codegen`; do not edit.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::too_many_lines)]
pub(crate) mod inference;

#[rustfmt::skip]
#[allow(missing_docs, clippy::all)]
pub(crate) mod infer;
