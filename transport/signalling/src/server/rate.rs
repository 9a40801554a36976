use core::num::NonZeroU16;
use core::time::Duration;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::answerer::network;

/// How often one address may ask. It keeps work within bounds, not places: those have
/// limits of their own (`NodeLimits`). An answer takes about a millisecond of one core, so
/// the defaults leave one address 2 % of a core, and let an office or a program behind one
/// address come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many requests it may make at once. Default: 64.
    pub burst: NonZeroU16,
    /// How long it takes until it may make one more. Default: 50 ms. Zero: no limit; more than
    /// an hour counts as an hour.
    pub refill: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self { burst: NonZeroU16::MIN.saturating_add(63), refill: Duration::from_millis(50) }
    }
}

/// The limiters of the addresses that asked last.
///
/// Those that asked since the last turn are fresh, and stale are those that asked only before it.
/// When half of what may be kept is fresh, it becomes the stale half, and what was stale is
/// dropped: so an address costs a look-up or two, and memory is bounded.
#[derive(Debug)]
pub(super) struct RateLimits {
    quota: Option<Quota>,
    half: usize,
    clock: DefaultClock,
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    fresh: HashMap<IpAddr, DefaultDirectRateLimiter>,
    stale: HashMap<IpAddr, DefaultDirectRateLimiter>,
}

impl RateLimits {
    pub(super) fn new(rate: Rate, max_keys: usize) -> Self {
        let quota = Quota::with_period(rate.refill.min(Duration::from_secs(3600)));
        Self {
            quota: quota.map(|quota| quota.allow_burst(rate.burst.into())),
            half: (max_keys / 2).max(1),
            clock: DefaultClock::default(),
            halves: Mutex::default(),
        }
    }

    /// Counts a request of this address, or says how long it has to wait.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(quota) = self.quota else { return Ok(()) };
        let key = network(address);
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if !halves.fresh.contains_key(&key) {
            let known = halves.stale.remove(&key);
            if halves.fresh.len() >= self.half {
                halves.stale = std::mem::take(&mut halves.fresh);
            }
            let limiter = known.unwrap_or_else(|| RateLimiter::direct(quota));
            halves.fresh.insert(key, limiter);
        }
        let Some(limiter) = halves.fresh.get(&key) else { return Ok(()) };
        limiter.check().map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn limits(burst: u16, max_keys: usize) -> RateLimits {
        let burst = NonZeroU16::new(burst).unwrap();
        RateLimits::new(Rate { burst, refill: Duration::MAX }, max_keys)
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let limits = limits(2, 100);
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
            let address = address.parse().unwrap();
            assert_eq!((limits.check(address), limits.check(address)), (Ok(()), Ok(())));
            let wait = limits.check(address).unwrap_err();
            assert!(wait > Duration::from_secs(3000) && wait <= Duration::from_secs(3600));
        }
    }

    #[test]
    fn addresses_of_one_network_share_it() {
        let limits = limits(2, 100);
        for (one, other) in [("2001:db8::1", "2001:db8::ffff:2:3:4"), ("::ffff:1.2.3.4", "1.2.3.4")]
        {
            assert!(limits.check(one.parse().unwrap()).is_ok());
            assert!(limits.check(other.parse().unwrap()).is_ok());
            assert!(limits.check(one.parse().unwrap()).is_err());
        }
    }

    #[test]
    fn memory_is_bounded_and_who_asks_on_is_remembered() {
        let limits = limits(1, 100);
        assert!(limits.check(address(0)).is_ok());
        for number in 1..10_000 {
            assert!(limits.check(address(number)).is_ok());
            assert!(limits.check(address(0)).is_err());
            let halves = limits.halves.lock().unwrap();
            assert!(halves.fresh.len() + halves.stale.len() <= 100);
        }
        assert!(limits.check(address(1)).is_ok(), "forgotten");
    }

    #[test]
    fn no_refill_time_is_no_limit() {
        let limits = RateLimits::new(Rate { refill: Duration::ZERO, ..Rate::default() }, 0);
        assert!((0..1000).all(|_| limits.check(address(1)).is_ok()));
        assert!(limits.halves.lock().unwrap().fresh.is_empty());
    }
}
