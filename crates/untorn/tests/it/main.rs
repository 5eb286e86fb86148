//! The tests of the public face, in one binary.

#[cfg(test)]
mod seam;
