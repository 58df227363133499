use std::collections::BTreeMap;

use super::states::implicit;
use super::*;

/// xorshift64: Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a client knows of a sequence of its own.
#[derive(Default)]
struct Client {
    open: bool,
    sum: i32,
    answered: u32,
}

/// Clients that begin, go on with, begin anew and end sequences, some of which go away while they wait. Each answer is the sum
/// that the client knows itself, as long as it knows what ran.
async fn simulate(mut model: ModelEntry, seed: u64) {
    model.config.instance_group = vec![adulis_repository::InstanceGroup {
        count: 2,
        kind: adulis_repository::InstanceKind::Cpu,
        ..adulis_repository::InstanceGroup::default()
    }];
    let server = Arc::new(Server::start(&[model]));
    let clients = (1..=16_u64).map(|id| {
        let server = Arc::clone(&server);
        let random = Random(seed.wrapping_mul(id).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1);
        tokio::spawn(client(server, id, random))
    });
    let mut answered = 0;
    for client in clients.collect::<Vec<_>>() {
        answered += client.await.unwrap();
    }
    assert!(answered > 200, "seed {seed}: {answered} answers");
    assert_eq!(server.active(), 0.0, "seed {seed}");
    assert_eq!(server.metric("adulis_queue_requests{model=\"m\",version=\"1\"}"), 0.0, "seed {seed}");
    assert_eq!(server.metric("adulis_sequences_backlog{model=\"m\",version=\"1\"}"), 0.0, "seed {seed}");
}

async fn client(server: Arc<Server>, id: u64, mut random: Random) -> u32 {
    let mut known = Client::default();
    for _ in 0..40 {
        let value = i32::try_from(random.below(1000)).unwrap();
        let starts = !known.open || random.below(10) == 0;
        let ends = random.below(5) == 0;
        let asked = server.engine.infer(request(id, (starts, ends), value));
        if random.below(8) == 0 {
            let patience = Duration::from_micros(random.below(400));
            // Who gives up does not know whether the request ran: a start tells again where the sequence stands.
            let _ = tokio::time::timeout(patience, asked).await;
            known.open = false;
            continue;
        }
        let answer = asked.await.map(|response| number(&response)).unwrap();
        known.sum = if starts { value } else { known.sum + value };
        assert_eq!(answer, known.sum, "sequence {id}");
        known.open = !ends;
        known.answered += 1;
    }
    server.ask(id, WHOLE, 0).await.unwrap();
    known.answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_client_sees_its_own_sum() {
    let delay = [("execute_delay_microseconds", "100")];
    let seed = std::env::var("ADULIS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("ADULIS_SEED={seed}");
    let mut told_no_id = oldest(5);
    batching(&mut told_no_id).control_inputs.retain(|control| control.name != "END");
    let models = BTreeMap::from([
        ("direct", direct()),
        ("oldest", told_no_id),
        ("implicit", implicit()),
    ]);
    for (name, model) in models {
        println!("{name}");
        simulate(with_parameters(model, &delay), seed).await;
    }
}
