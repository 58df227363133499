//! The bodies of the response cache's routes.

use adulis_types::{CacheReport, CachedModel, SharedTierReport};
use bytes::Bytes;

use crate::rest::writer;

/// The answer to `GET /v2/cache`.
#[must_use]
pub fn cache_report(report: &CacheReport) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", "memory");
    let memory = [
        ("capacity_bytes", report.capacity_bytes),
        ("bytes", report.bytes),
        ("entries", report.entries),
    ];
    counts(&mut out, "{", &memory);
    out.push(b'}');
    if let Some(tier) = &report.shared {
        writer::key(&mut out, ",", "shared");
        shared(&mut out, tier);
    }
    writer::key(&mut out, ",", "models");
    writer::list(&mut out, &report.models, model);
    out.push(b'}');
    out.into()
}

/// The answer to `POST /v2/cache[/models/{model}]/purge`.
#[must_use]
pub fn cache_purged(answers: u64) -> Bytes {
    let mut out = Vec::new();
    counts(&mut out, "{", &[("purged", answers)]);
    out.push(b'}');
    out.into()
}

fn shared(out: &mut Vec<u8>, tier: &SharedTierReport) {
    writer::key(out, "{", "tier");
    writer::string(out, &tier.name);
    writer::key(out, ",", "left_alone");
    out.extend_from_slice(if tier.is_left_alone { b"true" } else { b"false" });
    let told = [
        ("hits", tier.hits),
        ("misses", tier.misses),
        ("rejected", tier.rejected),
        ("written", tier.written),
        ("dropped", tier.dropped),
        ("failures", tier.failures),
        ("skipped", tier.skipped),
        ("purges_pending", tier.purges_pending),
    ];
    counts(out, ",", &told);
    out.push(b'}');
}

fn model(out: &mut Vec<u8>, model: &CachedModel) {
    writer::key(out, "{", "name");
    writer::string(out, &model.name);
    writer::key(out, ",", "version");
    writer::string(out, itoa::Buffer::new().format(model.version));
    let told = [
        ("entries", model.entries),
        ("bytes", model.bytes),
        ("hits", model.hits),
        ("stale", model.stale),
        ("coalesced", model.coalesced),
        ("misses", model.misses),
        ("bypassed", model.bypassed),
        ("evictions", model.evictions),
        ("rows_found", model.rows_found),
        ("rows_run", model.rows_run),
    ];
    counts(out, ",", &told);
    out.push(b'}');
}

fn counts(out: &mut Vec<u8>, before: &str, counts: &[(&str, u64)]) {
    for (index, (name, count)) in counts.iter().enumerate() {
        writer::key(out, if index == 0 { before } else { "," }, name);
        writer::integer(out, *count);
    }
}
