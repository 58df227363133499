//! What the cloud platforms that host a server ask of it: off unless it is switched on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adulis_http::{RoutePath, SageMakerOptions, VertexOptions};

use super::check::Check;
use super::raw::{RawSageMaker, RawVertexAi};
use super::{Config, ServerConfig};

/// Where both platforms ask, unless they say otherwise.
const PORT: u16 = 8080;

/// What Amazon SageMaker asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SageMakerConfig {
    /// Whether it is answered.
    pub enabled: bool,
    /// Where the port is; `None`: on all IPv4 interfaces, which has to be said where other ports speak TLS.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The model that is asked where a request names none; `None`: the only one that there is.
    pub model: Option<String>,
}

/// What Google Vertex AI asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexAiConfig {
    /// Whether it is answered.
    pub enabled: bool,
    /// Where the port is; `None`: on all IPv4 interfaces, which has to be said where other ports speak TLS.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Where it is asked whether the server is ready.
    pub health_route: RoutePath,
    /// Where it is asked for inferences.
    pub predict_route: RoutePath,
    /// The model that is asked; `None`: the only one that there is.
    pub model: Option<String>,
}

impl Default for SageMakerConfig {
    fn default() -> Self {
        Self { enabled: false, address: None, port: PORT, model: None }
    }
}

impl Default for VertexAiConfig {
    fn default() -> Self {
        let path = |path| RoutePath::try_from(path).expect("invariant: these are paths");
        Self {
            enabled: false,
            address: None,
            port: PORT,
            health_route: path(VertexOptions::HEALTH_ROUTE),
            predict_route: path(VertexOptions::PREDICT_ROUTE),
            model: None,
        }
    }
}

impl SageMakerConfig {
    /// Where it is served and how, if it is.
    #[must_use]
    pub fn serve(&self) -> Option<(SocketAddr, SageMakerOptions)> {
        let options = SageMakerOptions { model: self.model.as_deref().map(Into::into) };
        self.enabled.then(|| (place(self.address, self.port), options))
    }

    pub(super) fn to_raw(&self) -> RawSageMaker {
        RawSageMaker {
            enabled: Some(self.enabled),
            address: Some(print_ip(self.address)),
            port: Some(self.port.into()),
            model: Some(self.model.clone().unwrap_or_default()),
        }
    }
}

impl VertexAiConfig {
    /// Where it is served and how, if it is.
    #[must_use]
    pub fn serve(&self) -> Option<(SocketAddr, VertexOptions)> {
        let options = VertexOptions {
            health_route: self.health_route.clone(),
            predict_route: self.predict_route.clone(),
            model: self.model.as_deref().map(Into::into),
        };
        self.enabled.then(|| (place(self.address, self.port), options))
    }

    pub(super) fn to_raw(&self) -> RawVertexAi {
        RawVertexAi {
            enabled: Some(self.enabled),
            address: Some(print_ip(self.address)),
            port: Some(self.port.into()),
            health_route: Some(self.health_route.to_string()),
            predict_route: Some(self.predict_route.to_string()),
            model: Some(self.model.clone().unwrap_or_default()),
        }
    }
}

fn place(address: Option<IpAddr>, port: u16) -> SocketAddr {
    (address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port).into()
}

fn print_ip(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

impl Check<'_> {
    pub(super) fn sagemaker(&mut self, raw: &RawSageMaker, default: &SageMakerConfig) -> SageMakerConfig {
        SageMakerConfig {
            enabled: raw.enabled.unwrap_or(default.enabled),
            address: self.ip("sagemaker.address", raw.address.as_deref()),
            port: self.port("sagemaker.port", raw.port).unwrap_or(default.port),
            model: named(raw.model.as_ref()),
        }
    }

    pub(super) fn vertex_ai(&mut self, raw: &RawVertexAi, default: &VertexAiConfig) -> VertexAiConfig {
        let mut path = |key, text: Option<&String>, default: &RoutePath| match text {
            None => default.clone(),
            Some(text) => RoutePath::try_from(text.as_str()).unwrap_or_else(|error| {
                self.faults.push(key, format!("{error}, got {text:?}"));
                default.clone()
            }),
        };
        let health_route = path("vertex_ai.health_route", raw.health_route.as_ref(), &default.health_route);
        let predict_route =
            path("vertex_ai.predict_route", raw.predict_route.as_ref(), &default.predict_route);
        VertexAiConfig {
            enabled: raw.enabled.unwrap_or(default.enabled),
            address: self.ip("vertex_ai.address", raw.address.as_deref()),
            port: self.port("vertex_ai.port", raw.port).unwrap_or(default.port),
            health_route,
            predict_route,
            model: named(raw.model.as_ref()),
        }
    }

    fn port(&mut self, key: &str, value: Option<i64>) -> Option<u16> {
        let port = self.whole(key, value, 0..=i64::from(u16::MAX))?;
        u16::try_from(port).ok()
    }

    fn ip(&mut self, key: &str, text: Option<&str>) -> Option<IpAddr> {
        let text = text.map(str::trim).filter(|text| !text.is_empty())?;
        let address = text.parse().ok();
        if address.is_none() {
            let message = format!("expected the address of an interface, got {text:?}");
            self.faults
                .push_with_remedy(key, message, "for example \"127.0.0.1\", or \"0.0.0.0\" for all");
        }
        address
    }

    /// Ports that speak in plain beside others that speak TLS: what they reach is not what those are closed to, unless it was
    /// meant.
    pub(super) fn hosted_in_plain(&mut self, config: &Config) {
        if config.tls.certificate_files.is_empty() {
            return;
        }
        for (key, enabled, address) in [
            ("sagemaker.address", config.sagemaker.enabled, config.sagemaker.address),
            ("vertex_ai.address", config.vertex_ai.enabled, config.vertex_ai.address),
        ] {
            if enabled && address.is_none() {
                let message =
                    "is not set: this port speaks in plain and asks for no certificate, whatever tls says";
                self.faults.push_with_remedy(
                    key,
                    message,
                    "name the interface that the platform asks on, such as \"127.0.0.1\"; \"0.0.0.0\" is all of them",
                );
            }
        }
    }

    /// Ports that are taken twice.
    pub(super) fn hosted_ports(&mut self, config: &Config) {
        let ServerConfig { http, grpc, metrics, .. } = config.server;
        let mut taken = Vec::new();
        for (name, address) in [
            ("server.http", http),
            ("server.grpc", grpc),
            ("server.metrics", metrics),
        ] {
            taken.extend(address.map(|address| (name, address.port())));
        }
        for (key, enabled, port) in [
            ("sagemaker.port", config.sagemaker.enabled, config.sagemaker.port),
            ("vertex_ai.port", config.vertex_ai.enabled, config.vertex_ai.port),
        ] {
            if !enabled || port == 0 {
                continue;
            }
            if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == port) {
                let message = format!("{port} is the port of {other} too");
                self.faults.push_with_remedy(key, message, "give each a port of its own");
            }
            taken.push((key, port));
        }
    }
}

/// A name; empty: none.
fn named(name: Option<&String>) -> Option<String> {
    name.filter(|name| !name.is_empty()).cloned()
}
