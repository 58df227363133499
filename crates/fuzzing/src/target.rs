/// One thing that is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called: the program of cargo-fuzz, and the folder of seeds.
    pub name: &'static str,
    /// Takes or refuses bytes, and says which. Panics where what was taken breaks a promise.
    pub run: fn(&[u8]) -> bool,
}

/// All of them, by their names.
pub const TARGETS: [Target; 21] = [
    Target { name: "cached_value", run: crate::cached_value },
    Target { name: "certificates", run: crate::certificates },
    Target { name: "compressed_body", run: crate::compressed_body },
    Target { name: "config_json", run: crate::config_json },
    Target { name: "config_pbtxt", run: crate::config_pbtxt },
    Target { name: "config_server", run: crate::config_server },
    Target { name: "config_toml", run: crate::config_toml },
    Target { name: "control_decode", run: crate::control_decode },
    Target { name: "credentials", run: crate::credentials },
    Target { name: "flatbuffers_decode", run: crate::flatbuffers_decode },
    Target { name: "generate_decode", run: crate::generate_decode },
    Target { name: "grpc_decode", run: crate::grpc_decode },
    Target { name: "grpc_frames", run: crate::grpc_frames },
    Target { name: "headers", run: crate::headers },
    Target { name: "labels", run: crate::labels },
    Target { name: "looked_up_cells", run: crate::looked_up_cells },
    Target { name: "protobuf_body", run: crate::protobuf_body },
    Target { name: "rest_decode", run: crate::rest_decode },
    Target { name: "token", run: crate::token },
    Target { name: "v1_decode", run: crate::v1_decode },
    Target { name: "worker_frames", run: crate::worker_frames },
];
