//! Each checker is shown a forged observation and must name what is wrong.
