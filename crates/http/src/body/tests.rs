use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;

use super::*;

struct Frames(VecDeque<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn frames(parts: &[&[u8]]) -> (Body, Vec<Bytes>) {
    let parts: Vec<Bytes> = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    (Body::new(Frames(parts.iter().cloned().collect())), parts)
}

async fn read(body: Body, plan: BodyPlan) -> Result<Bytes, HttpError> {
    let (received, budget, mut held) = (AtomicUsize::new(0), BodyBudget::default(), HeldBody::default());
    super::read(body, plan, Intake { received: &received, budget: &budget, held: &mut held }).await
}

fn plan(declared: Option<usize>, header_length: Option<usize>) -> BodyPlan {
    BodyPlan { declared, header_length, limit: 1000 }
}

#[tokio::test]
async fn a_body_in_one_frame_is_not_copied() {
    for declared in [Some(5), None] {
        let (body, parts) = frames(&[b"hello"]);
        let read = read(body, plan(declared, Some(3))).await.unwrap();
        assert_eq!(read.as_ptr(), parts[0].as_ptr(), "{declared:?}");
    }
}

#[tokio::test]
async fn the_binary_section_is_aligned() {
    for declared in [Some(300), None] {
        for header_length in [0, 1, 63, 64, 65, 130, 300] {
            let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
            let (body, _) = frames(&[&bytes[..7], &bytes[7..200], &bytes[200..]]);
            let read = read(body, plan(declared, Some(header_length))).await.unwrap();
            assert_eq!(&read[..], &bytes[..]);
            let address = read.as_ptr().addr() + header_length;
            assert_eq!(address % 64, 0, "{declared:?} {header_length}");
        }
    }
}

#[tokio::test]
async fn a_long_body_of_unknown_length_grows_to_the_limit_and_not_past_it() {
    let limit = 100_000;
    let chunk = vec![7_u8; 10_000];
    for (count, ok) in [(10, true), (11, false)] {
        let (body, _) = frames(&vec![&chunk[..]; count]);
        let plan = BodyPlan { declared: None, header_length: Some(5), limit };
        match read(body, plan).await {
            Ok(read) => assert!(ok && read.len() == limit && read.iter().all(|&byte| byte == 7)),
            Err(error) => assert!(!ok && matches!(error, HttpError::TooLarge { limit: 100_000 }), "{error}"),
        }
    }
}

#[tokio::test]
async fn lengths_that_disagree_are_refused() {
    let (body, _) = frames(&[b"abc"]);
    assert!(matches!(
        read(body, plan(Some(1001), None)).await,
        Err(HttpError::TooLarge { limit: 1000 })
    ));
    for (declared, parts) in [
        (5, &[&b"abc"[..]][..]),
        (0, &[b"abc"]),
        (3, &[b"ab", b"cd"]),
        (2, &[]),
    ] {
        let (body, _) = frames(parts);
        let error = read(body, plan(Some(declared), None)).await.unwrap_err();
        assert!(matches!(error, HttpError::BodyLength { .. }), "{declared}: {error}");
    }
    let (body, _) = frames(&[&[0; 1001]]);
    assert!(matches!(read(body, plan(None, None)).await, Err(HttpError::TooLarge { .. })));
}

#[tokio::test]
async fn a_body_that_there_is_no_room_for_is_refused_at_the_piece_that_needs_it() {
    let piece = vec![7_u8; 10_000];
    let budget = BodyBudget::new(20_000);
    let read = async |count: usize| {
        let (body, _) = frames(&vec![&piece[..]; count]);
        let (received, mut held) = (AtomicUsize::new(0), HeldBody::default());
        let plan = BodyPlan { declared: None, header_length: None, limit: 1_000_000 };
        let intake = Intake { received: &received, budget: &budget, held: &mut held };
        let read = super::read(body, plan, intake).await;
        (read.map(|read| read.len()), received.into_inner(), held)
    };
    let (whole, _, held) = read(3).await;
    assert!(matches!(whole, Ok(30_000)));
    assert!(budget.held_bytes() > 10_000);
    let (refused, received, _) = read(100).await;
    assert!(matches!(refused, Err(HttpError::Budget(_))), "{refused:?}");
    assert_eq!(received, 30_000);
    drop(held);
    assert_eq!(budget.held_bytes(), 0);
    assert!(read(3).await.0.is_ok());
}
