use std::fmt;

/// What came of several calls: for each, in their order, its outcome; none if it had not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered<T, E> {
    pub(super) outcomes: Vec<Option<Result<T, E>>>,
}

impl<T, E> Gathered<T, E> {
    /// The outcomes in the order of the calls.
    pub fn outcomes(&self) -> &[Option<Result<T, E>>] {
        &self.outcomes
    }

    /// The outcomes in the order of the calls.
    pub fn into_outcomes(self) -> Vec<Option<Result<T, E>>> {
        self.outcomes
    }

    /// The responses, in the order of the calls.
    pub fn responses(&self) -> impl Iterator<Item = &T> {
        let ended = self.outcomes.iter().flatten();
        ended.filter_map(|outcome| outcome.as_ref().ok())
    }

    /// The responses, in the order of the calls.
    pub fn into_responses(self) -> impl Iterator<Item = T> {
        self.outcomes.into_iter().flatten().filter_map(Result::ok)
    }

    /// The errors, in the order of the calls.
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        let ended = self.outcomes.iter().flatten();
        ended.filter_map(|outcome| outcome.as_ref().err())
    }

    /// How many calls had not ended.
    pub fn missing(&self) -> usize {
        self.outcomes.iter().filter(|it| it.is_none()).count()
    }

    /// Whether each call has returned a response.
    pub fn is_complete(&self) -> bool {
        self.responses().count() == self.outcomes.len()
    }
}

/// Too few calls succeeded for a [`quorum`](super::quorum()).
///
/// Its text has counts. The errors are in what was gathered: they are no source of this error,
/// because each is that of one call only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoQuorum<T, E> {
    pub(super) needed: usize,
    pub(super) succeeded: usize,
    pub(super) gathered: Gathered<T, E>,
}

impl<T, E> NoQuorum<T, E> {
    /// How many successes were needed.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// How many calls succeeded.
    pub fn succeeded(&self) -> usize {
        self.succeeded
    }

    /// What came of the calls.
    pub fn gathered(&self) -> &Gathered<T, E> {
        &self.gathered
    }

    /// What came of the calls.
    pub fn into_gathered(self) -> Gathered<T, E> {
        self.gathered
    }
}

impl<T, E> fmt::Display for NoQuorum<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needed, succeeded) = (self.needed, self.succeeded);
        let calls = self.gathered.outcomes.len();
        let missing = self.gathered.missing();
        let failed = calls - missing - succeeded;
        write!(
            f,
            "no quorum: {succeeded} of {needed} needed calls succeeded ({calls} calls, {failed} \
             failed, {missing} did not end)"
        )
    }
}

impl<T: fmt::Debug, E: fmt::Debug> std::error::Error for NoQuorum<T, E> {}
