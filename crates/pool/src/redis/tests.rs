use super::*;

fn timeout() -> PoolError {
    PoolError::Timeout { backend: "r".into(), limit: Duration::from_millis(1) }
}

fn broken() -> PoolError {
    PoolError::Broken { backend: "r".into(), reason: "x".into() }
}

#[test]
fn parts_of_an_answer_are_taken() {
    assert_eq!(parts(vec![Ok(1), Ok(2)]), Ok((vec![Ok(1), Ok(2)], None)));
    assert_eq!(parts(vec![Ok(1), Err(broken())]), Ok((vec![Ok(1), Err(broken())], None)));
    let slow = parts(vec![Err(broken()), Ok(2), Err(timeout())]);
    assert_eq!(slow, Ok((vec![Err(broken()), Ok(2), Err(timeout())], Some(timeout()))));
    assert_eq!(parts::<u8>(vec![Err(broken()), Err(timeout())]), Err(timeout()));
    assert_eq!(parts::<u8>(vec![Err(broken())]), Err(broken()));
}

#[test]
fn certificates_need_tls() {
    let url = |text: &str| text.parse::<RedisUrl>().unwrap();
    let tls = || RedisTls { roots: Some(b"-----BEGIN".to_vec()), client: None };
    let options = PoolOptions::default();
    let open = |text, tls| Dial::new("r".into(), url(text), tls, &options).map(drop);
    assert!(open("redis://a", tls()).unwrap_err().to_string().contains("rediss://"));
    for text in [
        "rediss://a",
        "rediss+cluster://a,b",
        "rediss+sentinel://a/m",
        "redis+sentinel://a/m",
    ] {
        open(text, RedisTls::default()).unwrap();
    }
    let broken = RedisTls { roots: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()), client: None };
    assert!(open("rediss://a", broken).is_err(), "a certificate that is none is found at once");
}
