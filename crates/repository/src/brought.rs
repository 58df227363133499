//! What a configuration that came with a request may not say: what reaches beyond the model's own folder.
//!
//! Whoever loads models by request is trusted with their graphs, not with the server's files and its database. Options go to
//! engines as they are, and those of execution providers name files to write, libraries to load and addresses in memory; so
//! what is known to be harmless is taken, and nothing else.

use crate::strict::{Faults, KeyFault};
use crate::{Accelerator, ModelConfig};

/// Options of execution providers that are numbers, switches and names of devices: no path, no address, nothing that writes.
const PROVIDER_OPTIONS: [&str; 53] = [
    // Of several.
    "device_id",
    "arena_extend_strategy",
    "do_copy_in_default_stream",
    "gpu_mem_limit",
    "npu_mem_limit",
    // CUDA.
    "cudnn_conv1d_pad_to_nc1d",
    "cudnn_conv_algo_search",
    "cudnn_conv_use_max_workspace",
    "enable_cuda_graph",
    "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias",
    "prefer_nhwc",
    "sdpa_kernel",
    "tunable_op_enable",
    "tunable_op_max_tuning_duration_ms",
    "tunable_op_tuning_enable",
    "use_ep_level_unified_stream",
    "use_tf32",
    // ROCm and MIGraphX.
    "miopen_conv_exhaustive_search",
    "miopen_conv_use_max_workspace",
    "migraphx_exhaustive_tune",
    "migraphx_fp16_enable",
    "migraphx_int8_enable",
    // TensorRT.
    "precision_mode",
    "trt_auxiliary_streams",
    "trt_bf16_enable",
    "trt_build_heuristics_enable",
    "trt_builder_optimization_level",
    "trt_context_memory_sharing_enable",
    "trt_cuda_graph_enable",
    "trt_detailed_build_log",
    "trt_dla_core",
    "trt_dla_enable",
    "trt_force_sequential_engine_build",
    "trt_fp16_enable",
    "trt_int8_enable",
    "trt_layer_norm_fp32_fallback",
    "trt_max_partition_iterations",
    "trt_max_workspace_size",
    "trt_min_subgraph_size",
    "trt_profile_max_shapes",
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_sparsity_enable",
    // OpenVINO.
    "device_type",
    "disable_dynamic_shapes",
    "enable_opencl_throttling",
    "model_priority",
    "num_of_threads",
    "num_streams",
    "precision",
    // XNNPACK and oneDNN.
    "intra_op_num_threads",
    "use_arena",
];

/// Parameters that begin so are entries of ONNX Runtime's session configuration, some of which name files.
const SESSION_PREFIXES: [&str; 3] = ["session.", "optimization.", "ep."];

/// Those of them that are numbers, switches and names of optimisers.
const SESSION_ENTRIES: [&str; 13] = [
    "optimization.disable_specified_optimizers",
    "optimization.enable_cast_chain_elimination",
    "optimization.enable_gelu_approximation",
    "session.disable_aot_function_inlining",
    "session.disable_double_qdq_remover",
    "session.disable_prepacking",
    "session.disable_quant_qdq",
    "session.dynamic_block_base",
    "session.enable_quant_qdq_cleanup",
    "session.inter_op.allow_spinning",
    "session.intra_op.allow_spinning",
    "session.qdq_matmulnbits_accuracy_level",
    "session.set_denormal_as_zero",
];

/// Where inputs are looked up: in whatever table of the server's database, or hashes of its Redis, it names.
const LOOKUP: &str = "lookup";

