use crate::counters::Times;

/// The bounds of the histograms' buckets, in seconds: from 0.1 ms, each twice the one before, to
/// 105 s. Give them to an exporter that has bounds of its own: every bound is one of the finer
/// [buckets](crate::registry::Times::buckets) that the policies have, so no call is counted in the
/// bucket beside its own.
pub const BUCKETS: [f64; 21] = {
    let mut bounds = [0.0001; 21];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = 2.0 * bounds[at - 1];
        at += 1;
    }
    bounds
};

/// The values that stand for the times of a policy's buckets: their middles.
pub(super) fn values() -> Vec<f64> {
    let mut start = 0.0;
    let times = Times::default();
    let middles = times.buckets().map(|(end, _)| {
        let end = end.map_or(1.5 * start, |end| end.as_secs_f64());
        f64::midpoint(std::mem::replace(&mut start, end), end)
    });
    middles.collect()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{BUCKETS, values};
    use crate::counters::Times;

    #[test]
    fn ob1_each_bound_is_one_of_a_policys_buckets() {
        let times = Times::default();
        let ends: Vec<_> = times.buckets().filter_map(|(end, _)| end).collect();
        for bound in BUCKETS {
            let nearest = ends.iter().map(|end| (end.as_secs_f64() - bound).abs());
            assert!(nearest.fold(f64::MAX, f64::min) < 1e-9, "{bound}");
        }
        assert!(values().is_sorted());
        assert_eq!(values().len(), ends.len() + 1);
    }
}
