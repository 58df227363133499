//! Answers in time under far more load than a model can bear.

use std::time::{Duration, Instant};

use adulis_engine::{Admission, Settings};

use super::{MS, Server, model, settings, within};

/// Of 4 rows each, in 20 ms: 200 requests per second.
const RUN: Duration = Duration::from_millis(20);
const ROWS: usize = 4;
const TIMEOUT: Duration = Duration::from_millis(120);

/// Offers five times what can be answered for two seconds, and counts the answers in time of the second half.
async fn offer(admission: Admission) -> usize {
    const GAP: Duration = Duration::from_millis(1);
    let server = Server::start(Settings { admission, ..settings() }, model(RUN, ROWS));
    let start = Instant::now();
    let mut asked = Vec::new();
    for round in 0_u32..2000 {
        tokio::time::sleep_until((start + GAP * round).into()).await;
        let sent = Instant::now();
        let asking = server.ask(within(TIMEOUT));
        asked.push(tokio::spawn(async move {
            let answer = asking.await.unwrap();
            answer.is_ok() && sent.elapsed() <= TIMEOUT + 10 * MS
        }));
    }
    let mut good = 0;
    for asked in asked.into_iter().skip(1000) {
        good += usize::from(asked.await.unwrap());
    }
    good
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_model_goes_on_answering_in_time() {
    let by_cost = offer(Admission::Cost).await;
    let fifo = offer(Admission::None).await;
    // A second's worth of full batches is 200; a busy machine takes its share of that. First come, first served, almost
    // every request is run when it is too late for it.
    assert!(by_cost > 100, "{by_cost} answers in time");
    assert!(fifo * 2 < by_cost, "{fifo} in time without admission, {by_cost} with it");
}
