use std::collections::BTreeMap;

use toml::Value;

use super::Check;
use crate::raw::{RawAccelerator, RawOptimization};
use crate::{Accelerator, GraphLevel, Optimization};

/// Most threads within one operator.
const MAX_THREADS: i64 = 4096;

/// Most sizes that batches are padded to: each has a session of its own.
const MAX_BATCH_SIZES: usize = 16;

impl Check<'_> {
    /// Engine options: of the `optimization` table, and of the parameters that Triton's ONNX Runtime backend has for them.
    pub(super) fn optimization(
        &mut self,
        raw: &RawOptimization,
        parameters: &BTreeMap<String, String>,
    ) -> Optimization {
        let accelerators = raw.execution_accelerators.as_ref();
        let key = "optimization.execution_accelerators";
        Optimization {
            graph_level: self.graph_level(raw),
            gpu_accelerators: accelerators.map_or_else(Vec::new, |raw| {
                self.accelerators(&format!("{key}.gpu_execution_accelerator"), &raw.gpu_execution_accelerator)
            }),
            cpu_accelerators: accelerators.map_or_else(Vec::new, |raw| {
                self.accelerators(&format!("{key}.cpu_execution_accelerator"), &raw.cpu_execution_accelerator)
            }),
            provider_fallback: self.flag(parameters, "provider_fallback"),
            intra_op_threads: self
                .count(parameters, "intra_op_thread_count", MAX_THREADS)
                .and_then(|threads| usize::try_from(threads).ok()),
            optimized_cache: self.flag(parameters, "optimized_cache"),
            arena: self.flag(parameters, "enable_mem_arena"),
            arena_limit_bytes: self.count(parameters, "arena_limit_bytes", i64::MAX),
            batch_sizes: self.batch_sizes(parameters),
        }
    }

    /// Numbers as Triton's ONNX Runtime backend reads them.
    fn graph_level(&mut self, raw: &RawOptimization) -> Option<GraphLevel> {
        let level = raw.graph.as_ref()?.level.as_ref()?;
        match level {
            Value::Integer(0) => None,
            Value::Integer(-1) => Some(GraphLevel::Basic),
            Value::Integer(1) => Some(GraphLevel::Extended),
            Value::Integer(2) => Some(GraphLevel::Disabled),
            Value::String(word) if word == "disabled" => Some(GraphLevel::Disabled),
            Value::String(word) if word == "basic" => Some(GraphLevel::Basic),
            Value::String(word) if word == "extended" => Some(GraphLevel::Extended),
            Value::String(word) if word == "all" => Some(GraphLevel::All),
            other => {
                let message = format!(
                    "expected \"disabled\" (2), \"basic\" (-1), \"extended\" (1) or \"all\" (0), got {other}"
                );
                self.faults.push("optimization.graph.level", message);
                None
            }
        }
    }

    fn accelerators(&mut self, key: &str, raw: &[RawAccelerator]) -> Vec<Accelerator> {
        let mut accelerators: Vec<Accelerator> = Vec::with_capacity(raw.len());
        for (index, accelerator) in raw.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let name = accelerator.name.as_deref().unwrap_or_default().to_ascii_lowercase();
            if name.is_empty() {
                self.faults.push(format!("{key}.name"), "is missing");
            } else if accelerators.iter().any(|earlier| earlier.name == name) {
                self.faults.push(format!("{key}.name"), format!("{name:?} is there twice"));
            }
            let parameters = self.texts(&format!("{key}.parameters"), &accelerator.parameters);
            accelerators.push(Accelerator { name, parameters });
        }
        accelerators
    }

    /// `any`, or numbers of rows separated by commas, each more than the one before.
    fn batch_sizes(&mut self, parameters: &BTreeMap<String, String>) -> Option<Vec<usize>> {
        let text = parameters.get("batch_sizes")?;
        if text.trim().eq_ignore_ascii_case("any") {
            return Some(Vec::new());
        }
        let sizes: Result<Vec<usize>, _> = text.split(',').map(|size| size.trim().parse()).collect();
        match sizes {
            Ok(sizes)
                if sizes.len() <= MAX_BATCH_SIZES
                    && sizes[0] > 0
                    && sizes.is_sorted_by(|less, more| less < more) =>
            {
                Some(sizes)
            }
            _ => {
                let message = format!(
                    "expected any, or at most {MAX_BATCH_SIZES} ascending numbers of rows as in 1,8,64, got {text:?}"
                );
                self.faults.push("parameters.batch_sizes", message);
                None
            }
        }
    }

    /// A parameter that is `true` or `false`, `1` or `0`, `on` or `off`.
    pub(super) fn flag(&mut self, parameters: &BTreeMap<String, String>, name: &str) -> Option<bool> {
        let text = parameters.get(name)?;
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" => Some(true),
            "0" | "false" | "off" => Some(false),
            _ => {
                let message = format!("expected true or false, got {text:?}");
                self.faults.push(format!("parameters.{name}"), message);
                None
            }
        }
    }

    fn count(&mut self, parameters: &BTreeMap<String, String>, name: &str, most: i64) -> Option<u64> {
        let text = parameters.get(name)?;
        let key = format!("parameters.{name}");
        match text.trim().parse::<i64>() {
            Ok(count) => self.whole(key, count, 0..=most),
            Err(_) => {
                self.faults.push(key, format!("expected a whole number, got {text:?}"));
                None
            }
        }
    }
}
