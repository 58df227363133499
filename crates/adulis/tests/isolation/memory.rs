//! Workers that the kernel kills because memory has run out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fs, process};

use adulis_testing::{IdentityModel, TestRepository};

use crate::load::Load;
use crate::support::{byte_json, byte_model, serve};
use crate::{deaths, workers};

/// Processes that may have so much memory together (a control group, of either version); beyond it the kernel kills one.
struct MemoryGroup {
    folder: PathBuf,
    /// Where it counts those that it killed.
    counts: PathBuf,
}

impl MemoryGroup {
    const LIMIT: &'static str = "67108864";

    fn new() -> io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let first = root.join("memory").exists();
        let parent = if first { root.join("memory") } else { root.to_owned() };
        if !first {
            fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
        }
        let folder = parent.join(format!("adulis-test-{}", process::id()));
        fs::create_dir(&folder)?;
        let names = if first {
            [
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.oom_control",
            ]
        } else {
            ["memory.max", "memory.swap.max", "memory.events"]
        };
        let [limit, swap, counts] = names.map(|name| folder.join(name));
        let group = Self { folder, counts };
        fs::write(limit, Self::LIMIT)?;
        // Not there where there is no swap; the first version's limit is that of both together.
        let _ = fs::write(swap, if first { Self::LIMIT } else { "0" });
        Ok(group)
    }

    /// Puts a process into it. What it has already does not count.
    fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }

    /// How many the kernel has killed.
    fn kills(&self) -> u64 {
        let counts = fs::read_to_string(&self.counts).unwrap();
        let line = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.unwrap().trim().parse().unwrap()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// One of two workers may have less memory than a request takes: the kernel kills it, and the other one answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_the_kernel_kills_for_want_of_memory_costs_no_request() {
    let group = match MemoryGroup::new() {
        Ok(group) => group,
        Err(error) => {
            let _ = writeln!(io::stderr(), "SKIPPED: no control group for memory can be made here ({error})");
            return;
        }
    };
    let repository = TestRepository::new().unwrap();
    let parameters = [("allocate_on", "113"), ("allocate_bytes", "268435456")];
    let model = IdentityModel {
        max_batch_size: 4,
        more: "dynamic_batching { } instance_group [ { count: 2 kind: KIND_CPU } ]",
        ..byte_model(&parameters)
    };
    repository.identity("byte", &model).unwrap();
    let server = serve(&repository, &["--workers", "2"]);
    server.ready().await;
    group.add(workers(&server, 2).await[0]).unwrap();
    let load = Load::start(&server, "byte", 8).await;
    load.go_on(&server, &load.answered(), 1).await;
    let begun = std::time::Instant::now();
    while group.kills() == 0 {
        assert!(begun.elapsed().as_secs() < 30, "nobody was killed: {}", server.log());
        // Whichever of the two it meets.
        let answer = server.infer("byte", &[], &byte_json(113)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.metric_reaches("adulis_worker_deaths_total", &["cause=\"killed\""], 1.0).await;
    load.go_on(&server, &load.answered(), 2).await;
    load.stop().await;
    workers(&server, 2).await;
    assert_eq!((group.kills(), deaths(&server, "").await), (1, 1.0), "{}", server.log());
}
