use serde_json::json;

use super::ledger::{CpuTime, Round, Soak};
use super::*;
use crate::bench::driver::Load;

fn load(per_s: f64) -> Load {
    Load {
        done_with_warm_up: 0,
        per_s,
        p50_ms: 5.0,
        p95_ms: 8.0,
        p99_ms: 12.0,
        first_minute_per_s: 1_000.0,
        last_minute_per_s: 900.0,
    }
}

fn round(speed: f64) -> Round {
    Round {
        tpcb_c32_tps: 1_000.0 * speed,
        ledger_sql: load(6_500.0 * speed),
        wallet_rpc: load(3_000.0 * speed),
        cpu: CpuTime::of(Duration::from_millis(20), Duration::from_millis(35), 1_000),
        many_wallets: Some(load(2_700.0 * speed)),
        hot_wallet: load(3_600.0 * speed),
        opposed_pairs: load(3_300.0 * speed),
        deadlocks: 1,
        wallet_create: load(4_500.0 * speed),
        balance_read: load(20_000.0 * speed),
    }
}

fn of_ledger(rounds: &[Round], soak: Option<Soak>) -> Report {
    Report::of(Some(LedgerReport::of(256, rounds, soak)), None)
}

fn transfers(speed: f64, reference_speed: f64) -> transfers::Round {
    transfers::Round {
        tpcb_c32_tps: 1_000.0 * reference_speed,
        gateway: load(1_500.0 * speed),
        cpu: transfers::CpuTime {
            gateway: 100.0 * speed,
            transaction: 200.0 * speed,
            wallet: 50.0,
            postgres: 150.0,
        },
        rest: load(1_200.0 * speed),
        replay: load(5_000.0 * speed),
        bulk: load(2_000.0 * speed),
    }
}

/// The file holds medians, in the form that other programs read.
#[test]
fn the_form_is_what_programs_read() {
    let rounds = [round(1.0), round(3.0), round(2.0)];
    let soak = Soak {
        load: load(1_000.0),
        checkpoints: 2,
        autovacuums: 3,
    };
    let report = serde_json::to_value(of_ledger(&rounds, Some(soak))).unwrap();
    assert_eq!(
        report,
        json!({
            "reference": {"tpcb_c32_tps": 2_000.0},
            "ledger_sql": {"postings_per_s": 13_000.0, "ratio": 6.5},
            "wallet_rpc": {
                "callers": 256, "postings_per_s": 6_000.0, "p50_ms": 5.0, "p99_ms": 12.0,
                "ratio": 3.0,
            },
            "hot_wallet": {"postings_per_s": 7_200.0, "ratio_to_uniform": 1.2},
            "opposed_pairs": {"postings_per_s": 6_600.0, "deadlocks": 3},
            "wallet_create": {"per_s": 9_000.0, "p95_ms": 8.0},
            "balance_read": {"per_s": 40_000.0, "p99_ms": 12.0},
            "growth": {"wallets_100k_per_s": 6_000.0, "wallets_5m_per_s": 5_400.0},
            "soak": {
                "first_minute_per_s": 1_000.0, "last_minute_per_s": 900.0, "ratio": 0.9,
                "checkpoints": 2, "autovacuums": 3,
            },
            "cpu_us_per_posting": {"wallet": 20.0, "postgres": 35.0},
        })
    );
}

/// What a quick run leaves out is absent, and the table says what was missed.
#[test]
fn the_table_says_what_is_missed() {
    let quick = Round {
        many_wallets: None,
        ..round(1.0)
    };
    let report = of_ledger(&[quick], None);
    let form = serde_json::to_value(&report).unwrap();
    assert!(form.get("growth").is_none() && form.get("soak").is_none());
    let table = report.to_string();
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(line("deadlocks").ends_with("MISSED"), "{table}");
    assert!(line("wallets created").ends_with("met"), "{table}");
    assert!(!table.contains("soak"), "{table}");
}

/// Transfers alone have the form that other programs read, with each round
/// compared with its own reference, and nothing of the ledger.
#[test]
fn transfers_are_compared_round_by_round() {
    let rounds = [
        transfers(1.0, 1.0),
        transfers(3.0, 1.5),
        transfers(2.0, 4.0),
    ];
    let report = Report::of(None, Some(TransfersReport::of(&rounds)));
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        json!({
            "reference": {"tpcb_c32_tps": 1_500.0},
            "transfer_gateway": {
                "transfers_per_s": 3_000.0, "p50_ms": 5.0, "p99_ms": 12.0, "ratio": 1.5,
                "cpu_us": {
                    "gateway": 200.0, "transaction": 400.0, "wallet": 50.0, "postgres": 150.0,
                },
            },
            "transfer_rest": {"transfers_per_s": 2_400.0, "p99_ms": 12.0},
            "idempotent_replay": {"p99_ms": 12.0},
            "bulk_per_s": 4_000.0,
            "bulk_ratio": 2.0,
        })
    );
    let table = report.to_string();
    let verdict = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(verdict("same key again").ends_with("MISSED"), "{table}");
    let ratios = table
        .lines()
        .filter(|line| line.contains("to the reference"));
    let ratios: Vec<&str> = ratios
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(ratios, ["met", "MISSED"], "{table}");
    assert!(!table.contains("ledger"), "{table}");
}

/// Both parts stand in one report, which has the ledger's reference.
#[test]
fn the_parts_stand_side_by_side() {
    let ledger = LedgerReport::of(256, &[round(2.0)], None);
    let report = Report::of(
        Some(ledger),
        Some(TransfersReport::of(&[transfers(1.0, 1.0)])),
    );
    let form = serde_json::to_value(&report).unwrap();
    assert_eq!(form["reference"]["tpcb_c32_tps"], 2_000.0);
    assert_eq!(form["ledger_sql"]["ratio"], 6.5);
    assert_eq!(form["transfer_gateway"]["ratio"], 1.5);
}

/// An even number of values has the mean of the middle two.
#[test]
fn medians() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
    assert_eq!(
        median(vec![4.0, 1.0, 2.0, 3.0]).to_bits(),
        2.5_f64.to_bits()
    );
}
