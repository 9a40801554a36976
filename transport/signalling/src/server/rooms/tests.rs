use core::time::Duration;
