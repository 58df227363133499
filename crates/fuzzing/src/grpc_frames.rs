use adulis_grpc::received::framed;

/// Bytes before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// gRPC's framing of a call's messages, in pieces as long as the first byte says: where messages end does not depend on them.
#[must_use]
pub fn grpc_frames(input: &[u8]) -> bool {
    let Some((length, body)) = input.split_first() else {
        return false;
    };
    let ends = ends(body);
    let pieces = || body.chunks(usize::from(*length).max(1));
    let (mut seen, mut ended_before) = (0, 0);
    for (piece, (ended, received)) in pieces().zip(framed(pieces())) {
        seen += piece.len();
        let ended_by_now = ends.partition_point(|end| *end <= seen);
        let begin = ended_by_now.checked_sub(1).map_or(0, |last| ends[last]);
        assert_eq!((ended, received), (ended_by_now > ended_before, seen - begin), "behind byte {seen}");
        ended_before = ended_by_now;
    }
    !ends.is_empty()
}

/// Where the messages of a body end that are whole.
fn ends(body: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some([_, length @ ..]) = body.get(at..).and_then(|rest| rest.first_chunk::<HEAD>()) {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        at = at.saturating_add(HEAD).saturating_add(length);
        if at <= body.len() {
            ends.push(at);
        }
    }
    ends
}
