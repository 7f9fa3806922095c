//! `demo`: money moves through the mesh, told step by step.
//!
//! Everything goes through the gateway by REST, as any client would do it, and
//! as a careful client does: every money call carries an idempotency key, is
//! repeated with the same key while the mesh cannot answer, and a state that is
//! not final is waited for. So the demo comes to the same end when a process of
//! the mesh is killed in the middle of it.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::mesh::Mesh;

mod rest;
mod story;

/// Plays the demo on a running mesh and writes it to `out`.
///
/// # Errors
/// When a step does not end as it must; the message says which and how.
pub async fn play(mesh: &Mesh, out: &mut impl Write) -> anyhow::Result<()> {
    let start = Instant::now();
    let gateway = mesh.gateway_url()?;
    let mut teller = Teller { out, step: 0 };
    teller.line(&format!("Money through {gateway}"))?;
    story::tell(mesh, &rest::Rest::new(&gateway)?, &mut teller).await?;
    teller.line(&format!("\nDone in {}.", seconds(start.elapsed())))?;
    Ok(())
}

/// Writes the numbered steps.
struct Teller<'a, W> {
    out: &'a mut W,
    step: u32,
}

impl<W: Write> Teller<'_, W> {
    fn step(&mut self, title: &str) -> std::io::Result<()> {
        self.step += 1;
        let number = self.step;
        self.line(&format!("\n{number:>2}. {title}"))
    }

    fn note(&mut self, text: &str) -> std::io::Result<()> {
        self.line(&format!("    {text}"))
    }

    fn line(&mut self, text: &str) -> std::io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }
}

fn seconds(duration: Duration) -> String {
    format!(
        "{}.{} s",
        duration.as_secs(),
        duration.subsec_millis() / 100
    )
}
