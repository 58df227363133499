use super::*;

#[tokio::test]
async fn flags_are_told_in_every_datatype() {
    let kinds: [fn(bool) -> FalseTrue; 3] = [
        |_| FalseTrue::Int32([0, 1]),
        |_| FalseTrue::Fp32([0.0, 1.0]),
        |_| FalseTrue::Bool([false, true]),
    ];
    for kind in kinds {
        let mut model = oldest(4);
        batching(&mut model).control_inputs = vec![
            control("START", ControlKind::Start(kind(true))),
            control("READY", ControlKind::Ready(kind(true))),
            control("END", ControlKind::End(kind(true))),
            id_as(DataType::Uint64),
        ];
        let server = Server::start(&[model]);
        assert_eq!(server.ask(100, START, 1).await.unwrap(), 1);
        assert_eq!(server.ask(100, MIDDLE, 2).await.unwrap(), 3);
        assert_eq!(server.ask(100, END, 3).await.unwrap(), 106, "the id is added at the end");
        assert_eq!(server.ask(7, WHOLE, 1).await.unwrap(), 8);
    }
}

#[tokio::test]
async fn ids_are_told_in_every_datatype() {
    for datatype in [
        DataType::Uint64,
        DataType::Int64,
        DataType::Uint32,
        DataType::Int32,
        DataType::Bytes,
    ] {
        let mut model = oldest(4);
        batching(&mut model).control_inputs = vec![start(), end(), id_as(datatype)];
        let server = Server::start(&[model]);
        assert_eq!(server.ask(100, START, 1).await.unwrap(), 1);
        assert_eq!(server.ask(100, END, 3).await.unwrap(), 104, "{datatype}");
        let text = server.ask("1002", WHOLE, 1).await;
        match datatype {
            DataType::Bytes => assert_eq!(text.unwrap(), 1003),
            _ => assert!(message(text).contains("cannot be told to the model"), "{datatype}"),
        }
    }
}

#[tokio::test]
async fn text_and_number_are_two_sequences() {
    let mut model = oldest(4);
    batching(&mut model).control_inputs = vec![start(), ready()];
    batching(&mut model).strategy = SequenceStrategy::default();
    let server = Server::start(&[model]);
    assert_eq!(server.ask("7", START, 1).await.unwrap(), 1);
    assert_eq!(server.ask(7, START, 10).await.unwrap(), 10);
    assert_eq!(server.ask("7", MIDDLE, 1).await.unwrap(), 2);
    assert_eq!(server.ask(7, MIDDLE, 1).await.unwrap(), 11);
}

#[tokio::test]
async fn what_the_server_fills_in_is_not_the_clients() {
    let server = Server::start(&[oldest(4)]);
    let metadata = server.engine.model_metadata(&ModelRef::latest("m")).unwrap();
    let inputs: Vec<&str> = metadata.inputs.iter().map(|input| &*input.name).collect();
    assert_eq!(inputs, ["INPUT"]);
    let mut odd = request(1, START, 1);
    let mut forged = odd.inputs[0].clone();
    forged.name = "START".into();
    odd.inputs.push(forged);
    let fault = server.engine.infer(odd).await.unwrap_err();
    let refused = "model 'm': unexpected input 'START'; the model's inputs are 'INPUT'";
    assert_eq!(fault.client_message(), refused);
}
