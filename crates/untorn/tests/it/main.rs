//! The tests of the whole, in one binary.

#[cfg(test)]
mod sim;
#[cfg(test)]
mod sim_explorer;
