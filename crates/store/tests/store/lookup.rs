use std::sync::Arc;
use std::time::Duration;

use adulis_store::{DatabaseMetrics, PoolOptions, Store, StoreOptions, StoreUrl};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor, append_element};
use adulis_types::{
    BoxFuture, ErrorKind, Failure, Fault, InferRequest, InferResponse, InferenceService, InputTensor,
    ModelConfigDocument, ModelMetadata, ModelRef, OutputTensor, Parameters, ServerMetadata, StageTimings,
    TensorMetadata,
};
use serde_json::json;

use crate::support::{PATIENCE, direct, pool};

/// A model that batches and echoes its inputs, and says in its configuration what is looked up.
pub(crate) struct Tabular(pub(crate) String);

impl InferenceService for Tabular {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        let output = |input: InputTensor| OutputTensor::new(&*input.name, input.tensor);
        let response = InferResponse {
            model_name: "m".into(),
            model_version: 1,
            id: request.id,
            parameters: Parameters::default(),
            outputs: request.inputs.into_iter().map(output).collect(),
            timings: StageTimings::default(),
            cache: None,
            quota: None,
        };
        Box::pin(async { Ok(response) })
    }

    fn ready(&self) -> bool {
        true
    }

    fn model_ready(&self, _: &ModelRef) -> Result<bool, Fault> {
        Ok(true)
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata { name: "t".into(), version: "1".into(), extensions: Vec::new() }
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        if model.name != "m" {
            return Err(Failure::new(ErrorKind::NotFound, "no such model").into());
        }
        let input = |name: &str, datatype, columns| TensorMetadata {
            name: name.into(),
            datatype,
            shape: ShapePattern::new(&[-1, columns]),
            optional: false,
        };
        Ok(ModelMetadata {
            name: "m".into(),
            versions: vec![1],
            platform: "t".into(),
            inputs: vec![
                input("features", DataType::Fp32, 2),
                input("segment", DataType::Bytes, 1),
                input("visits", DataType::Int16, 1),
                input("other", DataType::Uint8, 1),
            ],
            outputs: Vec::new(),
        })
    }

    fn model_config(&self, _: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        let json = json!({"max_batch_size": 8, "parameters": {"lookup": {"string_value": self.0}}});
        Ok(ModelConfigDocument { json: json.to_string().into(), protobuf: Vec::new().into() })
    }
}

/// A service that is asked for customers.
pub(crate) struct Asked(pub(crate) Arc<dyn InferenceService>);

impl Asked {
    pub(crate) async fn ask_within(
        &self,
        ids: &[i64],
        timeout: Option<Duration>,
    ) -> Result<Vec<Tensor>, Fault> {
        let data: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let tensor = Tensor::new(DataType::Int64, Shape::new(&[ids.len(), 1]), data.into()).unwrap();
        self.ask_for(tensor, timeout).await
    }

    async fn ask_for(&self, ids: Tensor, timeout: Option<Duration>) -> Result<Vec<Tensor>, Fault> {
        let mut request = InferRequest::new(ModelRef::latest("m"));
        request.inputs.push(InputTensor { name: "customer_id".into(), tensor: ids });
        request.timeout = timeout;
        let response = self.0.infer(request).await?;
        Ok(response.outputs.into_iter().map(|output| output.tensor).collect())
    }
}

struct Looked {
    store: Arc<Store>,
    asked: Asked,
    registry: MetricRegistry,
}

impl Looked {
    fn new(url: &StoreUrl, pool: PoolOptions, lookup: &str) -> Self {
        let registry = MetricRegistry::default();
        let metrics = DatabaseMetrics::register(&registry);
        let options = StoreOptions { url: url.clone(), pool, usage_interval: None, log: None, lookup: true };
        let store = Store::open(options, &registry, &metrics).unwrap();
        let service = store.lookups().wrap(Arc::new(Tabular(lookup.to_owned())));
        Self { store, asked: Asked(service), registry }
    }

    async fn ask(&self, ids: &[i64]) -> Result<Vec<Tensor>, Fault> {
        self.asked.ask_within(ids, None).await
    }
}

