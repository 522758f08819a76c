//! The queue of calls that wait.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::super::Acquire;
use super::{Mode, RateLimiter, Recorder, short};
use crate::deadline::Deadline;
use crate::keyed::Keyed;
use crate::rate_limit::quota::{Quota, UNITS};
use crate::rejection::{Rejection, RejectionKind};
use crate::testing::{Task, ms};

fn limiter(quota: Quota) -> RateLimiter {
    let builder = RateLimiter::builder(quota).max_wait(Duration::from_secs(3_600));
    builder.build().unwrap()
}

fn one_in_100_ms() -> RateLimiter {
    limiter(Quota::per_second(10).burst(1))
}

type Waiting = Task<Pin<Box<Acquire>>>;

fn acquire(limiter: &RateLimiter) -> Waiting {
    Task::new(Box::pin(limiter.acquire()))
}

fn waiting(limiter: &RateLimiter) -> Waiting {
    let mut task = acquire(limiter);
    assert!(task.run().is_pending());
    task
}

fn admitted(polled: &Poll<Result<(), Rejection>>) -> bool {
    matches!(polled, Poll::Ready(Ok(())))
}

// RL4: case 25
#[tokio::test(start_paused = true)]
async fn rl4_after_nine_of_ten_waiters_left_the_tenth_is_next() {
    let limiter = one_in_100_ms();
    assert!(limiter.allow());
    let mut waiters: Vec<_> = (0..10).map(|_| waiting(&limiter)).collect();
    let mut last = waiters.pop().unwrap();
    waiters.into_iter().for_each(|mut waiter| waiter.cancel());
    advance(ms(99)).await;
    assert!(last.run().is_pending());
    advance(ms(1)).await;
    assert!(admitted(&last.run()));
}

#[tokio::test(start_paused = true)]
async fn cx19_waiters_that_a_change_of_mode_admits_are_recorded_by_their_own_wait() {
    let joint = RateLimiter::all_of("joint", [one_in_100_ms()]).unwrap();
    for limiter in [one_in_100_ms(), joint] {
        let recorder = Recorder::new();
        let _on = limiter.on_event(recorder.listener_with(short));
        assert!(limiter.allow());
        let mut waiters: Vec<_> = (0..3).map(|_| waiting(&limiter)).collect();
        limiter.set_mode(Mode::RecordOnly);
        waiters.iter_mut().rev().for_each(|waiter| {
            assert!(admitted(&waiter.run()));
        });
        let events = recorder.take();
        assert!(
            !events.iter().any(|event| event.contains("reject")),
            "{events:?}"
        );
        // Each has taken its token.
        limiter.set_mode(Mode::Enforce);
        advance(ms(399)).await;
        assert!(!limiter.allow());
        advance(ms(1)).await;
        assert!(limiter.allow());
    }
}

// RL4: case 26
#[tokio::test(start_paused = true)]
async fn rl4_callers_that_leave_cost_no_token() {
    let limiter = RateLimiter::builder(Quota::per_second(100).burst(1))
        .build()
        .unwrap();
    let start = Instant::now();
    let mut calls = Vec::new();
    for n in 0..2_000 {
        let limiter = limiter.clone();
        calls.push(tokio::task::spawn(async move {
            let patience = if n % 2 == 0 { ms(50) } else { ms(60_000) };
            let acquired = tokio::time::timeout(patience, limiter.acquire()).await;
            u32::from(matches!(acquired, Ok(Ok(()))))
        }));
        sleep(ms(5)).await;
    }
    assert_eq!(start.elapsed(), ms(10_000));
    let mut passed = 0;
    for call in calls {
        passed += call.await.unwrap();
    }
    assert!((980..=1_101).contains(&passed), "{passed}");
}

// RL18: case 33
#[tokio::test(start_paused = true)]
async fn rl18_tokens_that_fell_due_while_a_timer_slept_are_granted() {
    for quota in [
        Quota::per_second(5_000).burst(1),
        Quota::per_second(20_000).burst(7),
    ] {
        let limiter = limiter(quota);
        let per_key = RateLimiter::builder(quota)
            .per_key::<str>(10)
            .unwrap()
            .get("key");
        let joint = RateLimiter::all_of("joint", [limiter.clone()]).unwrap();
        for limiter in [limiter, per_key, joint] {
            let start = Instant::now();
            let mut admitted = 0;
            while start.elapsed() < ms(1_000) {
                limiter.acquire().await.unwrap();
                admitted += 1;
            }
            let least = quota.count() * 98 / 100;
            let most = quota.count() + quota.count() / 500 + quota.max_burst() + 1;
            assert!((least..=most).contains(&admitted), "{quota}: {admitted}");
        }
    }
}

