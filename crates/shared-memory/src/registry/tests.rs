use adulis_testing::SharedObject;
use adulis_types::{BodyBudget, ErrorKind};

use super::*;

fn spec(name: &str, key: &str, offset: u64, byte_size: u64) -> RegionSpec {
    RegionSpec { name: name.into(), key: key.into(), offset, byte_size }
}

fn place(region: &str, offset: u64, byte_size: u64) -> RegionPlace {
    RegionPlace { region: region.into(), offset, byte_size }
}

/// Kind and message of a refusal.
fn refusal<T>(outcome: Result<T, Fault>) -> (ErrorKind, String) {
    match outcome {
        Ok(_) => panic!("expected a refusal"),
        Err(fault) => (fault.kind(), fault.client_message().into_owned()),
    }
}

fn assert_refused<T>(outcome: Result<T, Fault>, kind: ErrorKind, part: &str) {
    let (found, message) = refusal(outcome);
    assert!(message.contains(part), "{message}");
    assert_eq!(found, kind, "{message}");
}

#[tokio::test]
async fn reads_and_writes_where_it_was_told() {
    let object = SharedObject::new(b"0123456789").unwrap();
    let memory = SystemSharedMemory::default();
    memory.register(spec("r", object.key(), 2, 6)).unwrap();

    let slice = memory.open(&place("r", 1, 4)).unwrap();
    assert_eq!(slice.place(), &place("r", 1, 4));
    let read = slice.read().await.unwrap();
    assert_eq!(&read[..], b"3456");
    assert_eq!(read.as_ptr().align_offset(64), 0);
    slice.write((&b"ab"[..]).into()).await.unwrap();
    assert_eq!(object.read(0, 10).unwrap(), b"012ab56789");
    assert_eq!(&read[..], b"3456", "what was read stays as it was");
    assert_eq!(&memory.open(&place("r", 6, 0)).unwrap().read().await.unwrap()[..], b"");
}

#[tokio::test]
async fn large_tensors_too() {
    let data: Vec<u8> = (0..3_000_000_u32).map(|index| index.to_le_bytes()[1]).collect();
    let object = SharedObject::new(&data).unwrap();
    let memory = SystemSharedMemory::default();
    memory.register(spec("r", object.key(), 0, 3_000_000)).unwrap();
    let slice = memory.open(&place("r", 1, 2_999_999)).unwrap();
    let read = slice.read().await.unwrap();
    assert_eq!(&read[..], &data[1..]);
    slice.write(read.slice(1..)).await.unwrap();
    assert_eq!(object.read(1, 2_999_998).unwrap(), &data[2..]);
}

#[test]
fn statuses_and_usage_are_those_of_what_is_registered() {
    let object = SharedObject::new(&[0; 64]).unwrap();
    let memory = SystemSharedMemory::default();
    let (b, a) = (spec("b", object.key(), 0, 64), spec("a", &object.key()[1..], 8, 8));
    memory.register(b.clone()).unwrap();
    memory.register(a.clone()).unwrap();
    assert_eq!(memory.statuses(), [a.clone(), b.clone()]);
    assert_eq!(memory.status("a").unwrap(), a);
    assert_eq!(memory.usage(), Usage { regions: 2, bytes: 72 });
    memory.unregister("a");
    memory.unregister("never there");
    assert_eq!(memory.statuses(), [b]);
    assert_refused(memory.status("a"), ErrorKind::NotFound, "unable to find shared memory region: 'a'");
    memory.unregister_all();
    assert_eq!(memory.usage(), Usage::default());
}

#[tokio::test]
async fn a_name_is_taken_until_it_is_unregistered() {
    let object = SharedObject::new(&[1, 2]).unwrap();
    let memory = SystemSharedMemory::default();
    memory.register(spec("r", object.key(), 0, 1)).unwrap();
    let (kind, message) = refusal(memory.register(spec("r", object.key(), 1, 1)));
    assert_eq!(message, "shared memory region 'r' already in manager");
    assert_eq!(kind, ErrorKind::AlreadyExists);

    let slice = memory.open(&place("r", 0, 1)).unwrap();
    memory.unregister("r");
    memory.register(spec("r", object.key(), 1, 1)).unwrap();
    assert_eq!(
        &slice.read().await.unwrap()[..],
        [1],
        "a slice goes on with the region that it was opened in"
    );
    assert_eq!(&memory.open(&place("r", 0, 1)).unwrap().read().await.unwrap()[..], [2]);
}

