use adulis_types::{ErrorKind, Identity, IdentityKind, Scopes};

use super::*;

/// Asks for sequence 7 in somebody's name.
async fn ask(
    server: &Server,
    who: (IdentityKind, &str),
    flags: (bool, bool),
    value: i32,
) -> Result<i32, Fault> {
    let mut request = request(7, flags, value);
    request.identity = Some(Arc::new(Identity::new(who.1, who.0, Scopes::NONE)));
    server.engine.infer(request).await.map(|response| number(&response))
}

const ONE: (IdentityKind, &str) = (IdentityKind::ApiKey, "one");
const OTHER: (IdentityKind, &str) = (IdentityKind::ApiKey, "other");
/// Called as the first, and not the same.
const NAMESAKE: (IdentityKind, &str) = (IdentityKind::Token, "one");
const NOBODY: (IdentityKind, &str) = (IdentityKind::Anonymous, "anonymous");

#[tokio::test]
async fn nobody_gets_into_the_sequence_of_another_by_its_id() {
    let server = Server::start(&[direct()]);
    assert_eq!(ask(&server, ONE, START, 1).await.unwrap(), 1);
    for other in [OTHER, NAMESAKE, NOBODY] {
        let refused = message(ask(&server, other, MIDDLE, 10).await);
        assert!(refused.contains("must specify the START flag"), "{other:?}: {refused}");
    }
    // Each has sequences of its own under that id.
    for (value, other) in [(100, OTHER), (200, NAMESAKE), (300, NOBODY)] {
        assert_eq!(ask(&server, other, START, value).await.unwrap(), value, "{other:?}");
    }
    assert_eq!(server.active(), 4.0);
    assert_eq!(ask(&server, ONE, MIDDLE, 2).await.unwrap(), 3);
    assert_eq!(ask(&server, OTHER, END, 1).await.unwrap(), 101);
    assert_eq!(ask(&server, ONE, END, 3).await.unwrap(), 6);
    assert_eq!(server.active(), 2.0);
}

#[tokio::test]
async fn a_model_that_knows_sequences_by_their_ids_has_one_of_each_at_a_time() {
    let server = Server::start(&[oldest(4)]);
    assert_eq!(ask(&server, ONE, START, 1).await.unwrap(), 1);
    for flags in [START, MIDDLE, END, WHOLE] {
        let refused = ask(&server, OTHER, flags, 10).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        assert_eq!(
            refused.client_message(),
            "model 'm': sequence 7 is open for another client, and the model knows sequences by their ids: choose another id"
        );
    }
    assert_eq!(ask(&server, ONE, END, 2).await.unwrap(), 3 + 7, "the id is added at the end");
    assert_eq!(ask(&server, OTHER, START, 10).await.unwrap(), 10, "it is free again");
}
