//! Identities that share a model's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adulis_engine::Settings;
use adulis_types::{Identity, IdentityKind, InferRequest, Scopes};
use tokio::task::JoinHandle;

use super::{MS, Server, model, request, settings};

fn of(name: &str) -> InferRequest {
    let identity = Identity::new(name.to_owned(), IdentityKind::ApiKey, Scopes::default());
    InferRequest { identity: Some(Arc::new(identity)), ..request(1.0) }
}

/// So many requests of one identity, and how many of them have been answered.
fn flood(server: &Server, name: &str, count: usize) -> (Vec<JoinHandle<()>>, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let asked = (0..count).map(|_| {
        let (asking, answered) = (server.ask(of(name)), Arc::clone(&answered));
        tokio::spawn(async move {
            answered.fetch_add(usize::from(asking.await.unwrap().is_ok()), Ordering::SeqCst);
        })
    });
    (asked.collect(), answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_hundred_times_the_load_takes_no_more_than_its_share() {
    let server = Server::start(settings(), model(5 * MS, 1));
    let (greedy, greedy_answered) = flood(&server, "greedy", 400);
    // Until nearly all of them wait.
    while server.metric("adulis_queue_requests", "") < 380.0 {
        tokio::time::sleep(MS).await;
    }
    let before = greedy_answered.load(Ordering::SeqCst);
    let (modest, modest_answered) = flood(&server, "modest", 4);
    for asked in modest {
        asked.await.unwrap();
    }
    // One of the other's before each, those that were under way, and what was answered before this thread looks.
    let meanwhile = greedy_answered.load(Ordering::SeqCst) - before;
    assert_eq!(modest_answered.load(Ordering::SeqCst), 4);
    assert!(
        meanwhile <= 20,
        "{meanwhile} of the greedy client's were answered before four of the modest one's"
    );
    for asked in greedy {
        asked.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_fills_the_queue_makes_room_for_others() {
    let settings = Settings { max_queued_rows: 8, ..settings() };
    let server = Server::start(settings, model(100 * MS, 1));
    let first = server.ask(of("greedy"));
    server.busy(0.0).await;
    let (greedy, greedy_answered) = flood(&server, "greedy", 8);
    server.busy(8.0).await;
    let (modest, modest_answered) = flood(&server, "modest", 4);
    for asked in modest.into_iter().chain(greedy) {
        asked.await.unwrap();
    }
    assert_eq!(modest_answered.load(Ordering::SeqCst), 4, "each found a place");
    assert_eq!(greedy_answered.load(Ordering::SeqCst), 4);
    first.await.unwrap().unwrap();
    assert_eq!(server.shed("displaced"), 4.0);
}
