//! What the service shows to operators. The metrics are the whole process's, and so of
//! all tests that run in it: a counter has at least what one test has added.

use super::Mesh;

impl Mesh {
    /// What is shown of a counter with these labels; 0 when it is not there.
    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.service.http_address);
        let shown = self.http.get(url).send().await.expect("it answers");
        let shown = shown.text().await.expect("text");
        let mut values = shown.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.find_map(|rest| rest.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// By how much counters have grown at least while something was done.
    pub(crate) async fn grown<const N: usize>(
        &self,
        names: [&str; N],
        done: impl Future<Output = ()>,
    ) -> [u64; N] {
        let mut before = [0; N];
        for (value, name) in before.iter_mut().zip(names) {
            *value = self.counter(name).await;
        }
        done.await;
        let mut grown = [0; N];
        for ((value, name), before) in grown.iter_mut().zip(names).zip(before) {
            *value = self.counter(name).await - before;
        }
        grown
    }
}
