//! Random ensembles with decoupled steps, held against a plain reckoning.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use proptest::prelude::*;
use proptest::sample::Index;

use super::decoupled::{count_to, counter, plus};
use super::*;

/// What the models do: `plus` adds one, `sum` adds two tensors, `count` answers `n % 3` times, with that less one down to 0.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plus,
    Sum,
    Count,
}

/// A step, the tensors that it takes, and the decoupled step whose answers they come with.
#[derive(Debug, Clone)]
struct Random {
    kind: Kind,
    taken: Vec<usize>,
    origin: Option<usize>,
}

/// Steps of which each makes one tensor, numbered from 1 on behind the input; what a step takes comes together.
fn arrange(random: &[(Kind, Index, Index)]) -> Vec<Random> {
    let mut origins = vec![None];
    let mut steps = Vec::new();
    for (index, (kind, first, other)) in random.iter().enumerate() {
        let first = first.index(origins.len());
        let origin = origins[first];
        let alike: Vec<usize> = (0..origins.len()).filter(|tensor| origins[*tensor] == origin).collect();
        let taken = if *kind == Kind::Sum { vec![first, *other.get(&alike)] } else { vec![first] };
        origins.push(if *kind == Kind::Count { Some(index) } else { origin });
        steps.push(Random { kind: *kind, taken, origin });
    }
    steps
}

/// The values of tensor `output`, which comes with the answers of `of`, where `known` is what has come with `at`.
fn reckon(
    steps: &[Random],
    (at, of): (Option<usize>, Option<usize>),
    mut known: BTreeMap<usize, u8>,
    output: usize,
) -> Vec<u8> {
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.origin == at) {
        if step.kind != Kind::Count {
            let taken: u8 = step.taken.iter().map(|tensor| known[tensor]).sum();
            known.insert(index + 1, taken + u8::from(step.kind == Kind::Plus));
        }
    }
    if at == of {
        return vec![known[&output]];
    }
    let mut next = of;
    while let Some(step) = next {
        if steps[step].origin == at {
            let count = known[&steps[step].taken[0]] % 3;
            let answers = (0..count).rev();
            let within = |answer| reckon(steps, (next, of), BTreeMap::from([(step + 1, answer)]), output);
            return answers.flat_map(within).collect();
        }
        next = steps[step].origin;
    }
    unreachable!("the way from the outputs leads to the request")
}

fn configured(steps: &[Random], output: usize) -> ModelEntry {
    let name = |tensor: usize| if tensor == 0 { "IN".to_owned() } else { format!("t{tensor}") };
    let steps: Vec<String> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let made = name(index + 1);
            match (step.kind, &*step.taken) {
                (Kind::Sum, [a, b]) => format!("sum: A={} B={} -> OUT={made}", name(*a), name(*b)),
                (Kind::Count, [a]) => format!("count: IN={} -> OUT={made}", name(*a)),
                (_, taken) => format!("plus: IN={} -> OUT={made}", name(taken[0])),
            }
        })
        .collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    ensemble("e", 0, &["IN"], &[&name(output)], &steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_answer_is_there_once_and_in_order(
        random in prop::collection::vec(
            (prop_oneof![Just(Kind::Plus), Just(Kind::Sum), Just(Kind::Count)], any::<Index>(), any::<Index>()),
            1..7,
        ),
        chosen in any::<Index>(),
        input in 0..3_u8,
    ) {
        let steps = arrange(&random);
        let output = chosen.index(steps.len()) + 1;
        let step = &steps[output - 1];
        let of = if step.kind == Kind::Count { Some(output - 1) } else { step.origin };
        let expected = reckon(&steps, (None, of), BTreeMap::from([(0, input)]), output);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let told: Vec<Result<u8, String>> = runtime.block_on(async {
            let server = Server::start(&[
                counter("count", &["OUT"], &[("modulo", "3")]),
                plus("plus", "1"),
                model("sum", 0, &["A", "B"], &["OUT"], &[]),
                configured(&steps, output),
            ]);
            let stream = server.engine.infer_stream(count_to("e", input));
            let told = stream.map(|answer| match answer {
                Ok(answer) => Ok(answer.outputs[0].tensor.data()[0]),
                Err(fault) => Err(fault.client_message().into_owned()),
            });
            told.collect().await
        });
        let expected: Vec<Result<u8, String>> = expected.into_iter().map(Ok).collect();
        prop_assert_eq!(told, expected, "{:?}, output t{}", steps, output);
    }
}
