"""The math, arrays in and arrays out: bits, schedules, corruption, objectives, the loss, and sampling."""
