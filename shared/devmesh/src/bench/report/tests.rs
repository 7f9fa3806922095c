use serde_json::json;

use super::*;

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

/// The file holds medians, in the form that other programs read.
#[test]
fn the_form_is_what_programs_read() {
    let rounds = [round(1.0), round(3.0), round(2.0)];
    let soak = Soak {
        load: load(1_000.0),
        checkpoints: 2,
        autovacuums: 3,
    };
    let report = serde_json::to_value(Report::of(256, &rounds, Some(soak))).unwrap();
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
    let report = Report::of(256, &[quick], None);
    let form = serde_json::to_value(&report).unwrap();
    assert!(form.get("growth").is_none() && form.get("soak").is_none());
    let table = report.to_string();
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(line("deadlocks").ends_with("MISSED"), "{table}");
    assert!(line("wallets created").ends_with("met"), "{table}");
    assert!(!table.contains("soak"), "{table}");
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