// RL18, RL1: at most max(burst, rate x 2 ms) + rate x T in any window of length T.
#[tokio::test(start_paused = true)]
async fn rl1_late_tokens_hold_the_limit_with_a_burst_of_two_milliseconds() {
    let mut rng = fastrand::Rng::with_seed(3);
    for (rate, burst) in [(5_000, 1), (5_000, 4), (50_000, 30), (1_000, 1), (3_000, 5)] {
        let limiter = limiter(Quota::per_second(rate).burst(burst));
        let mut instants: Vec<(u128, u128)> = Vec::new();
        for _ in 0..300 {
            let cost = rng.u32(1..=burst);
            match rng.u8(0..4) {
                0 => sleep(Duration::from_micros(rng.u64(0..9_000))).await,
                1 if limiter.allow_n(cost) => {
                    instants.push((now_nanos(), cost.into()));
                }
                _ => {
                    limiter.acquire().cost(cost).await.unwrap();
                    instants.push((now_nanos(), cost.into()));
                }
            }
        }
        let most = u128::from(burst).max(u128::from(rate) * 2 / 1_000);
        for first in 0..instants.len() {
            let mut sum = 0;
            for (at, cost) in &instants[first..] {
                sum += cost;
                let length = at - instants[first].0;
                let allowed = most * 1_000_000_000 + u128::from(rate) * length;
                assert!(
                    sum * 1_000_000_000 <= allowed,
                    "{sum} in {length} ns at {rate}"
                );
            }
        }
    }
}

fn now_nanos() -> u128 {
    crate::time::now().0.into()
}

// RL4
#[tokio::test(start_paused = true)]
async fn rl4_a_call_that_does_not_wait_does_not_overtake_the_queue() {
    let quota = Quota::per_second(10).burst(10);
    let keyed: Keyed<str, _> = RateLimiter::builder(quota).per_key(10).unwrap();
    for limiter in [limiter(quota), keyed.get("a")] {
        assert!(limiter.allow_n(9));
        let mut waiter = Task::new(Box::pin(limiter.acquire().cost(3)));
        assert!(waiter.run().is_pending());
        // A token is there, and it is the waiter's.
        assert_eq!(limiter.available(), 1);
        assert!(!limiter.allow());
        assert_eq!(
            limiter.try_acquire().unwrap_err().retry_after(),
            Some(ms(300))
        );
        assert_eq!(limiter.peek().unwrap_err().retry_after(), Some(ms(300)));
        assert!(limiter.reserve().is_err());
        assert!(limiter.try_charge_later(1).is_err());
        assert!(limiter.allow_n(0));
        assert!(keyed.allow("b"));
        waiter.cancel();
        assert!(limiter.allow());
        assert!(limiter.try_charge(1).is_err());
    }
}

// RL4: a joint call waits for the member that lacks tokens, and holds up no other one.
#[tokio::test(start_paused = true)]
async fn rl4_a_client_that_waits_for_its_own_limit_holds_up_no_other() {
    let global = limiter(Quota::per_second(100).burst(1));
    let keyed: Keyed<str, _> = RateLimiter::builder(Quota::per_second(1).burst(1))
        .max_wait(Duration::from_secs(60))
        .per_key(10)
        .unwrap();
    let both = keyed.with_limits([global.clone()]).unwrap();
    let (slow, other) = (both.get("slow"), both.get("other"));
    assert!(slow.allow());
    // Its own token is the last to come.
    let mut held_up = waiting(&slow);
    let mut next = waiting(&other);
    advance(ms(10)).await;
    assert!(admitted(&next.run()));
    assert!(held_up.run().is_pending());
    // When its own has come, it waits for the one of all.
    advance(ms(985)).await;
    assert!(global.allow());
    advance(ms(5)).await;
    assert!(held_up.run().is_pending());
    assert!(!global.allow());
    advance(ms(5)).await;
    assert!(admitted(&held_up.run()));
    assert!(!both.get("slow").allow());
}

