//! A bucket for each of 10,000 keys, in bounded memory.

use seawall_benches::Report;

pub(crate) fn run(report: &mut Report) {
    report.not_built("bucket, 10,000 keys", "0.75 x governor, rate-net");
}
