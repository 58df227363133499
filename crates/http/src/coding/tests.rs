use super::*;

fn headers(name: &http::HeaderName, values: &[&'static str]) -> HeaderMap {
    values
        .iter()
        .map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
        .collect()
}

fn plan(limit: usize) -> BodyPlan {
    BodyPlan { declared: None, header_length: Some(3), limit }
}

#[tokio::test]
async fn round_trips_small_and_large() {
    let codec = Codec::new(BodyBudget::default());
    for coding in [Coding::Gzip, Coding::Deflate] {
        for length in [0, 10, 200_000] {
            let original: Vec<u8> =
                (0..length).map(|index: u32| index.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
            let chunks = original.chunks(777).map(Bytes::copy_from_slice).collect();
            let compressed = codec.deflate(coding, chunks).await.unwrap();
            let (back, _) = codec.inflate(coding, compressed, plan(200_000)).await.unwrap();
            assert_eq!(&back[..], &original[..], "{coding:?} {length}");
            assert_eq!((back.as_ptr().addr() + 3) % 64, 0);
        }
    }
}

#[tokio::test]
async fn a_bomb_is_refused_at_the_limit() {
    let codec = Codec::new(BodyBudget::default());
    for coding in [Coding::Gzip, Coding::Deflate] {
        let zeros: SmallVec<[Bytes; 4]> = (0..8).map(|_| Bytes::from(vec![0; 1 << 20])).collect();
        let bomb = codec.deflate(coding, zeros).await.unwrap();
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        let error = codec.inflate(coding, bomb, plan(1 << 20)).await.unwrap_err();
        assert!(matches!(error, HttpError::Inflated { limit: 1_048_576, .. }), "{error}");
    }
}

#[tokio::test]
async fn inflated_bytes_count_as_long_as_they_are_held() {
    let budget = BodyBudget::new(300_000);
    let codec = Codec::new(budget.clone());
    let zeros = codec
        .deflate(Coding::Gzip, smallvec::smallvec![Bytes::from(vec![0; 200_000])])
        .await
        .unwrap();
    let (bytes, held) = codec.inflate(Coding::Gzip, zeros.clone(), plan(1 << 20)).await.unwrap();
    assert_eq!((bytes.len(), budget.held_bytes()), (200_000, 200_000 - 16 * 1024));
    let refused = codec.inflate(Coding::Gzip, zeros.clone(), plan(1 << 20)).await.unwrap_err();
    assert!(matches!(refused, HttpError::Budget(_)), "{refused}");
    drop(held);
    assert!(codec.inflate(Coding::Gzip, zeros, plan(1 << 20)).await.is_ok());
    assert_eq!(budget.held_bytes(), 0);
}

#[tokio::test]
async fn damaged_input_is_an_error() {
    let codec = Codec::new(BodyBudget::default());
    let chunks: SmallVec<[Bytes; 4]> = SmallVec::from_iter([Bytes::from_static(b"some text to compress")]);
    for coding in [Coding::Gzip, Coding::Deflate] {
        let whole = codec.deflate(coding, chunks.clone()).await.unwrap();
        for damaged in [
            whole.slice(..whole.len() / 2),
            Bytes::from_static(b"not compressed at all"),
        ] {
            let error = codec.inflate(coding, damaged, plan(1000)).await.unwrap_err();
            assert!(matches!(error, HttpError::Compressed { .. }), "{coding:?} {error}");
        }
    }
}

#[test]
fn request_codings() {
    let of =
        |values: &[&'static str]| of_request(&headers(&header::CONTENT_ENCODING, values)).map_err(|_| ());
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&[""]), Ok(None));
    assert_eq!(of(&["identity"]), Ok(None));
    assert_eq!(of(&["GZIP"]), Ok(Some(Coding::Gzip)));
    assert_eq!(of(&["deflate"]), Ok(Some(Coding::Deflate)));
    for unknown in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["\u{e9}"]] {
        assert_eq!(of(unknown), Err(()), "{unknown:?}");
    }
}

#[test]
fn response_codings() {
    let for_policy =
        |value: &'static str, policy| for_response(&headers(&header::ACCEPT_ENCODING, &[value]), policy);
    for (value, explicit, accepted) in [
        ("gzip", Some(Coding::Gzip), Some(Coding::Gzip)),
        ("deflate", Some(Coding::Deflate), Some(Coding::Deflate)),
        ("gzip, deflate, br", None, Some(Coding::Gzip)),
        ("gzip;q=0.1, deflate;q=0.5", None, Some(Coding::Deflate)),
        ("gzip;q=0", None, None),
        ("br", None, None),
        ("identity", None, None),
    ] {
        assert_eq!(for_policy(value, ResponseCompression::Explicit), explicit, "{value}");
        assert_eq!(for_policy(value, ResponseCompression::Accepted), accepted, "{value}");
        assert_eq!(for_policy(value, ResponseCompression::Never), None, "{value}");
    }
}
