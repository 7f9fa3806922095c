//! The report as a table: value, target, met or missed.

use std::fmt;

use super::Report;
use super::ledger::LedgerReport;
use super::transfers::TransfersReport;

/// What a value has to be.
#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is only told.
    None,
}

struct Line {
    name: &'static str,
    value: f64,
    unit: &'static str,
    target: Target,
}

pub(super) fn write(report: &Report, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        formatter,
        "{:<34} {:>12}       {:>10}",
        "measured", "value", "target"
    )?;
    for line in lines(report) {
        let (target, verdict) = line.target.against(line.value);
        let decimals = if line.value < 100.0 { 2 } else { 0 };
        let row = format!(
            "{:<34} {:>12.decimals$} {:<5} {target:>10}  {verdict}",
            line.name, line.value, line.unit
        );
        writeln!(formatter, "{}", row.trim_end())?;
    }
    Ok(())
}

impl Target {
    fn against(self, value: f64) -> (String, &'static str) {
        let verdict = |is_met| if is_met { "met" } else { "MISSED" };
        match self {
            Self::AtLeast(least) => (format!(">= {least}"), verdict(value >= least)),
            Self::AtMost(most) => (format!("<= {most}"), verdict(value <= most)),
            Self::None => (String::new(), ""),
        }
    }
}

fn lines(report: &Report) -> Vec<Line> {
    let mut lines = vec![line(
        "reference, TPC-B, 32 clients",
        report.reference.tpcb_c32_tps,
        "/s",
        Target::None,
    )];
    lines.extend(report.ledger.iter().flat_map(of_ledger));
    lines.extend(report.transfers.iter().flat_map(of_transfers));
    lines
}

fn line(name: &'static str, value: f64, unit: &'static str, target: Target) -> Line {
    Line {
        name,
        value,
        unit,
        target,
    }
}

fn of_transfers(report: &TransfersReport) -> Vec<Line> {
    use Target::{AtLeast, AtMost, None};
    let (grpc, rest) = (&report.transfer_gateway, &report.transfer_rest);
    let cpu = &grpc.cpu_us;
    vec![
        line(
            "transfers, gateway, 128 callers",
            grpc.transfers_per_s,
            "/s",
            None,
        ),
        line("  to the reference", grpc.ratio, "x", AtLeast(1.0)),
        line("  median", grpc.p50_ms, "ms", None),
        line("  99th percentile", grpc.p99_ms, "ms", AtMost(25.0)),
        line("  CPU a transfer, gateway", cpu.gateway, "us", None),
        line("  CPU a transfer, transaction", cpu.transaction, "us", None),
        line("  CPU a transfer, wallet", cpu.wallet, "us", None),
        line("  CPU a transfer, PostgreSQL", cpu.postgres, "us", None),
        line("transfers by REST", rest.transfers_per_s, "/s", None),
        line("  99th percentile", rest.p99_ms, "ms", None),
        line(
            "same key again, 99th percentile",
            report.idempotent_replay.p99_ms,
            "ms",
            AtMost(10.0),
        ),
        line("transfers by bulks of 100", report.bulk_per_s, "/s", None),
        line("  to the reference", report.bulk_ratio, "x", AtLeast(2.5)),
    ]
}

fn of_ledger(report: &LedgerReport) -> Vec<Line> {
    use Target::{AtLeast, AtMost, None};
    let (sql, rpc) = (&report.ledger_sql, &report.wallet_rpc);
    let (opposed, create) = (&report.opposed_pairs, &report.wallet_create);
    let mut lines = vec![
        line(
            "ledger by SQL, batches of 100",
            sql.postings_per_s,
            "/s",
            None,
        ),
        line("  to the reference", sql.ratio, "x", AtLeast(6.0)),
        line(
            "postings by gRPC, 256 callers",
            rpc.postings_per_s,
            "/s",
            None,
        ),
        line("  to the reference", rpc.ratio, "x", AtLeast(3.0)),
        line("  median", rpc.p50_ms, "ms", None),
        line("  99th percentile", rpc.p99_ms, "ms", AtMost(20.0)),
        line(
            "one hot wallet",
            report.hot_wallet.postings_per_s,
            "/s",
            None,
        ),
        line(
            "  to uniform",
            report.hot_wallet.ratio_to_uniform,
            "x",
            AtLeast(1.0),
        ),
        line("opposed pairs", opposed.postings_per_s, "/s", None),
        line("  deadlocks", as_float(opposed.deadlocks), "", AtMost(0.0)),
        line("wallets created", create.per_s, "/s", AtLeast(4_000.0)),
        line("  95th percentile", create.p95_ms, "ms", AtMost(25.0)),
        line("balances read", report.balance_read.per_s, "/s", None),
        line("  99th percentile", report.balance_read.p99_ms, "ms", None),
    ];
    if let Some(growth) = &report.growth {
        let ratio = growth.wallets_5m_per_s / growth.wallets_100k_per_s;
        lines.push(line(
            "with the many wallets",
            growth.wallets_5m_per_s,
            "/s",
            None,
        ));
        lines.push(line("  to the few", ratio, "x", AtLeast(0.8)));
    }
    if let Some(soak) = &report.soak {
        lines.push(line(
            "soak, last minute",
            soak.last_minute_per_s,
            "/s",
            None,
        ));
        lines.push(line("  to the first", soak.ratio, "x", AtLeast(0.8)));
        lines.push(line("  checkpoints", as_float(soak.checkpoints), "", None));
        lines.push(line(
            "  autovacuums so far",
            as_float(soak.autovacuums),
            "",
            None,
        ));
    }
    let cpu = &report.cpu_us_per_posting;
    lines.push(line("CPU a posting, wallet", cpu.wallet, "us", None));
    lines.push(line("CPU a posting, PostgreSQL", cpu.postgres, "us", None));
    lines
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^53"
)]
fn as_float(count: i64) -> f64 {
    count as f64
}