// RL4, BH4: a waiter that is not polled holds up the others no longer than they may wait.
#[tokio::test(start_paused = true)]
async fn rl4_a_head_that_is_not_polled_is_passed_over_after_its_wait() {
    let limiter = RateLimiter::builder(Quota::per_second(10).burst(1))
        .max_wait(ms(1_000))
        .build()
        .unwrap();
    assert!(limiter.allow());
    let mut stuck = waiting(&limiter);
    let mut second = Task::new(Box::pin(limiter.acquire().max_wait(ms(1_200))));
    assert!(second.run().is_pending());
    let mut third = Task::new(Box::pin(limiter.acquire().max_wait(ms(1_500))));
    assert!(third.run().is_pending());
    advance(ms(1_200)).await;
    assert!(admitted(&second.run()));
    assert!(third.run().is_pending());
    advance(ms(100)).await;
    assert!(admitted(&third.run()));
    let Poll::Ready(Err(rejection)) = stuck.run() else {
        panic!("its wait is over");
    };
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn rl4_heads_that_are_not_polled_hold_up_the_next_no_longer_than_their_own_waits() {
    let limiter = one_in_100_ms();
    assert!(limiter.allow());
    let start = Instant::now();
    let mut kept = [1_000, 1_500].map(|wait| {
        let mut task = Task::new(Box::pin(limiter.acquire().max_wait(ms(wait))));
        assert!(task.run().is_pending());
        task
    });
    let waits = limiter.acquire().max_wait(ms(60_000));
    let next = limiter.acquire().max_wait(ms(60_000));
    let (first, second) = tokio::join!(async { waits.await.map(|()| start.elapsed()) }, async {
        next.await.map(|()| start.elapsed())
    });
    // With the 2 ms by which the timers of the kept ones may be late, and one of its own.
    let first = first.unwrap();
    assert!((ms(1_502)..=ms(1_503)).contains(&first), "{first:?}");
    assert_eq!(second.unwrap() - first, ms(100));
    for stuck in &mut kept {
        assert!(matches!(stuck.run(), Poll::Ready(Err(_))));
    }
}

// RL4: a future that is kept and not polled shuts out no call once its wait has ended.
#[tokio::test(start_paused = true)]
async fn rl4_a_head_that_is_not_polled_shuts_out_no_caller_after_its_wait() {
    let quota = Quota::per_second(10).burst(1);
    let keyed: Keyed<str, _> = RateLimiter::builder(quota).per_key(10).unwrap();
    let joint = RateLimiter::all_of("joint", [limiter(quota)]).unwrap();
    for limiter in [limiter(quota), keyed.get("a"), joint] {
        assert!(limiter.allow());
        let mut stuck = Task::new(Box::pin(limiter.acquire().max_wait(ms(1_000))));
        assert!(stuck.run().is_pending());
        let mut behind = Task::new(Box::pin(limiter.acquire().max_wait(ms(60_000))));
        assert!(behind.run().is_pending());
        advance(ms(1_001)).await;
        assert!(!limiter.allow());
        assert_eq!(behind.wakes(), 0);
        advance(ms(1)).await;
        // By its timer.
        assert_eq!(behind.wakes(), 1);
        // The token is the next waiter's.
        assert!(!limiter.allow());
        assert_eq!(behind.wakes(), 2);
        assert!(admitted(&behind.run()));
        advance(ms(100)).await;
        assert!(limiter.allow());
        drop(stuck);
        assert_eq!(limiter.available(), 0);
    }
}

// TO4: case 14
#[tokio::test(start_paused = true)]
async fn to4_a_waiter_polled_after_its_deadline_takes_nothing() {
    let limiter = one_in_100_ms();
    assert!(limiter.allow());
    let mut late = Task::new(Box::pin(
        Deadline::after(ms(150)).scope(limiter.acquire().max_wait(ms(5_000))),
    ));
    assert!(late.run().is_pending());
    advance(ms(151)).await;
    let Poll::Ready(Err(rejection)) = late.run() else {
        panic!("its deadline has passed");
    };
    assert_eq!(rejection.kind(), RejectionKind::Expired);
    assert_eq!(limiter.available(), 1);
}

// RL4, CX14: dropped at each point of the wait, as the head and behind it.
#[tokio::test(start_paused = true)]
async fn rl4_a_waiter_dropped_at_any_point_wakes_the_next() {
    let log = Recorder::default();
    for polls in 0..3 {
        let limiter = one_in_100_ms();
        assert!(limiter.allow());
        let _on = limiter.on_event(log.listener_with(short));
        let mut head = acquire(&limiter);
        if polls > 0 {
            assert!(head.run().is_pending());
        }
        let mut next = waiting(&limiter);
        if polls > 1 {
            // The head's token is due, and it has been woken for it.
            advance(ms(100)).await;
            assert_eq!((head.wakes(), next.wakes()), (1, 0));
        }
        head.cancel();
        assert_eq!(next.wakes(), usize::from(polls > 0));
        advance(ms(100)).await;
        assert!(admitted(&next.run()));
        let ended = log.take();
        assert_eq!(ended.len(), 1 + usize::from(polls > 0), "{ended:?}");
    }
}

// RL17, RL4: tokens that are returned reach the head at once.
#[tokio::test(start_paused = true)]
async fn rl17_a_refund_wakes_the_head() {
    let limiter = limiter(Quota::per_minute(1));
    let charge = limiter.try_charge(1).unwrap();
    let mut head = waiting(&limiter);
    charge.refund();
    assert_eq!(head.wakes(), 1);
    assert!(admitted(&head.run()));
    let reservation = limiter.reserve().unwrap();
    let head = waiting(&limiter);
    drop(reservation);
    assert_eq!(head.wakes(), 1);
}

/// A bucket and its queue in the simplest form: a level of debt, and waiters in a list.
struct Naive {
    /// In units of time.
    interval: u64,
    burst: u64,
    debt: u64,
    /// Number, cost and the instant when the wait ends, in milliseconds.
    queue: Vec<(usize, u64, u64)>,
}

impl Naive {
    const MS: u64 = 1_000_000 * UNITS;

    fn pass_ms(&mut self) {
        self.debt = self.debt.saturating_sub(Self::MS);
    }

    /// The units of time until `cost` tokens are there behind `in_front` others.
    fn wait(&self, in_front: u64, cost: u64) -> u64 {
        let needed = self.debt + (in_front + cost) * self.interval;
        needed.saturating_sub(self.burst * self.interval)
    }

    fn arrive(&mut self, number: usize, cost: u64, now: u64, until: u64) -> Option<bool> {
        if self.queue.is_empty() && self.wait(0, cost) == 0 {
            self.debt += cost * self.interval;
            return Some(true);
        }
        let in_front = self.queue.iter().map(|(_, cost, _)| cost).sum();
        if self.wait(in_front, cost) > (until - now) * Self::MS {
            return Some(false);
        }
        self.queue.push((number, cost, until));
        None
    }

    /// Admits from the head as long as there are tokens.
    fn admit(&mut self) -> Vec<usize> {
        let mut admitted = Vec::new();
        while let Some(&(number, cost, _)) = self.queue.first() {
            if self.wait(0, cost) > 0 {
                break;
            }
            self.debt += cost * self.interval;
            self.queue.remove(0);
            admitted.push(number);
        }
        admitted
    }

    /// The same debt in tokens at another interval; waiters whose wait is too long now are
    /// rejected.
    fn change(&mut self, interval: u64, now: u64) -> (Vec<usize>, Vec<usize>) {
        let scaled = u128::from(self.debt) * u128::from(interval);
        self.debt = scaled.div_ceil(self.interval.into()) as u64;
        self.interval = interval;
        let (mut admitted, mut rejected) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.queue.len() {
            if at == 0 {
                admitted.extend(self.admit());
            }
            let Some(&(number, cost, until)) = self.queue.get(at) else {
                break;
            };
            let in_front = self.queue[..at].iter().map(|(_, cost, _)| cost).sum();
            if self.wait(in_front, cost) > until.saturating_sub(now) * Self::MS {
                self.queue.remove(at);
                rejected.push(number);
            } else {
                at += 1;
            }
        }
        (admitted, rejected)
    }
}

/// A waiter of the schedule, with the number of wakes that its last poll has seen.
struct Scheduled {
    number: usize,
    task: Waiting,
    seen: usize,
}

/// Polls the waiters that were woken, until none is. Returns those that were admitted, and those that were rejected.
fn run_woken(tasks: &mut Vec<Scheduled>) -> (Vec<usize>, Vec<usize>) {
    let (mut admitted, mut rejected) = (Vec::new(), Vec::new());
    loop {
        let woken = |scheduled: &Scheduled| scheduled.task.wakes() > scheduled.seen;
        let Some(at) = tasks.iter().position(woken) else {
            return (admitted, rejected);
        };
        tasks[at].seen = tasks[at].task.wakes();
        match tasks[at].task.run() {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => admitted.push(tasks.remove(at).number),
            Poll::Ready(Err(_)) => rejected.push(tasks.remove(at).number),
        }
    }
}

// RL4, CX19: random arrivals, leaves and quota changes, against the simplest simulation. Only
// waiters that were woken are polled, so a lost wake-up shows.
#[tokio::test(start_paused = true)]
async fn rl4_a_random_schedule_is_decided_as_by_a_naive_queue() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let burst = rng.u32(1..5);
        let quota = |interval| Quota::new(1, ms(interval)).burst(burst);
        let plain = limiter(quota(8));
        let keyed: Keyed<str, _> = RateLimiter::builder(quota(8)).per_key(10).unwrap();
        let is_keyed = seed % 2 == 1;
        let limiter = if is_keyed { keyed.get("key") } else { plain };
        let mut naive = Naive {
            interval: 8 * Naive::MS,
            burst: burst.into(),
            debt: 0,
            queue: Vec::new(),
        };
        let mut tasks: Vec<Scheduled> = Vec::new();
        let mut polls = 0;
        for now in 0..400_u64 {
            for number in 0..rng.usize(0..3) {
                let number = now as usize * 10 + number;
                let cost = rng.u32(1..=burst);
                let wait = [5, 40, 200, 10_000][rng.usize(0..4)];
                let acquire = limiter.acquire().cost(cost).max_wait(ms(wait));
                let mut task = Task::new(Box::pin(acquire));
                let decided = match task.run() {
                    Poll::Pending => None,
                    Poll::Ready(decided) => Some(decided.is_ok()),
                };
                let expected = naive.arrive(number, cost.into(), now, now + wait);
                assert_eq!(decided, expected, "{seed}: arrival at {now}");
                if decided.is_none() {
                    let seen = task.wakes();
                    tasks.push(Scheduled { number, task, seen });
                }
            }
            for _ in 0..rng.usize(0..3) {
                if rng.bool() && !tasks.is_empty() {
                    let mut leaves = tasks.remove(rng.usize(0..tasks.len()));
                    leaves.task.cancel();
                    naive.queue.retain(|(number, ..)| *number != leaves.number);
                    let expected = (naive.admit(), Vec::new());
                    assert_eq!(run_woken(&mut tasks), expected, "{seed}: leave at {now}");
                }
            }
            if rng.u8(0..30) == 0 {
                let interval = [2, 4, 8, 16][rng.usize(0..4)];
                match is_keyed {
                    true => keyed.set_quota(0, quota(interval)).unwrap(),
                    false => limiter.set_quota(quota(interval)).unwrap(),
                }
                let expected = naive.change(interval * Naive::MS, now);
                assert_eq!(run_woken(&mut tasks), expected, "{seed}: change at {now}");
            }
            advance(ms(1)).await;
            naive.pass_ms();
            let expected = (naive.admit(), Vec::new());
            assert_eq!(run_woken(&mut tasks), expected, "{seed}: tokens at {now}");
            let most = tasks.iter().map(|scheduled| scheduled.task.polls()).max();
            polls = polls.max(most.unwrap_or(0));
        }
        // Two at the start, one as the head, one for its token, one for each change.
        assert!(polls < 40, "{seed}: {polls}");
    }
}

