use std::fmt;

/// The limit for one contender of seawall.
pub struct Goal {
    pub of: &'static str,
    pub limit: Limit,
}

#[derive(Clone, Copy)]
pub enum Limit {
    /// At most this multiple of the fastest of these contenders.
    Times(f64, &'static [&'static str]),
    /// At most this many nanoseconds.
    Nanos(f64),
    /// At most this many nanoseconds more than this contender.
    Above(f64, &'static str),
    /// At least this multiple of the operations per second of this contender.
    Throughput(f64, &'static str),
    /// One of these is enough.
    OneOf(&'static [Limit]),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(most, peers) => write!(f, "{most} x {}", peers.join(", ")),
            Self::Nanos(most) => write!(f, "{most} ns"),
            Self::Above(most, floor) => write!(f, "{most} ns above {floor}"),
            Self::Throughput(least, peer) => write!(f, "{least} x the rate of {peer}"),
            Self::OneOf(limits) => {
                let limits: Vec<_> = limits.iter().map(Self::to_string).collect();
                f.write_str(&limits.join(", or "))
            }
        }
    }
}

impl Limit {
    /// The contenders that the limit compares with.
    pub(crate) fn compared(&self) -> Vec<&'static str> {
        match *self {
            Self::Times(_, peers) => peers.to_vec(),
            Self::Nanos(_) => Vec::new(),
            Self::Above(_, other) | Self::Throughput(_, other) => vec![other],
            Self::OneOf(limits) => limits.iter().flat_map(Self::compared).collect(),
        }
    }

    /// The figure that the limit judges, and whether it is met.
    pub(crate) fn judge(&self, ns: f64, of: &impl Fn(&str) -> f64) -> (String, bool) {
        match self {
            Self::Times(most, peers) => {
                let best = peers.iter().map(|peer| of(peer)).fold(f64::NAN, f64::min);
                let times = ns / best;
                (format!("{times:.2} x"), times <= *most)
            }
            Self::Nanos(most) => (format!("{ns:.1} ns"), ns <= *most),
            Self::Above(most, floor) => {
                let above = ns - of(floor);
                (format!("{above:+.1} ns"), above <= *most)
            }
            Self::Throughput(least, peer) => {
                let times = of(peer) / ns;
                (format!("{times:.3} x"), times >= *least)
            }
            Self::OneOf(limits) => {
                let judged: Vec<_> = limits.iter().map(|limit| limit.judge(ns, of)).collect();
                let figures: Vec<_> = judged.iter().map(|(figure, _)| &**figure).collect();
                (figures.join(", "), judged.iter().any(|(_, met)| *met))
            }
        }
    }
}