const LOOKUP: &str = r#"{"key": "customer_id", "datatype": "INT64", "table": "customers", "key_column": "id",
    "inputs": {"features": ["age", "Balance"], "segment": "segment", "visits": ["visits"]},
    "defaults": {"Balance": 0.5, "visits": -1}, "ttl_seconds": 60}"#;

async fn customers(url: &StoreUrl) {
    let table = "CREATE TABLE customers (id BIGINT PRIMARY KEY, age INT, \"Balance\" NUMERIC, segment VARCHAR(20), visits BIGINT);
        INSERT INTO customers VALUES (1, 31, 10.25, 'gold', 7), (2, 40, NULL, 'é''\"', NULL), (3, NULL, 1, 'x', 1),
            (4, 50, 1, 'x', 70000)";
    sqlx::raw_sql(table).execute(&direct(url).await).await.unwrap();
}

pub(crate) fn texts(values: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    for value in values {
        append_element(&mut data, value.as_bytes()).unwrap();
    }
    data
}

pub(crate) async fn features_take_the_place_of_ids(url: &StoreUrl) {
    customers(url).await;
    let looked = Looked::new(url, pool(), LOOKUP);
    let tensors = looked.ask(&[2, 1, 2]).await.unwrap();
    let floats = [40.0_f32, 0.5, 31.0, 10.25, 40.0, 0.5];
    let floats: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    let visits: Vec<u8> = [-1_i16, 7, -1].iter().flat_map(|value| value.to_le_bytes()).collect();
    for (tensor, datatype, columns, data) in [
        (&tensors[0], DataType::Fp32, 2, floats),
        (&tensors[1], DataType::Bytes, 1, texts(&["é'\"", "gold", "é'\""])),
        (&tensors[2], DataType::Int16, 1, visits),
    ] {
        assert_eq!(
            (tensor.datatype(), &tensor.shape()[..], &tensor.data()[..]),
            (datatype, &[3, columns][..], &data[..])
        );
    }
    // Clients see the key instead.
    let metadata = looked.asked.0.model_metadata(&ModelRef::latest("m")).unwrap();
    let inputs: Vec<_> = metadata.inputs.iter().map(|input| (&*input.name, input.datatype)).collect();
    assert_eq!(inputs, [("other", DataType::Uint8), ("customer_id", DataType::Int64)]);
    // Rows that were read are used again for a while.
    sqlx::raw_sql("DELETE FROM customers").execute(&direct(url).await).await.unwrap();
    assert_eq!(looked.ask(&[2, 1, 2]).await.unwrap(), tensors);
    assert_eq!(looked.ask(&[3]).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    looked.store.close(PATIENCE).await;
}

pub(crate) async fn what_is_missing_is_told_or_has_its_default(url: &StoreUrl) {
    customers(url).await;
    let looked = Looked::new(url, pool(), LOOKUP);
    for (ids, expected) in [
        (&[1, 99][..], "model 'm': input 'customer_id': nothing is known of 99"),
        (&[3], "model 'm': input 'features': column \"age\" of 3 is NULL and has no default"),
        (&[4], "model 'm': input 'visits': column \"visits\" of 4 is no INT16"),
    ] {
        let fault = looked.ask(ids).await.unwrap_err();
        assert_eq!((fault.kind(), &*fault.client_message()), (ErrorKind::InvalidArgument, expected));
    }
    looked.store.close(PATIENCE).await;
    let lenient = LOOKUP
        .replace(r#""defaults": {"#, r#""missing": "default", "defaults": {"age": 18, "segment": "none", "#);
    let looked = Looked::new(url, pool(), &lenient);
    let tensors = looked.ask(&[99]).await.unwrap();
    let floats: Vec<u8> = [18.0_f32, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!((&tensors[0].data()[..], &tensors[1].data()[..]), (&floats[..], &texts(&["none"])[..]));
    looked.store.close(PATIENCE).await;
}

pub(crate) async fn a_lookup_that_names_what_is_not_there_harms_nothing_else(url: &StoreUrl) {
    customers(url).await;
    for (from, to) in [
        ("\"age\"", "\"agee\""),
        ("customers", "customer"),
        ("\"features\": [", "\"featuress\": ["),
    ] {
        let looked = Looked::new(url, pool(), &LOOKUP.replace(from, to));
        let fault = looked.ask(&[1]).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Internal, "{fault}");
        assert!(!fault.client_message().contains("custom"), "{}", fault.client_message());
        looked.store.database().ping().await.unwrap();
        looked.store.close(PATIENCE).await;
    }
    // Other types of ids than the column's: an error, or no such row.
    let text = LOOKUP.replace("INT64", "INT32");
    let looked = Looked::new(url, pool(), &text);
    assert_eq!(looked.ask(&[1]).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    looked.store.close(PATIENCE).await;
}

pub(crate) async fn many_at_once_share_queries(url: &StoreUrl) {
    let table = "CREATE TABLE customers (id BIGINT PRIMARY KEY, age INT, \"Balance\" INT, segment TEXT, visits INT);
        INSERT INTO customers WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)
            SELECT n, n, 0, 's', 1 FROM numbers";
    sqlx::raw_sql(table).execute(&direct(url).await).await.unwrap();
    let looked =
        Arc::new(Looked::new(url, pool(), &LOOKUP.replace("\"ttl_seconds\": 60", "\"ttl_seconds\": 0")));
    looked.ask(&[1]).await.unwrap();
    let asked = (1..=100_i64).map(|number| {
        let looked = Arc::clone(&looked);
        async move {
            let ids: Vec<i64> = (0..20).map(|index| 1 + (number * 20 + index) % 3000).collect();
            let tensors = looked.ask(&ids).await.unwrap();
            for (index, id) in ids.iter().enumerate() {
                let age = f32::from_le_bytes(tensors[0].data()[index * 8..][..4].try_into().unwrap());
                assert_eq!(f64::from(age), *id as f64);
            }
        }
    });
    futures_util::future::join_all(asked).await;
    let text = looked.registry.render(adulis_telemetry::MetricsFormat::Text);
    let waits = "adulis_pool_wait_seconds_count{pool=\"store\"} ";
    let waits = text.lines().find_map(|line| line.strip_prefix(waits)).unwrap();
    assert!(waits.parse::<u32>().unwrap() < 20, "{waits} connections for 101 requests");
    looked.store.close(PATIENCE).await;
}

/// Ids that only PostgreSQL refuses: SQLite has no type that they could not be.
pub(crate) async fn an_id_that_the_column_cannot_be_fails_nobody_else(url: &StoreUrl) {
    let id = |number: i64| format!("00000000-0000-0000-0000-{number:012}");
    let kind = if url.path().is_some() { "TEXT" } else { "UUID" };
    let rows: Vec<String> =
        (0..40).map(|number| format!("('{}', {number}, 0, 's', 1)", id(number))).collect();
    let table = format!(
        "CREATE TABLE customers (id {kind} PRIMARY KEY, age INT, \"Balance\" INT, segment TEXT, visits INT);
         INSERT INTO customers VALUES {}",
        rows.join(",")
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(table)).execute(&direct(url).await).await.unwrap();
    let looked = Arc::new(Looked::new(url, pool(), &LOOKUP.replace("INT64", "BYTES")));
    let asked = (0..40).map(|number| {
        let looked = Arc::clone(&looked);
        async move {
            let is_odd = number % 20 == 7;
            let text = if is_odd { "no uuid".to_owned() } else { id(number) };
            let ids = Tensor::new(DataType::Bytes, Shape::new(&[1, 1]), texts(&[&text]).into()).unwrap();
            match looked.asked.ask_for(ids, None).await {
                Ok(tensors) => assert_eq!(tensors[0].data()[..4], (number as f32).to_le_bytes()),
                Err(fault) => {
                    assert!(is_odd, "{number}: {fault}");
                    assert_eq!(fault.kind(), ErrorKind::InvalidArgument, "{fault}");
                }
            }
        }
    });
    futures_util::future::join_all(asked).await;
    assert_eq!(looked.store.database().problem(), None);
    looked.store.close(PATIENCE).await;
}