#[tokio::test]
async fn a_tensor_lies_in_its_region() {
    let object = SharedObject::new(&[0; 64]).unwrap();
    let memory = SystemSharedMemory::default();
    memory.register(spec("r", object.key(), 0, 16)).unwrap();
    for (offset, byte_size) in [
        (0, 17),
        (16, 1),
        (17, 0),
        (u64::MAX, 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
    ] {
        let text = format!("offset {offset} and byte size {byte_size} reach past its end at 16");
        assert_refused(memory.open(&place("r", offset, byte_size)), ErrorKind::InvalidArgument, &text);
    }
    let slice = memory.open(&place("r", 8, 8)).unwrap();
    assert_refused(slice.write(vec![1; 9].into()).await, ErrorKind::InvalidArgument, "reach past its end");
    assert_eq!(object.read(0, 64).unwrap(), [0; 64]);
    assert_refused(memory.open(&place("s", 0, 1)), ErrorKind::NotFound, "'s'");
}

#[test]
fn a_region_lies_in_its_object() {
    let object = SharedObject::new(&[0; 16]).unwrap();
    let memory = SystemSharedMemory::default();
    for (offset, byte_size) in [(0, 17), (16, 1), (u64::MAX, 1), (1, u64::MAX)] {
        let outcome = memory.register(spec("r", object.key(), offset, byte_size));
        assert_refused(outcome, ErrorKind::InvalidArgument, "which has 16 bytes");
    }
    let outcome = memory.register(spec("r", object.key(), 0, 0));
    assert_refused(outcome, ErrorKind::InvalidArgument, "byte_size must be 1 or more");
    assert_eq!(memory.usage(), Usage::default());
}

#[test]
fn only_objects_that_are_there_and_nothing_else() {
    let memory = SystemSharedMemory::default();
    for (key, part) in [
        ("/adulis-test-none", "cannot open key '/adulis-test-none'"),
        ("/../etc/passwd", "bad key: it is a path"),
        ("", "bad key: it is empty"),
    ] {
        assert_refused(memory.register(spec("r", key, 0, 1)), ErrorKind::InvalidArgument, part);
    }
    for name in [String::new(), "x".repeat(256)] {
        let outcome = memory.register(spec(&name, "/k", 0, 1));
        assert_refused(outcome, ErrorKind::InvalidArgument, "must have 1 to 255 bytes");
    }
}

/// A link in the folder of shared memory would be a way to every file that the server may write.
#[cfg(target_os = "linux")]
#[test]
fn links_pipes_and_folders_are_refused() {
    use std::path::Path;

    let memory = SystemSharedMemory::default();
    let folder = tempfile::Builder::new().prefix("adulis-test-").tempdir_in("/dev/shm").unwrap();
    let register = |path: &Path| {
        let key = format!("/{}", path.file_name().unwrap().to_str().unwrap());
        memory.register(spec("r", &key, 0, 1))
    };
    assert_refused(register(folder.path()), ErrorKind::InvalidArgument, "Is a directory");

    let target = folder.path().join("target");
    std::fs::write(&target, "secret").unwrap();
    let link = folder.path().with_extension("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let outcome = register(&link);
    std::fs::remove_file(&link).unwrap();
    assert_refused(outcome, ErrorKind::InvalidArgument, "symbolic link");

    let pipe = folder.path().with_extension("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let outcome = register(&pipe);
    std::fs::remove_file(&pipe).unwrap();
    assert_refused(outcome, ErrorKind::InvalidArgument, "is not shared memory");
}

#[test]
fn limits_hold_for_all_regions_together() {
    let object = SharedObject::new(&[0; 64]).unwrap();
    let options = SharedMemoryOptions { max_regions: 2, max_bytes: 64, ..Default::default() };
    let memory = SystemSharedMemory::new(options);
    memory.register(spec("a", object.key(), 0, 60)).unwrap();
    let outcome = memory.register(spec("b", object.key(), 0, 5));
    assert_refused(outcome, ErrorKind::TooLarge, "5 bytes are over the limit of 64");
    memory.register(spec("b", object.key(), 0, 4)).unwrap();
    memory.unregister("a");
    memory.register(spec("c", object.key(), 0, 1)).unwrap();
    let outcome = memory.register(spec("d", object.key(), 0, 1));
    assert_refused(outcome, ErrorKind::TooLarge, "2 regions are registered");
}

#[test]
fn keys_begin_as_they_must() {
    let object = SharedObject::new(&[0; 4]).unwrap();
    for prefix in ["adulis-test-", "/adulis-test-"] {
        let options = SharedMemoryOptions { key_prefix: prefix.to_owned(), ..Default::default() };
        let memory = SystemSharedMemory::new(options);
        memory.register(spec("r", object.key(), 0, 4)).unwrap();
        let outcome = memory.register(spec("s", "/other", 0, 4));
        assert_refused(outcome, ErrorKind::PermissionDenied, "keys that begin with 'adulis-test-' only");
    }
}

#[tokio::test]
async fn what_is_read_counts_until_nobody_has_it() {
    let object = SharedObject::new(&[7; 100_000]).unwrap();
    let bodies = BodyBudget::new(150_000);
    let options = SharedMemoryOptions { bodies: bodies.clone(), ..Default::default() };
    let memory = SystemSharedMemory::new(options);
    memory.register(spec("r", object.key(), 0, 100_000)).unwrap();
    let slice = memory.open(&place("r", 0, 100_000)).unwrap();
    let first = slice.read().await.unwrap();
    let part = first.slice(5..10);
    drop(first);
    assert_eq!(bodies.held_bytes(), 100_000 - 16 * 1024);
    assert_refused(slice.read().await, ErrorKind::Overloaded, "server.max_in_flight_bytes");
    drop(part);
    assert_eq!(bodies.held_bytes(), 0);
    assert_eq!(slice.read().await.unwrap().len(), 100_000);
}

/// With a mapping, this test would end the process (SIGBUS).
#[tokio::test]
async fn a_truncated_object_is_an_error() {
    let object = SharedObject::new(&[7; 8192]).unwrap();
    let memory = SystemSharedMemory::default();
    memory.register(spec("r", object.key(), 0, 8192)).unwrap();
    let slice = memory.open(&place("r", 0, 8192)).unwrap();
    object.resize(1).unwrap();
    assert_refused(slice.read().await, ErrorKind::InvalidArgument, "was truncated");
    slice.write(vec![9; 8192].into()).await.unwrap();
    assert_eq!(object.read(0, 8192).unwrap(), [9; 8192]);
    object.resize(1 << 20).unwrap();
    // It grew for others, not for us.
    assert_refused(memory.open(&place("r", 8192, 1)), ErrorKind::InvalidArgument, "past its end at 8192");
}
