//! Explores every model in turn and fails if one fails or was skipped. See `README.md`.

#![allow(clippy::unwrap_used)]

#[cfg(loom)]
mod byte;
#[cfg(loom)]
mod driver;
#[cfg(loom)]
mod runner;
#[cfg(loom)]
mod slot;
#[cfg(loom)]
mod waking;

/// Names a list of models after their functions.
#[cfg(loom)]
macro_rules! models {
    ($($module:ident::$model:ident,)*) => {
        &[$((concat!(stringify!($module), "::", stringify!($model)), $module::$model as fn()),)*]
    };
}

/// All of them. A model that is not listed does not compile: it would be dead code.
#[cfg(loom)]
const MODELS: &[runner::Model] = models![
    slot::values_cross_the_wrap_in_order,
    slot::full_gives_the_value_back,
    slot::empty_then_not,
    slot::close_races_with_push,
    slot::leftovers_are_readable_after_close,
    slot::values_are_dropped_once,
    slot::batches_arrive_together,
    slot::a_batch_that_is_cut_short_keeps_the_rest,
    waking::consumer_waits_for_a_value,
    waking::producer_waits_for_a_slot,
    waking::consumer_waits_for_a_message,
    waking::producer_waits_for_room,
    waking::quiet_values_and_one_wake,
    waking::quiet_messages_and_one_wake,
    waking::quiet_releases_and_one_wake,
    waking::quiet_sides_never_sleep_both,
    waking::wakers_are_replaced_while_woken,
    waking::close_wakes_the_consumer,
    waking::close_wakes_the_producer,
    driver::one_that_is_woken_again_is_answered_again,
    driver::one_without_a_place_is_answered,
    driver::what_is_asked_for_is_done,
    driver::a_flag_hands_over_what_came_before,
    driver::what_is_given_back_is_collected,
    byte::messages_cross_the_wrap_in_order,
    byte::full_then_not,
    byte::a_dropped_grant_leaves_nothing,
    byte::drop_in_mid_grant,
    byte::drop_in_mid_view,
    byte::skip_goes_along_with_its_message,
    byte::stepping_over_a_skip_wakes_a_parked_producer,
    byte::a_message_of_the_whole_ring_waits_for_the_rest,
    byte::an_empty_ring_starts_again,
    byte::a_ring_that_is_held_does_not_start_again,
    byte::read_ahead_released_out_of_order,
    byte::written_over_then_released,
    byte::close_races_with_commit,
    byte::leftovers_are_readable_after_close,
    byte::a_commit_is_in_time_or_refused,
    byte::a_commit_that_was_read_is_not_refused,
];

#[cfg(loom)]
fn main() {
    runner::explore_all(MODELS);
}

#[cfg(not(loom))]
fn main() {
    println!("no model was explored: they need RUSTFLAGS=\"--cfg loom\", see loom-tests/README.md");
}