/// What is not taken of a configuration that came with a request.
pub(crate) fn faults(config: &ModelConfig) -> Vec<KeyFault> {
    let mut faults = Faults::default();
    if config.parameters.contains_key(LOOKUP) {
        let message = "is taken from the configuration in the model's folder, not from a request: it reads the server's database";
        faults.push(format!("parameters.{LOOKUP}"), message);
    }
    let is_entry = |key: &&String| SESSION_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    refuse(&mut faults, "parameters", config.parameters.keys().filter(is_entry), &SESSION_ENTRIES);
    let key = "optimization.execution_accelerators";
    let wanted = &config.optimization;
    accelerators(&mut faults, &format!("{key}.gpu_execution_accelerator"), &wanted.gpu_accelerators);
    accelerators(&mut faults, &format!("{key}.cpu_execution_accelerator"), &wanted.cpu_accelerators);
    faults.into_vec()
}

fn accelerators(faults: &mut Faults, key: &str, accelerators: &[Accelerator]) {
    for (index, accelerator) in accelerators.iter().enumerate() {
        let key = format!("{key}[{index}].parameters");
        refuse(faults, &key, accelerator.parameters.keys(), &PROVIDER_OPTIONS);
    }
}

fn refuse<'a>(faults: &mut Faults, key: &str, given: impl Iterator<Item = &'a String>, harmless: &[&str]) {
    for option in given.filter(|option| !harmless.contains(&option.as_str())) {
        let message = "is taken from the configuration in the model's folder, not from a request: it may name files, libraries \
                       or memory of the server";
        faults.push(format!("{key}.{option}"), message);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The keys that are refused of a configuration with these parameters and options of both kinds of accelerators.
    fn refused(parameters: &[&str], options: &[&str]) -> Vec<String> {
        let pairs = |keys: &[&str]| -> BTreeMap<String, String> {
            keys.iter().map(|key| ((*key).to_owned(), "/etc/x".to_owned())).collect()
        };
        let mut config = ModelConfig::derived("m");
        config.parameters = pairs(parameters);
        let accelerator = Accelerator { name: "tensorrt".to_owned(), parameters: pairs(options) };
        config.optimization.gpu_accelerators = vec![accelerator.clone()];
        config.optimization.cpu_accelerators = vec![accelerator];
        faults(&config).into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn what_names_files_libraries_and_memory_is_refused_whatever_it_is_called() {
        for option in [
            "trt_engine_cache_path",
            "trt_engine_cache_enable",
            "trt_timing_cache_path",
            "trt_extra_plugin_lib_paths",
            "trt_dump_subgraphs",
            "cache_dir",
            "load_config",
            "backend_path",
            "config_file",
            "user_compute_stream",
            "gpu_external_alloc",
            "TRT_FP16_ENABLE",
            "what_comes_next_year",
        ] {
            let key = |kind: &str| {
                format!(
                    "optimization.execution_accelerators.{kind}_execution_accelerator[0].parameters.{option}"
                )
            };
            assert_eq!(refused(&[], &["device_id", option]), [key("gpu"), key("cpu")]);
        }
        for parameter in [
            "lookup",
            "ep.context_file_path",
            "ep.context_enable",
            "session.optimized_model_external_initializers_file_name",
            "session.model_external_initializers_file_folder_path",
            "session.use_ort_model_bytes_directly",
            "optimization.minimal_build_optimizations",
        ] {
            assert_eq!(refused(&[parameter], &[]), [format!("parameters.{parameter}")]);
        }
    }

    #[test]
    fn numbers_and_switches_are_taken() {
        let mine = [
            "intra_op_thread_count",
            "isolation",
            "lookups",
            "sessions",
            "anything",
        ];
        assert_eq!(refused(&[&SESSION_ENTRIES[..], &mine].concat(), &PROVIDER_OPTIONS), [""; 0]);
        for list in [&PROVIDER_OPTIONS[..], &SESSION_ENTRIES] {
            let odd = [
                "path", "paths", "file", "dir", "lib", "dump", "cache", "alloc", "address",
            ];
            let is_odd = |key: &&&str| key.split(['_', '.']).any(|part| odd.contains(&part));
            assert_eq!(list.iter().find(is_odd), None);
        }
    }
}
