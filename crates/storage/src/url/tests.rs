use super::*;

fn told(text: &str) -> String {
    match text.parse::<StorageUrl>() {
        Err(fault) => format!("{fault}"),
        Ok(url) => {
            let location = match url.location() {
                Location::S3 { endpoint, bucket } => {
                    format!("s3 {} {bucket}", endpoint.as_deref().unwrap_or("amazon"))
                }
                Location::Gcs { bucket } => format!("gcs {bucket}"),
                Location::Azure { account, container } => format!("azure {account} {container}"),
            };
            format!("{location} {:?} named {}", url.prefix().as_ref(), url.name())
        }
    }
}

#[test]
fn tritons_forms() {
    for (text, expected) in [
        ("s3://bucket", "s3 amazon bucket \"\" named bucket"),
        ("s3://bucket/", "s3 amazon bucket \"\" named bucket"),
        (
            "S3://my-bucket.a/path/to/models/",
            "s3 amazon my-bucket.a \"path/to/models\" named models",
        ),
        ("s3://bucket/a b/ü", "s3 amazon bucket \"a b/ü\" named ü"),
        (
            "s3://localhost:9000/bucket/models",
            "s3 http://localhost:9000 bucket \"models\" named models",
        ),
        ("s3://10.0.0.1:80/bucket", "s3 http://10.0.0.1:80 bucket \"\" named bucket"),
        ("s3://[::1]:9000/bucket", "s3 http://[::1]:9000 bucket \"\" named bucket"),
        ("s3://http://minio:9000/bucket/m", "s3 http://minio:9000 bucket \"m\" named m"),
        (
            "s3://https://minio.example:443/bucket/m",
            "s3 https://minio.example:443 bucket \"m\" named m",
        ),
        ("s3://https://minio.example/bucket/m", "s3 https://minio.example bucket \"m\" named m"),
        ("gs://bucket/models", "gcs bucket \"models\" named models"),
        ("gcs://bucket", "gcs bucket \"\" named bucket"),
        ("as://account/container/models", "azure account container \"models\" named models"),
        (
            "as://account.blob.core.windows.net/container",
            "azure account container \"\" named container",
        ),
        ("az://account/container/a/b", "azure account container \"a/b\" named b"),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_such_url_says_why() {
    for (text, fault) in [
        ("models/", UrlFault::Scheme),
        ("://bucket", UrlFault::Scheme),
        ("http://host/bucket", UrlFault::Scheme),
        ("file:///models", UrlFault::Scheme),
        ("s3://", UrlFault::Missing("bucket", "s3://BUCKET/PATH or s3://HOST:PORT/BUCKET/PATH")),
        (
            "s3:///path",
            UrlFault::Missing("bucket", "s3://BUCKET/PATH or s3://HOST:PORT/BUCKET/PATH"),
        ),
        (
            "s3://host:9000",
            UrlFault::Missing("bucket", "s3://BUCKET/PATH or s3://HOST:PORT/BUCKET/PATH"),
        ),
        (
            "s3://https:///b",
            UrlFault::Missing("host", "s3://BUCKET/PATH or s3://HOST:PORT/BUCKET/PATH"),
        ),
        ("gs://", UrlFault::Missing("bucket", "gs://BUCKET/PATH")),
        ("as://account", UrlFault::Missing("container", "as://ACCOUNT/CONTAINER/PATH")),
        ("s3://host:0/b", UrlFault::Port),
        ("s3://host:65536/b", UrlFault::Port),
        ("s3://host:+1/b", UrlFault::Port),
        ("s3://host:/b", UrlFault::Port),
        ("s3://[::1]x/b", UrlFault::Port),
        ("s3://[::1/b", UrlFault::Name("the host")),
        ("s3://buck et/x", UrlFault::Name("bucket")),
        ("s3://../x", UrlFault::Name("bucket")),
        ("gs://bücket", UrlFault::Name("bucket")),
        ("s3://key:secret@bucket/x", UrlFault::Credentials),
        ("as://account/container/x?sig=secret", UrlFault::Query),
        ("gs://bucket/x#y", UrlFault::Query),
        ("s3://bucket//x", UrlFault::Path),
        ("s3://bucket/x//", UrlFault::Path),
        ("s3://bucket/x//y", UrlFault::Path),
        ("s3://bucket/../x", UrlFault::Path),
        ("s3://bucket/x/./y", UrlFault::Path),
        ("s3://bucket/x\\y", UrlFault::Path),
        ("s3://bucket/x\ny", UrlFault::Path),
    ] {
        assert_eq!(text.parse::<StorageUrl>().unwrap_err(), fault, "{text:?}");
    }
    let long = format!("s3://bucket/{}", "x".repeat(MAX_URL_BYTES));
    assert_eq!(long.parse::<StorageUrl>().unwrap_err(), UrlFault::TooLong);
}

#[test]
fn faults_do_not_repeat_secrets() {
    for text in ["s3://key:secret@bucket/x", "as://account/container/x?sig=secret"] {
        assert!(!told(text).contains("secret"));
    }
}
