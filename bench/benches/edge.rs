//! What stands around a decision: the signature, the parser, the record's bytes, the answer's.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]
#![expect(clippy::expect_used, reason = "a bench that meets the unexpected stops")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tapgate::signature::{SIGNATURE_HEADER, SigningKey, WebhookHeaders, WebhookPolicy, verify_webhook};
use tapgate::wire::callback::{Envelope, Field, Mapping, Pointers, Template, render};
use tapgate::wire::ur::AmountForm;
use tapgate_bench::{BODY, Requests, Sink, drain, ledger, submit};
use tapgate_engine::fact::{Controls, Record};
use tapgate_engine::testing::MemoryStore;

fn signature(criterion: &mut Criterion) {
    let key = SigningKey::from_bytes([7; 32]).expect("a key");
    let signed = key.sign_hex(&[BODY.as_bytes()]);
    let policy = WebhookPolicy { signers: vec![key.address()], require_v2: false, timestamp_window_seconds: 300 };
    let headers = WebhookHeaders { signature: Some(signed.as_bytes()), ..WebhookHeaders::default() };
    criterion.bench_function(&format!("edge/verify/{SIGNATURE_HEADER}"), |bench| {
        bench.iter(|| verify_webhook(&policy, &headers, black_box(BODY.as_bytes()), 1_768_659_501).is_ok());
    });
}

fn parse(criterion: &mut Criterion) {
    criterion.bench_function("edge/parse", |bench| {
        bench.iter(|| Envelope::parse(black_box(BODY.as_bytes())).and_then(|envelope| envelope.request()).is_ok());
    });
}

/// tapgate's own form, read by the mapping that is an example.
fn parse_mapped(criterion: &mut Criterion) {
    let mut pointers = Pointers::default();
    for (name, field) in Field::NAMED {
        let pointer = match name {
            "event" | "timestamp" => format!("/{name}"),
            "merchant_id" | "merchant_name" | "merchant_mcc" | "merchant_city" | "merchant_country" => {
                format!("/data/merchant/{}", name.trim_start_matches("merchant_"))
            }
            name => format!("/data/{}", camel_case(name)),
        };
        pointers.add(field, &pointer).expect("a pointer");
    }
    let template = |text| Template::parse(text).expect("a template");
    let mapping = Mapping {
        pointers,
        types: Vec::new(),
        channels: Vec::new(),
        amounts: AmountForm::SmallestUnit,
        approved: template(
            r#"{"authorizationId":{authorizationId},"approved":{approved},"source":{source},"approvedAmount":{approvedAmount},"currency":{currency},"partnerRefId":{partnerRefId}}"#,
        ),
        declined: template(r#"{"authorizationId":{authorizationId},"approved":{approved},"reason":{reason}}"#),
    };
    criterion.bench_function("edge/parse_mapped", |bench| {
        bench.iter(|| mapping.read(black_box(BODY.as_bytes()), 0).and_then(|envelope| envelope.request()).is_ok());
    });
    let ledger = ledger(std::sync::Arc::new(Sink::default()), 10, Controls::default());
    let reply = submit(&ledger, Requests::new(10, 0).tap()).reply;
    criterion.bench_function("edge/render_mapped", |bench| bench.iter(|| mapping.render(black_box(&reply))));
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1);
        name + &initial.to_uppercase() + rest
    })
}

fn answer(criterion: &mut Criterion) {
    let ledger = ledger(std::sync::Arc::new(Sink::default()), 10, Controls::default());
    let reply = submit(&ledger, Requests::new(10, 0).tap()).reply;
    criterion.bench_function("edge/render", |bench| bench.iter(|| render(black_box(&reply))));
}

fn record(criterion: &mut Criterion) {
    let store = MemoryStore::new();
    let ledger = ledger(store.clone(), 10, Controls::default());
    let _ = submit(&ledger, Requests::new(10, 0).tap());
    drain(&ledger);
    let bytes = store.entries().pop().map(|entry| entry.payload).unwrap_or_default();
    let record = Record::decode(&bytes).expect("a record");
    criterion.bench_function(&format!("edge/record/encode_{}_bytes", bytes.len()), |bench| {
        bench.iter(|| black_box(&record).encode());
    });
    criterion.bench_function("edge/record/decode", |bench| bench.iter(|| Record::decode(black_box(&bytes)).is_ok()));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).without_plots();
    targets = signature, parse, parse_mapped, answer, record
}
criterion_main!(benches);
