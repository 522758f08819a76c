use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Reading, place};
use crate::time::Tick;

fn taken<S>(service: &S) -> Option<Tick> {
    Reading::of(service).0
}

fn known(at: u64) -> Reading {
    Reading(Some(Tick(at)))
}

#[test]
fn the_service_that_is_called_takes_it_once() {
    let mut service = 7_u64;
    let taken = known(5).call(&mut service, |service| (taken(service), taken(service)));
    assert_eq!(taken, (Some(Tick(5)), None));
    assert_eq!(
        Reading::none().call(&mut service, |service| super::Reading::of(service).0),
        None
    );
}

#[test]
fn it_is_handed_on_from_each_to_the_next() {
    let mut services = (1_u64, (2_u8, 3_u16));
    let seen = known(5).call(&mut services, |outer| {
        let reading = Reading::of(outer);
        reading.call(&mut outer.1, |inner| {
            let reading = Reading::of(inner);
            reading.call(&mut inner.1, |innermost| taken(innermost))
        })
    });
    assert_eq!(seen, Some(Tick(5)));
}

// TO1: what runs above a service of ours may have taken its time.
#[test]
fn below_another_service_the_clock_is_read_anew() {
    #[repr(transparent)]
    struct Foreign<S>(S);
    let mut service = Foreign(7_u64);
    known(5).call(&mut service, |service| {
        assert_eq!(place(service), place(&service.0));
        assert_eq!(taken(&service.0), None);
    });

    // At another place.
    let mut service = (1_u64, 2_u64);
    known(5).call(&mut service.0, |_| assert_eq!(taken(&service.1), None));
}

#[test]
fn what_was_not_taken_is_withdrawn() {
    let mut service = 7_u64;
    known(5).call(&mut service, |_| ());
    assert_eq!(taken(&service), None);

    let panics = AssertUnwindSafe(|| known(5).call(&mut service, |_| panic!("as it should")));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(taken(&service), None);
}

#[test]
fn it_is_read_once() {
    let mut reading = Reading::none();
    let now = reading.now();
    assert_eq!((reading.now(), reading.recent()), (now, now));
    assert!(Reading::none().now() >= now);
}
