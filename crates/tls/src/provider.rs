use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Makes ring the process's cryptography, unless another one was chosen already.
pub fn install_provider() {
    // Whoever embeds us may have chosen already; then that one holds.
    let _ = ring::default_provider().install_default();
}

/// The process's cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    install_provider();
    CryptoProvider::get_default().map_or_else(|| Arc::new(ring::default_provider()), Arc::clone)
}