// RL4, CX9
#[tokio::test(start_paused = true)]
async fn rl4_a_waiter_is_polled_three_times_however_many_wait() {
    let limiter = limiter(Quota::per_second(100).burst(1));
    assert!(limiter.allow());
    let mut tasks = Vec::new();
    for _ in 0..200 {
        let limiter = limiter.clone();
        tasks.push(tokio::task::spawn(async move {
            let mut acquire = std::pin::pin!(limiter.acquire());
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                acquire.as_mut().poll(cx)
            })
            .await
            .unwrap();
            polls
        }));
    }
    for task in tasks {
        assert!(task.await.unwrap() <= 3);
    }
}

// RN3, RL4: blocking callers and tasks wait in one queue.
#[test]
fn rn3_blocking_callers_and_futures_wait_in_one_queue() {
    let limiter = limiter(Quota::per_minute(1));
    assert!(limiter.allow());
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let in_runtime = runtime.enter();
    let mut first = waiting(&limiter);
    drop(in_runtime);
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| limiter.acquire_blocking());
        while limiter.shared.queues.in_front(0, None, crate::time::now()) < 2 {
            std::thread::yield_now();
        }
        first.cancel();
        limiter.set_quota(Quota::unlimited()).unwrap();
        blocked.join().unwrap().unwrap();
    });
    assert!(!limiter.shared.queues.any());
}
